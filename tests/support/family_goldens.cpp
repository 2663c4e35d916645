// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "support/family_goldens.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "corda/io/tensor.h"

namespace corda::testing {

namespace {

namespace fs = std::filesystem;

fs::path golden_folder() { return fs::path(CORDA_SOURCE_DIR) / "tests" / "golden" / "families"; }
constexpr double kWeightSize = 0.3;
constexpr double kProbeSize = 1;

constexpr const char* kOuter = "language_model.model.";
constexpr const char* kInner = "model.language_model.";

// A tensor of a wrapper that stands under the outer prefix, as the inner one has it.
std::string inner_name(const std::string& name) {
  if (name.starts_with("language_model.lm_head."))
    return name.substr(std::string("language_model.").size());
  if (name.starts_with(kOuter)) return kInner + name.substr(std::string(kOuter).size());
  return "model." + name;
}

}  // namespace

std::uint32_t fnv1a(const std::string& text) {
  std::uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash;
}

at::Tensor hashed_tensor(const std::string& name, at::IntArrayRef shape, double size) {
  at::Tensor result = at::empty(shape, at::kFloat);
  auto* values = result.data_ptr<float>();
  const std::uint32_t start = fnv1a(name);
  for (std::int64_t i = 0; i < result.numel(); ++i) {
    std::uint32_t x = static_cast<std::uint32_t>(i) * 2654435761U + start;
    x ^= x >> 16U;
    x *= 0x45d9f3bU;
    x ^= x >> 16U;
    x *= 0x45d9f3bU;
    x ^= x >> 16U;
    values[i] = static_cast<float>((x / 4294967296.0 - 0.5) * 2 * size);
  }
  return result;
}

std::vector<std::string> family_goldens(const std::string& key, bool has) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_folder())) {
    if (!entry.is_directory()) continue;
    if (key.empty() || core::read_json(entry.path() / "expected.json").contains(key) == has)
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string test_name(std::string directory) {
  std::replace(directory.begin(), directory.end(), '-', '_');
  return directory;
}

FamilyGolden::FamilyGolden(const std::string& name) {
  expected_ = core::read_json(golden_folder() / name / "expected.json");
  if (expected_.contains("same_as")) {
    const auto other = expected_.at("same_as").get<std::string>();
    expected_ = core::read_json(golden_folder() / other / "expected.json");
  }
  if (expected_.contains("prefixes")) {
    for (const auto& [tensor, shape] : expected_.at("tensors").at("shapes").items())
      tensors_.emplace_back(tensor, shape.get<std::vector<std::int64_t>>());
    spellings_ = expected_.at("prefixes").size();
  } else {
    tensors_ = model::expected_tensors(model::read_model_config(golden_folder() / name));
  }
  for (std::size_t i = 0; i < spellings_; ++i) {
    fs::create_directories(directory(i));
    fs::copy_file(golden_folder() / name / "config.json", directory(i) / "config.json");
    write(i);
  }
}

fs::path FamilyGolden::directory(std::size_t spelling) const {
  return temporary_.path() / std::to_string(spelling);
}

at::Tensor FamilyGolden::weight(const std::string& name,
                                const std::vector<std::int64_t>& shape) const {
  const at::Tensor values = hashed_tensor(name, shape, kWeightSize);
  if (!name.ends_with("norm.weight")) return values;
  return expected_.at("norm_base").get<double>() + 0.5 * values;
}

void FamilyGolden::write(std::size_t spelling) const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, shape] : tensors_)
    tensors.emplace_back(spelling == 0 ? name : inner_name(name), weight(name, shape));
  io::save_tensors(directory(spelling) / "model.safetensors", tensors, {{"format", "pt"}});
}

model::Model FamilyGolden::load(const model::LoadOptions& options, std::size_t spelling) const {
  const fs::path path = directory(spelling);
  return model::load_model(io::Checkpoint(path), model::read_model_config(path), options);
}

std::vector<std::vector<std::int32_t>> FamilyGolden::ids() const {
  return expected_.at("ids").get<std::vector<std::vector<std::int32_t>>>();
}

model::Batch batch_of(const model::Model& model,
                      const std::vector<std::vector<std::int32_t>>& ids) {
  std::vector<std::int32_t> flat, positions, offsets = {0};
  for (const auto& sequence : ids) {
    for (std::size_t t = 0; t < sequence.size(); ++t) {
      flat.push_back(sequence[t]);
      positions.push_back(static_cast<std::int32_t>(t));
    }
    offsets.push_back(static_cast<std::int32_t>(flat.size()));
  }
  return model::make_batch(flat, positions, offsets, model.config.vocab_size, model.device());
}

double probe_error(const std::string& name, const at::Tensor& tensor, const core::Json& golden) {
  const at::Tensor values = tensor.to(at::kCPU, at::kDouble);
  const at::Tensor probe = hashed_tensor(name + ".probe", values.sizes(), kProbeSize);
  const auto norm = golden.at(0).get<double>();
  const auto product = golden.at(1).get<double>();
  return std::max(std::abs(values.norm().item<double>() - norm),
                  std::abs((values * probe).sum().item<double>() - product)) /
         norm;
}

}  // namespace corda::testing
