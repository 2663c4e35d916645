// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Generation: many prompts at once, each ending when it is done and making room for the next.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "corda/core/random.h"
#include "corda/model/key_value_cache.h"
#include "corda/model/model.h"

namespace corda::model {

// How a token is chosen. Temperature 0: the likeliest, ties going to the lowest id. Else drawn from
// softmax(logits / temperature), of which `top_k` leaves the likeliest k (0: all) and `top_p` after
// it the fewest likeliest whose probabilities reach p together.
struct Sampling {
  double temperature = 0;
  std::int64_t top_k = 0;
  double top_p = 1;
  std::uint64_t seed = 0;  // of prompt i a stream of its own, so that the others do not matter
};

// The ids chosen for rows of logits [rows, vocab]; `uniform`, in [0, 1) and one a row, decides
// where they are drawn.
std::vector<std::int32_t> choose_tokens(const at::Tensor& logits, const Sampling& sampling,
                                        const std::vector<double>& uniform);

struct GenerateOptions {
  std::int64_t max_new_tokens = 16;
  std::vector<std::int32_t> stop_ids = {};  // generation of a sequence ends before one of these
  // Called after each token of a prompt with all that it was continued by; true ends it, that token
  // included. May be empty.
  std::function<bool(std::size_t prompt, std::span<const std::int32_t> generated)> stop_when = {};
  Sampling sampling = {};
  // Keys and values held at once, in tokens; more where one prompt and its answer need more. Bounds
  // the memory; a result depends on it no more than rounding does.
  std::int64_t cache_tokens = std::int64_t{1} << 16;
  // Called when a prompt is done; may be empty, and may throw to end all.
  std::function<void(std::size_t prompt)> finished = {};
};

// The continuation of each prompt, stop tokens left out. Throws ConfigError for an empty prompt.
std::vector<std::vector<std::int32_t>> generate(
    const Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
    const GenerateOptions& options);

// One sequence that is asked again and again and keeps the keys and values of what its prompts
// begin with alike, as the turns of a conversation do. The model outlives it.
class Dialogue {
 public:
  explicit Dialogue(const Model& model) : model_(model) {}
  // The same as `generate` of one prompt, whose number is 0.
  std::vector<std::int32_t> answer(const std::vector<std::int32_t>& prompt,
                                   const GenerateOptions& options);

 private:
  void make_room(std::int64_t tokens);
  // The logits [1, vocab] behind `ids`, whose stored beginning is used again.
  at::Tensor logits_behind(const std::vector<std::int32_t>& ids);

  const Model& model_;
  std::optional<KeyValueCache> cache_;
  std::int64_t sequence_ = 0;
  std::vector<std::int32_t> stored_;  // the ids whose keys and values are there
};

}  // namespace corda::model
