// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/generate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <deque>
#include <numeric>

#include "corda/core/error.h"
#include "corda/model/forward.h"
#include "core/round_up.h"

namespace corda::model {

namespace {

using Ids = std::vector<std::int32_t>;

// The most sequences that are decoded together; bounds the memory of logits.
constexpr std::size_t kTogether = 256;
// Room for new tokens that a sequence begins with; it grows by blocks.
constexpr std::int64_t kFirstRoom = 64;

// Whether sequences of more than `length` tokens have other rotary frequencies than those up to it,
// so that the keys stored before were turned by the wrong ones.
bool frequencies_change(const ModelDescription& model, std::int64_t length) {
  return std::any_of(model.rotaries.begin(), model.rotaries.end(), [&](const auto& rope) {
    return rope.type == RopeType::kLongrope && length == rope.original_positions;
  });
}

// Tokens that go on behind `before[i]` stored ones, as a batch.
Batch pack(const Model& model, const std::vector<std::span<const std::int32_t>>& parts,
           const std::vector<std::int64_t>& before) {
  Ids ids;
  Ids positions;
  Ids offsets = {0};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    ids.insert(ids.end(), parts[i].begin(), parts[i].end());
    for (std::size_t t = 0; t < parts[i].size(); ++t)
      positions.push_back(static_cast<std::int32_t>(before[i] + static_cast<std::int64_t>(t)));
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }
  return make_batch(ids, positions, offsets, model.config.vocab_size, model.device());
}

// Stores the batch's tokens behind `sequences`; the logits [sequences, vocab] behind the last ones.
at::Tensor extend(const Model& model, KeyValueCache& cache, const Batch& batch,
                  const std::vector<std::int64_t>& sequences) {
  KeyValueCache::Extend attention(cache, batch, sequences);
  const at::Tensor hidden = forward_hidden(model, batch, attention);
  attention.done();
  if (batch.tokens() == batch.sequences()) return logits_of(model, hidden);
  return logits_of(model, hidden.index_select(0, batch.cu_seqlens.slice(0, 1).to(at::kLong) - 1));
}

KeyValueCache make_cache(const Model& model, std::int64_t tokens) {
  return {model.config, tokens, model.embedding.options().dtype(model.compute)};
}

bool contains(const Ids& ids, std::int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// The generation for all prompts of one call. A sequence waits, is prefilled, and then grows by a
// token a step with the others that run; the room that it leaves is given to those that wait.
class Generation {
 public:
  Generation(const Model& model, const std::vector<Ids>& prompts, const GenerateOptions& options)
      : model_(model),
        options_(options),
        cache_(make_cache(model, cache_tokens(prompts, options))) {
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      sequences_.push_back({.ids = prompts[i],
                            .prompt_tokens = prompts[i].size(),
                            .random = core::Random(core::derive_seed(options.sampling.seed, i))});
      waiting_.push_back(i);
    }
    // Long prompts come first, so that memory which does not suffice shows at once and short ones
    // fill gaps.
    std::stable_sort(waiting_.begin(), waiting_.end(), [&](std::size_t a, std::size_t b) {
      return sequences_[a].ids.size() > sequences_[b].ids.size();
    });
  }

  std::vector<Ids> run() {
    while (!waiting_.empty() || !running_.empty()) {
      // A prefill reads all weights, as a step does, so it is not made for every single place that
      // comes free.
      if (!waiting_.empty() && (running_.empty() || freed_ * 8 >= running_.size())) admit();
      step();
    }
    std::vector<Ids> generated;
    for (const Sequence& sequence : sequences_) {
      generated.emplace_back(
          sequence.ids.begin() + static_cast<std::ptrdiff_t>(sequence.prompt_tokens),
          sequence.ids.end());
    }
    return generated;
  }

 private:
  struct Sequence {
    Ids ids;  // prompt and answer
    std::size_t prompt_tokens = 0;
    core::Random random;
    std::int64_t cached = -1;  // its number in the cache
    std::int64_t length() const { return static_cast<std::int64_t>(ids.size()); }
  };

  static std::int64_t cache_tokens(const std::vector<Ids>& prompts,
                                   const GenerateOptions& options) {
    std::size_t longest = 0;
    std::int64_t all = 0;
    for (const Ids& prompt : prompts) {
      if (prompt.empty())
        throw core::ConfigError("a prompt to continue must hold at least one token");
      longest = std::max(longest, prompt.size());
      all += core::round_up(static_cast<std::int64_t>(prompt.size()) + options.max_new_tokens,
                            KeyValueCache::kBlock);
    }
    return std::max(static_cast<std::int64_t>(longest) + options.max_new_tokens,
                    std::min(all, options.cache_tokens));
  }

  std::int64_t room_for(const Sequence& sequence) const {
    const auto limit = static_cast<std::int64_t>(sequence.prompt_tokens) + options_.max_new_tokens;
    return std::min(limit, sequence.length() + kFirstRoom);
  }

  // Takes in what fits and finds the first tokens behind it.
  void admit() {
    std::vector<std::size_t> taken;
    std::vector<std::span<const std::int32_t>> parts;
    std::vector<std::int64_t> cached;
    std::int64_t tokens = 0;
    while (!waiting_.empty() && running_.size() + taken.size() < kTogether) {
      Sequence& sequence = sequences_[waiting_.front()];
      if (!taken.empty() && tokens + sequence.length() > options_.cache_tokens) break;
      const auto place = cache_.add(room_for(sequence));
      if (!place) break;
      sequence.cached = *place;
      tokens += sequence.length();
      taken.push_back(waiting_.front());
      parts.emplace_back(sequence.ids);
      cached.push_back(*place);
      waiting_.pop_front();
    }
    freed_ = 0;
    if (taken.empty()) return;
    const Batch batch = pack(model_, parts, std::vector<std::int64_t>(parts.size(), 0));
    running_.insert(running_.end(), taken.begin(), taken.end());
    accept(taken, extend(model_, cache_, batch, cached));
  }

  // Generates one more token for each sequence that runs.
  void step() {
    make_room();
    if (running_.empty()) return;
    std::vector<std::span<const std::int32_t>> parts;
    std::vector<std::int64_t> cached;
    std::vector<std::int64_t> before;
    for (const std::size_t i : running_) {
      parts.push_back(std::span<const std::int32_t>(sequences_[i].ids).last(1));
      before.push_back(sequences_[i].length() - 1);
      cached.push_back(sequences_[i].cached);
    }
    const Batch batch = pack(model_, parts, before);
    accept(std::vector<std::size_t>(running_), extend(model_, cache_, batch, cached));
  }

  // Makes room for one more token of each. Where there is none the latest comer gives up its place
  // and is prefilled again later; so does one whose keys were turned by other frequencies.
  void make_room() {
    for (std::size_t at = 0; at < running_.size();) {
      Sequence& sequence = sequences_[running_[at]];
      if (frequencies_change(model_.config, sequence.length() - 1)) {
        put_back(at);
        continue;
      }
      while (!cache_.grow(sequence.cached, sequence.length()) && running_.size() > at + 1)
        put_back(running_.size() - 1);
      if (cache_.grow(sequence.cached, sequence.length())) {
        ++at;
      } else {
        put_back(at);
      }
    }
  }

  void put_back(std::size_t at) {
    const std::size_t i = running_[at];
    cache_.remove(sequences_[i].cached);
    waiting_.push_front(i);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  // Appends the next token to each of `indices`, whose logits these are, and ends what is done.
  void accept(const std::vector<std::size_t>& indices, const at::Tensor& logits) {
    std::vector<double> uniform;
    if (options_.sampling.temperature > 0) {
      for (const std::size_t i : indices) uniform.push_back(sequences_[i].random.uniform());
    }
    const Ids next = choose_tokens(logits, options_.sampling, uniform);
    for (std::size_t at = 0; at < indices.size(); ++at) {
      if (goes_on(indices[at], next[at])) continue;
      cache_.remove(sequences_[indices[at]].cached);
      running_.erase(std::find(running_.begin(), running_.end(), indices[at]));
      ++freed_;
      if (options_.finished) options_.finished(indices[at]);
    }
  }

  bool goes_on(std::size_t i, std::int32_t token) {
    if (contains(options_.stop_ids, token)) return false;
    Sequence& sequence = sequences_[i];
    sequence.ids.push_back(token);
    const auto generated =
        std::span<const std::int32_t>(sequence.ids).subspan(sequence.prompt_tokens);
    if (options_.stop_when && options_.stop_when(i, generated)) return false;
    return static_cast<std::int64_t>(generated.size()) < options_.max_new_tokens;
  }

  const Model& model_;
  const GenerateOptions& options_;
  KeyValueCache cache_;
  std::vector<Sequence> sequences_;
  std::deque<std::size_t> waiting_;
  std::vector<std::size_t> running_;
  std::size_t freed_ = 0;  // places since the last admission
};

}  // namespace

std::vector<Ids> generate(const Model& model, const std::vector<Ids>& prompts,
                          const GenerateOptions& options) {
  if (prompts.empty() || options.max_new_tokens == 0) return std::vector<Ids>(prompts.size());
  const at::NoGradGuard no_grad;
  return Generation(model, prompts, options).run();
}

void Dialogue::make_room(std::int64_t tokens) {
  if (cache_ && cache_->grow(sequence_, tokens)) return;
  cache_.emplace(make_cache(model_, tokens + tokens / 2));
  sequence_ = *cache_->add(tokens);
  stored_.clear();
}

at::Tensor Dialogue::logits_behind(const Ids& ids) {
  const auto length = static_cast<std::int64_t>(ids.size());
  const std::size_t most = std::min(stored_.size(), ids.size() - 1);
  auto same = static_cast<std::int64_t>(
      std::mismatch(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(most), stored_.begin())
          .first -
      ids.begin());
  // Beyond the original positions frequencies are others: the stored keys were turned otherwise.
  const auto& rotaries = model_.config.rotaries;
  const bool anew = std::any_of(rotaries.begin(), rotaries.end(), [&](const auto& rope) {
    return rope.type == RopeType::kLongrope &&
           (static_cast<std::int64_t>(stored_.size()) > rope.original_positions) !=
               (length > rope.original_positions);
  });
  if (anew) same = 0;
  cache_->cut(sequence_, same);
  const Batch batch = pack(
      model_, {std::span<const std::int32_t>(ids).subspan(static_cast<std::size_t>(same))}, {same});
  const at::Tensor logits = extend(model_, *cache_, batch, {sequence_});
  stored_ = ids;
  return logits;
}

Ids Dialogue::answer(const Ids& prompt, const GenerateOptions& options) {
  if (prompt.empty()) throw core::ConfigError("a prompt to continue must hold at least one token");
  const at::NoGradGuard no_grad;
  core::Random random(core::derive_seed(options.sampling.seed, 0));
  Ids ids = prompt;
  make_room(static_cast<std::int64_t>(prompt.size()) + options.max_new_tokens);
  for (std::int64_t count = 0; count < options.max_new_tokens; ++count) {
    const at::Tensor logits = logits_behind(ids);
    const std::int32_t next = choose_tokens(logits, options.sampling, {random.uniform()}).front();
    if (contains(options.stop_ids, next)) break;
    ids.push_back(next);
    const auto generated = std::span<const std::int32_t>(ids).subspan(prompt.size());
    if (options.stop_when && options.stop_when(0, generated)) break;
  }
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()), ids.end()};
}

}  // namespace corda::model
