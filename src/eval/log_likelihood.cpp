// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/log_likelihood.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "corda/core/error.h"
#include "corda/model/forward.h"
#include "corda/model/prefix_tree.h"

namespace corda::eval {

namespace {

using Span = std::span<const std::int32_t>;

// A common beginning is worth a run of its own from so many tokens on, since attention is called
// for each run.
constexpr std::int64_t kLeastShared = 16;
// A batch may have so many times as many keys as tokens, those that runs share counted for each
// run: keys are copied.
constexpr std::int64_t kKeysOverTokens = 8;

// The tokens that the model is fed: all but the last target, which predicts nothing.
Span fed(const LikelihoodRequest& request) {
  return Span(request.ids).first(request.ids.size() - 1);
}

std::int64_t common(Span a, Span b) {
  const std::size_t most = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(most), b.begin()).first -
         a.begin();
}

// Requests in the order of their tokens, so that those that begin alike are neighbours, in batches.
std::vector<std::vector<std::size_t>> batches_of(const std::vector<LikelihoodRequest>& requests,
                                                 std::int64_t batch_tokens, std::int64_t least) {
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const Span x = fed(requests[a]);
    const Span y = fed(requests[b]);
    return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
  });
  std::vector<std::vector<std::size_t>> batches;
  std::int64_t tokens = 0;
  std::int64_t keys = 0;
  for (const std::size_t i : order) {
    const Span ids = fed(requests[i]);
    const auto length = static_cast<std::int64_t>(ids.size());
    std::int64_t shared = batches.empty() ? 0 : common(fed(requests[batches.back().back()]), ids);
    if (shared < least && shared < length) shared = 0;
    const bool fits = !batches.empty() && tokens + length - shared <= batch_tokens &&
                      keys + length <= kKeysOverTokens * batch_tokens;
    if (!fits) {
      batches.emplace_back();
      tokens = keys = shared = 0;
    }
    batches.back().push_back(i);
    tokens += length - shared;
    keys += length;
  }
  return batches;
}

// A target and the row whose next token it is.
struct Target {
  std::int64_t row = 0;
  std::int64_t id = 0;
  std::size_t request = 0;
};

// Adds to `results`, the logits of some rows at a time.
void add_targets(const model::Model& model, const at::Tensor& hidden, std::vector<Target> targets,
                 std::vector<LogLikelihood>& results) {
  std::stable_sort(targets.begin(), targets.end(),
                   [](const Target& a, const Target& b) { return a.row < b.row; });
  const std::int64_t most = kernels::logit_rows(model.config.vocab_size);
  for (std::size_t begin = 0; begin < targets.size();) {
    std::vector<std::int64_t> rows;
    std::vector<std::int64_t> places;
    std::vector<std::int64_t> ids;
    std::size_t end = begin;
    for (; end < targets.size(); ++end) {
      if (rows.empty() || rows.back() != targets[end].row) {
        if (static_cast<std::int64_t>(rows.size()) == most) break;
        rows.push_back(targets[end].row);
      }
      places.push_back(static_cast<std::int64_t>(rows.size()) - 1);
      ids.push_back(targets[end].id);
    }
    const auto on_device = [&](const std::vector<std::int64_t>& values) {
      return at::tensor(values, at::kLong).to(hidden.device());
    };
    const at::Tensor logits =
        model::logits_of(model, hidden.index_select(0, on_device(rows))).to(at::kFloat);
    const at::Tensor place = on_device(places);
    const at::Tensor id = on_device(ids);
    const at::Tensor log_p =
        (logits.index({place, id}) - logits.logsumexp(-1).index_select(0, place))
            .to(at::kCPU, at::kDouble);
    const at::Tensor likeliest = logits.argmax(-1).index_select(0, place).eq(id).to(at::kCPU);
    for (std::size_t t = begin; t < end; ++t) {
      LogLikelihood& result = results[targets[t].request];
      const auto at = static_cast<std::int64_t>(t - begin);
      result.sum += log_p.const_data_ptr<double>()[at];
      result.greedy = result.greedy && likeliest.const_data_ptr<bool>()[at];
    }
    begin = end;
  }
}

void score_batch(const model::Model& model, const std::vector<LikelihoodRequest>& requests,
                 const std::vector<std::size_t>& batch, std::int64_t least,
                 std::vector<LogLikelihood>& results) {
  std::vector<Span> sequences;
  for (const std::size_t i : batch) sequences.push_back(fed(requests[i]));
  const model::PrefixTree tree(sequences, least);
  const model::Batch rows = tree.batch(model.config.vocab_size, model.device());
  model::PrefixTree::SharedAttention attention(tree, model.device());
  const at::Tensor hidden = model::forward_hidden(model, rows, attention);
  std::vector<Target> targets;
  for (std::size_t j = 0; j < batch.size(); ++j) {
    const LikelihoodRequest& request = requests[batch[j]];
    results[batch[j]].greedy = true;
    const auto length = static_cast<std::int64_t>(request.ids.size());
    for (std::int64_t t = length - request.targets; t < length; ++t) {
      targets.push_back({.row = tree.row(j, t - 1),
                         .id = request.ids[static_cast<std::size_t>(t)],
                         .request = batch[j]});
    }
  }
  add_targets(model, hidden, std::move(targets), results);
}

}  // namespace

std::vector<LogLikelihood> log_likelihoods(const model::Model& model,
                                           const std::vector<LikelihoodRequest>& requests,
                                           std::int64_t batch_tokens, core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  // Where rotary frequencies depend on a sequence's length, sequences that begin alike have other
  // keys there, so they share nothing.
  const auto& rotaries = model.config.rotaries;
  std::size_t longest = 0;
  for (const auto& request : requests) longest = std::max(longest, request.ids.size());
  const bool alone = std::any_of(rotaries.begin(), rotaries.end(), [&](const auto& rope) {
    return rope.depends_on_length() && static_cast<std::int64_t>(longest) > rope.original_positions;
  });
  const std::int64_t least =
      alone ? static_cast<std::int64_t>(longest) : kLeastShared;  // none share so many but equals
  std::vector<LogLikelihood> results(requests.size());
  reporter.begin("log-likelihoods", static_cast<std::int64_t>(requests.size()), "request");
  for (const auto& batch : batches_of(requests, batch_tokens, least)) {
    core::throw_if_stopped(reporter, "evaluating");
    score_batch(model, requests, batch, least, results);
    reporter.advance(static_cast<std::int64_t>(batch.size()), "");
  }
  reporter.end();
  for (const LogLikelihood& result : results) {
    if (std::isfinite(result.sum)) continue;
    throw core::NumericalError(core::concat(
        "a log-likelihood is ", result.sum,
        "; the weights hold a NaN or an infinity, or an activation overflowed: try --dtype fp32"));
  }
  return results;
}

}  // namespace corda::eval
