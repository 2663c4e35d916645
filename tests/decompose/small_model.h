// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A Llama of two blocks with random weights, and covariances of it, on the disk.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/error.h"
#include "corda/decompose/decompose.h"
#include "corda/decompose/mode.h"
#include "corda/io/covariance_store.h"
#include "corda/io/tensor.h"
#include "corda/kernels/pack_lower.h"
#include "core/json.h"
#include "support/error_of.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace corda::decompose {

namespace fs = std::filesystem;
using ::corda::testing::error_of;
using ::corda::testing::random_tensor;
using ::corda::testing::TemporaryDirectory;

inline constexpr std::int64_t kHidden = 12;
inline constexpr std::int64_t kInner = 20;
inline constexpr std::int64_t kTokens = 500;
inline const std::vector<std::string> kAttention = {"q_proj", "k_proj", "v_proj", "o_proj"};

inline void write_config(const fs::path& directory, std::int64_t hidden, int blocks, int heads) {
  core::write_json(directory / "config.json", {{"model_type", "llama"},
                                               {"hidden_size", hidden},
                                               {"intermediate_size", kInner},
                                               {"num_hidden_layers", blocks},
                                               {"num_attention_heads", heads},
                                               {"vocab_size", 30},
                                               {"rms_norm_eps", 1e-5},
                                               {"tie_word_embeddings", true}});
}

// The tensors of a Llama.
inline std::vector<std::pair<std::string, at::Tensor>> model_tensors(std::int64_t hidden,
                                                                     int blocks,
                                                                     std::uint64_t seed) {
  std::vector<std::pair<std::string, at::Tensor>> tensors = {
      {"model.embed_tokens.weight", random_tensor({30, hidden}, seed)}};
  for (int layer = 0; layer < blocks; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    for (const auto& leaf : kAttention)
      tensors.emplace_back(block + "self_attn." + leaf + ".weight",
                           random_tensor({hidden, hidden}, ++seed));
    tensors.emplace_back(block + "mlp.gate_proj.weight", random_tensor({kInner, hidden}, ++seed));
    tensors.emplace_back(block + "mlp.up_proj.weight", random_tensor({kInner, hidden}, ++seed));
    tensors.emplace_back(block + "mlp.down_proj.weight", random_tensor({hidden, kInner}, ++seed));
    for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
      tensors.emplace_back(block + norm, random_tensor({hidden}, ++seed));
  }
  tensors.emplace_back("model.norm.weight", random_tensor({hidden}, ++seed));
  return tensors;
}

// A folder with a Llama of two blocks in bf16.
inline fs::path write_model(const fs::path& directory, std::uint64_t seed = 1) {
  fs::create_directories(directory);
  auto tensors = model_tensors(kHidden, 2, seed);
  for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kBFloat16);
  io::save_tensors(directory / "model.safetensors", tensors);
  write_config(directory, kHidden, 2, /*heads=*/3);
  return directory;
}

inline at::Tensor covariance(std::int64_t n, std::uint64_t seed) {
  const at::Tensor x = random_tensor({kTokens, n}, seed) * at::logspace(0, -2, n);
  return at::mm(x.t(), x);
}

struct Site {
  std::string name;
  std::vector<std::string> modules;
  std::int64_t width;
};

inline std::vector<Site> sites() {
  std::vector<Site> result;
  for (int layer = 0; layer < 2; ++layer) {
    const std::string a = "model.layers." + std::to_string(layer) + ".self_attn.";
    const std::string m = "model.layers." + std::to_string(layer) + ".mlp.";
    result.push_back({a + "input", {a + "q_proj", a + "k_proj", a + "v_proj"}, kHidden});
    result.push_back({a + "o_proj.input", {a + "o_proj"}, kHidden});
    result.push_back({m + "input", {m + "gate_proj", m + "up_proj"}, kHidden});
    result.push_back({m + "down_proj.input", {m + "down_proj"}, kInner});
  }
  return result;
}

inline fs::path write_covariance(const fs::path& directory, const fs::path& model,
                                 std::uint64_t seed = 100, double factor = 1,
                                 std::int64_t tokens = kTokens) {
  io::CovarianceWriter writer(directory, io::CovarianceStorage::kPacked);
  for (const auto& site : sites())
    writer.add(site.name, site.modules, tokens,
               kernels::pack_lower(factor * covariance(site.width, ++seed)));
  io::CovarianceManifest manifest;
  manifest.model = io::Checkpoint(model).fingerprint();
  manifest.model_name = model.string();
  manifest.activation_scaling = "none";
  writer.finish(manifest);
  return directory;
}

// The covariances that the mode wants, of the one in `s` and the task's; "pissa" is the method.
inline void set_mode(DecomposeSettings& s, const std::string& mode, const std::string& task) {
  const bool pissa = mode == "pissa";
  (pissa ? s.method : s.mode) = mode;
  for (const Mode& row : modes()) {
    if (row.name != (pissa ? "" : mode)) continue;
    if (row.input == Input::kWeight) s.covariance.clear();
    if (row.input == Input::kBoth) s.task_covariance = task;
  }
}

class Decompose : public ::testing::Test {
 protected:
  Decompose()
      : model_(write_model(scratch_.path() / "model")),
        covariance_(write_covariance(scratch_.path() / "cov", model_)) {}

  fs::path write_covariance_with(double wrong, const std::string& at_site) const {
    fs::path directory = scratch_.path() / core::concat("with", wrong);
    io::CovarianceWriter writer(directory, io::CovarianceStorage::kFull);
    for (const auto& site : sites()) {
      at::Tensor c = covariance(site.width, 3);
      if (site.name == at_site) c[1][1] = wrong;
      writer.add(site.name, site.modules, kTokens, c);
    }
    io::CovarianceManifest manifest;
    manifest.model = io::Checkpoint(model_).fingerprint();
    writer.finish(manifest);
    return directory;
  }
  DecomposeSettings settings(const std::string& out = "adapter") const {
    DecomposeSettings s;
    s.model = model_.string();
    s.covariance = {covariance_.string()};
    s.rank = 3;
    s.device = "cpu";
    s.out = (scratch_.path() / out).string();
    return s;
  }
  at::Tensor weight(const std::string& module) const {
    return io::view_tensor(io::Checkpoint(model_), module + ".weight").to(at::kDouble);
  }
  adapter::Adapter run(const DecomposeSettings& s) {
    core::Reporter quiet;
    decompose::decompose(s, quiet);
    return adapter::read_adapter(s.out);
  }
  template <typename ErrorType>
  std::string failure(const DecomposeSettings& s) {
    core::Reporter quiet;
    return error_of<ErrorType>([&] { decompose::decompose(s, quiet); });
  }

  TemporaryDirectory scratch_;
  fs::path model_;
  fs::path covariance_;
};

}  // namespace corda::decompose
