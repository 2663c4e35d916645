// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run trains: the model in memory with its adapter or its own weights as parameters.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/reporter.h"
#include "corda/model/model.h"
#include "corda/quant/model_weights.h"
#include "corda/train/settings.h"

namespace corda::train {

// What of the model is in memory.
enum class Values {
  kLoaded,
  kShapesOnly  // tensors of the meta device: everything but the numbers, at no cost
};

// A model of the meta device, made from its description alone, with a new adapter of the settings'
// rank and targets on it (method full: its weights being trained), as Trainable makes it.
model::Model trainable_shapes(const TrainSettings& settings,
                              const model::ModelDescription& description, at::ScalarType compute,
                              core::Reporter& reporter);

class Trainable {
 public:
  // Loads the base and puts a new or given adapter on it; for method full makes fp32 master
  // weights. With kShapesOnly the same checks are made, from the files' headers, as for `device`.
  Trainable(const TrainSettings& settings, at::Device device, core::Reporter& reporter,
            Values values = Values::kLoaded);

  model::Model& model() { return model_; }
  // Leaves that require gradients, by name: "MODULE.lora_A", "MODULE.lora_B", "MODULE.magnitude",
  // or the checkpoint's tensor names for method full.
  std::vector<std::pair<std::string, at::Tensor>> parameters();
  bool is_full() const { return full_; }
  // The files of the base, and the adapter that was put on it (nothing for method full); what is
  // trained of it is in the model.
  const quant::ModelWeights& base() const { return base_; }
  const adapter::Adapter& start() const { return adapter_; }
  // The settings with what device and adapter decided filled in: precision, rank, alpha, dropout,
  // train_a, and the target modules of an adapter with others than the setting's.
  TrainSettings resolve(TrainSettings settings) const;
  // Fingerprints of the base and of the adapter started from ("" where there is none).
  const std::string& base_fingerprint() const { return base_fingerprint_; }
  const std::string& start_fingerprint() const { return start_fingerprint_; }

  // The template that the data went through, for the output to carry.
  void set_template(std::string name, std::string chat_template);

  // About how many bytes `save` writes.
  std::int64_t saved_bytes() const;
  // Writes the adapter (or for method full the model) as it is now into the directory `out`, which
  // must be new unless it may be replaced.
  void save(const std::filesystem::path& out, bool replace = false);

 private:
  quant::ModelWeights base_;
  model::Model model_;
  adapter::Adapter adapter_;
  std::string base_fingerprint_;
  std::string start_fingerprint_;
  bool full_;
};

}  // namespace corda::train
