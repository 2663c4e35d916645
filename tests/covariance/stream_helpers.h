// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Covariances of a tiny model by streaming it.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "corda/covariance/stream.h"
#include "corda/model/config.h"

namespace corda::covariance::testing {

// Sequences of unequal lengths, three to a batch.
inline Draw tiny_draw(std::int64_t vocab, std::int64_t sequences = 7) {
  Draw draw;
  for (std::int64_t i = 0; i < sequences; ++i) {
    if (i % 3 == 0) draw.batches.emplace_back();
    std::vector<tokenizer::TokenId> ids;
    for (std::int64_t t = 0; t < 5 + 4 * i; ++t)
      ids.push_back(static_cast<tokenizer::TokenId>((t * t + 13 * i) % vocab));
    data::append(draw.batches.back(), std::span<const tokenizer::TokenId>(ids));
    ++draw.samples;
    draw.tokens += static_cast<std::int64_t>(ids.size());
  }
  return draw;
}

struct Streamed {
  std::map<std::string, at::Tensor> covariances;  // by site, on the CPU
  std::vector<std::int64_t> blocks;               // in the order of the calls
};

// One entry a draw.
inline std::vector<Streamed> stream(const std::filesystem::path& model,
                                    const std::vector<Draw>& draws, const StreamOptions& options) {
  std::vector<Streamed> result(draws.size());
  core::Reporter silent;
  stream_blocks(
      io::Checkpoint(model), model::read_model_config(model), draws, options,
      [&](std::int64_t layer, const model::Block&, std::vector<BlockCovariances>& found) {
        for (std::size_t i = 0; i < found.size(); ++i) {
          result[i].blocks.push_back(layer);
          for (const auto& site : found[i])
            result[i].covariances[site.site.name] = site.covariance.cpu();
        }
      },
      silent);
  return result;
}

}  // namespace corda::covariance::testing
