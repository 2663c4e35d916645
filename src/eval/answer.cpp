// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/answer.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/data/vocabulary.h"

namespace corda::eval {

std::string cut_at_stops(std::string text, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    const std::size_t at = text.find(stop);
    if (at != std::string::npos) text.resize(at);
  }
  return text;
}

GrowingAnswer::GrowingAnswer(const tokenizer::Tokenizer& tokenizer,
                             const std::vector<std::string>& stops)
    : tokenizer_(tokenizer), stops_(stops) {
  for (const std::string& stop : stops) longest_ = std::max(longest_, stop.size());
}

bool GrowingAnswer::grow(std::span<const TokenId> generated) {
  // The tokens from `context_` on, decoded with and without the new ones, differ by the new text:
  // what a tokenizer does to the front of a text happens to both.
  const tokenizer::DecodeOptions plain{.skip_special_tokens = true};
  const std::string before =
      tokenizer_.decode(generated.subspan(context_, read_ - context_), plain);
  const std::string whole = tokenizer_.decode(generated.subspan(context_), plain);
  if (whole.size() <= before.size() || whole.ends_with("\uFFFD")) return false;
  const std::size_t from = text_.size() < longest_ ? 0 : text_.size() - longest_;
  text_ += whole.substr(before.size());
  context_ = read_;
  read_ = generated.size();
  return std::any_of(stops_.begin(), stops_.end(), [&](const std::string& stop) {
    return text_.find(stop, from) != std::string::npos;
  });
}

std::string_view GrowingAnswer::certain() const {
  std::size_t end = text_.size();
  for (const std::string& stop : stops_) {
    end = std::min(end, text_.find(stop));
    for (std::size_t length = std::min(stop.size() - 1, text_.size()); length > 0; --length) {
      if (!text_.ends_with(std::string_view(stop).substr(0, length))) continue;
      end = std::min(end, text_.size() - length);
      break;
    }
  }
  return std::string_view(text_).substr(0, end);
}

void check_stops(const std::vector<std::string>& stops) {
  if (std::find(stops.begin(), stops.end(), "") != stops.end())
    throw core::ConfigError("--stop: an empty text would end every answer at once");
}

model::Sampling sampling_of(const AnswerSettings& settings) {
  return {.temperature = settings.temperature,
          .top_k = settings.top_k,
          .top_p = settings.top_p,
          .seed = static_cast<std::uint64_t>(settings.seed)};
}

std::vector<std::string> answer_prompts(const model::Model& model,
                                        const tokenizer::Tokenizer& tokenizer,
                                        const std::vector<std::vector<TokenId>>& prompts,
                                        const AnswerSettings& settings, std::int64_t cache_tokens,
                                        core::Reporter& reporter) {
  check_stops(settings.stop);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    data::require_rows(prompts[i], {tokenizer, model.config.vocab_size},
                       core::concat("prompt ", i + 1));
  }
  std::vector<GrowingAnswer> growing(prompts.size(), GrowingAnswer(tokenizer, settings.stop));
  model::GenerateOptions options{.max_new_tokens = settings.max_new_tokens,
                                 .stop_ids = tokenizer.end_ids,
                                 .stop_when = {},
                                 .sampling = sampling_of(settings),
                                 .cache_tokens = cache_tokens};
  options.stop_when = [&](std::size_t prompt, std::span<const TokenId> generated) {
    core::throw_if_stopped(reporter, "answering");
    return !settings.stop.empty() && growing[prompt].grow(generated);
  };
  options.finished = [&](std::size_t /*prompt*/) { reporter.advance(1, ""); };
  reporter.begin("answers", static_cast<std::int64_t>(prompts.size()), "question");
  const auto generated = model::generate(model, prompts, options);
  reporter.end();
  std::vector<std::string> answers;
  for (const auto& ids : generated) {
    answers.push_back(
        cut_at_stops(tokenizer.decode(ids, {.skip_special_tokens = true}), settings.stop));
  }
  return answers;
}

}  // namespace corda::eval
