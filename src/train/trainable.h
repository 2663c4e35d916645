// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run trains: the model in memory with its adapter or its own weights as parameters.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "corda/model/model.h"
#include "corda/quant/model_weights.h"
#include "corda/train/settings.h"
#include "train/sharded_parameters.h"
#include "train/trained_state.h"

namespace corda::train {

// What of the model is in memory.
enum class Values {
  kLoaded,
  kShapesOnly  // tensors of the meta device: everything but the numbers, at no cost
};

// The type of activations, for the setting `precision`.
at::ScalarType compute_type(const std::string& precision, at::Device device);

// A model of the meta device, made from its description alone, with a new adapter of the settings'
// rank and targets on it (method full: its weights being trained), as Trainable makes it: its base
// in codes or sharded where the settings ask for that, or in the codes that `files` hold where
// these are given and the settings leave it to them. `ranks` has those of the layers that have
// another.
model::Model trainable_shapes(const TrainSettings& settings,
                              const model::ModelDescription& description, at::ScalarType compute,
                              const std::map<std::string, std::int64_t>& ranks,
                              const quant::ModelWeights* files, core::Reporter& reporter);

class Trainable {
 public:
  // Loads the base and puts a new or given adapter on it; for method full makes fp32 master
  // weights. With kShapesOnly the same checks are made, from the files' headers, as for `device`.
  //
  // With the setting `shard` the frozen layers lie in a ShardedBase of the ranks of this machine,
  // which must then make every call that needs weights together; the weights of method full are
  // split over all ranks, as ShardedParameters.
  Trainable(const TrainSettings& settings, at::Device device, core::Reporter& reporter,
            Values values = Values::kLoaded, dist::World& world = dist::alone());

  model::Model& model() { return model_; }
  // Leaves that require gradients, by name: "MODULE.lora_A", "MODULE.lora_B", "MODULE.magnitude",
  // or the checkpoint's tensor names for method full; where that is split, this rank's pieces.
  std::vector<std::pair<std::string, at::Tensor>> parameters();
  bool is_full() const { return full_; }
  // Of method full where it is split over ranks, else null.
  ShardedParameters* sharded() const { return sharded_.get(); }
  // The files of the base.
  const quant::ModelWeights& base() const { return base_; }
  // The settings with what device and adapter decided filled in: precision, rank, alpha, dropout,
  // train_a, train_b, and the target modules of an adapter with others than the setting's.
  TrainSettings resolve(TrainSettings settings) const;
  // Fingerprints of the base and of the adapter started from ("" where there is none).
  // Made when it is first asked for: it takes a page fault for every part of the files.
  const std::string& base_fingerprint() const;
  const std::string& start_fingerprint() const { return start_fingerprint_; }

  // The adapter that was put on the base, without layers for method full; what is trained of it is
  // in the model.
  const adapter::Adapter& adapter() const { return adapter_; }

  // The template that the data went through, for the output to carry.
  void set_template(std::string name, std::string chat_template);

  // About how many bytes `save` writes.
  std::int64_t saved_bytes() const;
  // Writes the adapter (or for method full the model, of the state's parameters) as it is now into
  // the directory `out`, which must be new unless it may be replaced; beside it a model card where
  // one is given.
  void save(const std::filesystem::path& out, TrainedState& state, bool replace = false,
            const std::string& card = "");

 private:
  void save_model(const std::filesystem::path& directory, TrainedState& state);

  quant::ModelWeights base_;
  std::unique_ptr<ShardedParameters> sharded_;
  model::Model model_;
  adapter::Adapter adapter_;
  mutable std::string base_fingerprint_;
  std::string start_fingerprint_;
  bool full_;
};

}  // namespace corda::train
