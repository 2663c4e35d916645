// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// An adapter directory read layer by layer, for work that must not hold the whole adapter.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/io/safetensors.h"

namespace corda::adapter {

struct PeftConfig;

class AdapterReader {
 public:
  // The names of one module's tensors in the file; `magnitude` is empty without DoRA.
  struct Entry {
    std::string a;
    std::string b;
    std::string magnitude;
  };

  // Reads the configuration and checks every tensor's name and shape; errors as `read_adapter`.
  explicit AdapterReader(const fs::path& directory);

  // Everything but the layers.
  const Adapter& header() const { return header_; }
  const std::vector<std::string>& modules() const { return modules_; }  // sorted
  bool contains(const std::string& module) const { return entries_.contains(module); }
  // [out, in] of the weight that a module of `modules()` changes.
  std::array<std::int64_t, 2> weight_shape(const std::string& module) const;
  // The rank of A and B, which is half of what the file has where the start is subtracted.
  std::int64_t rank_of(const std::string& module) const;
  // Loads one module of `modules()`.
  LayerAdapter layer(const std::string& module) const;
  // Those of `linear_layers`, names of a base's modules, that the configuration gives an adapter
  // although the file has no tensors for them. PEFT leaves such layers as they are, and warns.
  std::vector<std::string> missing(const std::vector<std::string>& linear_layers) const;
  // Weights of the base that the file holds in full, as PEFT adds those of an adapted head or
  // embedding: tensor name in the base -> in the file.
  const std::map<std::string, std::string>& base_weights() const { return base_weights_; }
  const io::Checkpoint& file() const { return *file_; }

 private:
  void index_tensors();

  Adapter header_;
  bool subtracts_start_ = false;
  std::shared_ptr<const PeftConfig> config_;
  std::unique_ptr<io::Checkpoint> file_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> base_weights_;
  std::vector<std::string> modules_;
};

}  // namespace corda::adapter
