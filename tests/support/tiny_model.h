// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A small random Llama written as a Hugging Face directory.
#pragma once

#include <filesystem>
#include <string>

#include "corda/model/model.h"

namespace corda::testing {

struct TinyModelOptions {
  std::int64_t vocab = 96;
  std::int64_t hidden = 32;
  std::int64_t intermediate = 48;
  std::int64_t layers = 2;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  bool tied = false;
  at::ScalarType dtype = at::kFloat;
  std::uint64_t seed = 1;
  double spread = 0.3;  // weights are uniform between -spread and spread
  std::int64_t shards = 1;
};

// config.json and the weights; also a tokenizer.json whose ids are the bytes of the text (vocab >=
// 257 needed for every byte; id 0 is <|endoftext|>, byte b is id b + 1).
void write_tiny_model(const std::filesystem::path& directory, const TinyModelOptions& options = {});

// Writes and loads it in fp32 on the CPU.
model::Model load_tiny_model(const std::filesystem::path& directory,
                             const TinyModelOptions& options = {});

}  // namespace corda::testing
