// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The models of tests/golden/families (scripts/golden/families.py), whose weights are computed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "corda/model/batch.h"
#include "corda/model/model.h"
#include "core/json.h"
#include "support/temporary_directory.h"

namespace corda::testing {

// The largest value of the low-rank factors.
inline constexpr double kFactorSize = 0.2;

// fp32 values between -size and size that depend on the name and the element's number alone.
at::Tensor hashed_tensor(const std::string& name, at::IntArrayRef shape, double size);

// The directories, in order; with a `key` those whose expected.json has it, or has it not.
std::vector<std::string> family_goldens(const std::string& key = "", bool has = true);

// A directory's name as a test may be called.
std::string test_name(std::string directory);

class FamilyGolden {
 public:
  explicit FamilyGolden(const std::string& name);

  // What the models of this directory give; of another one where this one only spells it otherwise.
  const core::Json& expected() const { return expected_; }
  // Names on disk and shapes: of the whole checkpoint where `expected` lists it (wrappers), else
  // those that the configuration asks for.
  const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors() const {
    return tensors_;
  }
  // The prefixes under which the model may stand on disk; one for a model that is no wrapper.
  std::size_t spellings() const { return spellings_; }
  // The model's directory, weights included; in spelling `i` of a wrapper.
  std::filesystem::path directory(std::size_t spelling = 0) const;
  model::Model load(const model::LoadOptions& options = {}, std::size_t spelling = 0) const;

  // The golden sequences.
  std::vector<std::vector<std::int32_t>> ids() const;

 private:
  at::Tensor weight(const std::string& name, const std::vector<std::int64_t>& shape) const;
  void write(std::size_t spelling) const;

  TemporaryDirectory temporary_;
  core::Json expected_;
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors_;
  std::size_t spellings_ = 1;
};

// Sequences laid end to end.
model::Batch batch_of(const model::Model& model, const std::vector<std::vector<std::int32_t>>& ids);

// FNV-1a of the text, 32 bits.
std::uint32_t fnv1a(const std::string& text);

// How far a tensor is from the two numbers of a golden, its Euclidean norm and its product with the
// probe of its name, in which every element counts: the larger difference over the norm.
double probe_error(const std::string& name, const at::Tensor& tensor, const core::Json& golden);

}  // namespace corda::testing
