// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model that is run one block at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/adapter/adapter_reader.h"
#include "corda/model/batch.h"
#include "corda/model/block_loader.h"
#include "corda/model/model.h"

namespace corda::eval {

// What runs beside the weights of a base, or in them.
struct StreamedAdapter {
  const adapter::AdapterReader* reader = nullptr;
  bool folds = false;   // merged, and rounded as the files are
  double strength = 1;  // adapter::merged_weight
};

// A model in fp32 of which one block is in memory (and the next one on its way) and of embedding
// and head the rows that are used.
class StreamedModel {
 public:
  // `base`: how its layers are held.
  StreamedModel(const std::string& directory, const std::string& assume_family, at::Device device,
                const StreamedAdapter& adapter, quant::Base base = quant::Base::kDense);

  const model::ModelDescription& config() const { return model_.config; }

  // A forward pass over all of `batches` takes three steps: this one, the blocks, and `finish`.
  void embed(const std::vector<model::Batch>& batches);
  void run_block(std::int64_t layer, const std::vector<model::Batch>& batches);
  // Norms the rows that have a target, which `target_rows` then gives, of one batch after the
  // other.
  void finish(const std::vector<model::Batch>& batches);

  const at::Tensor& target_rows() const { return rows_; }  // [targets, hidden]

  // The logits of rows of these for the tokens [begin, end) of the vocabulary.
  at::Tensor logits(std::int64_t begin, std::int64_t end, const at::Tensor& rows) const;

 private:
  at::Tensor in_fp32(const at::Tensor& stored) const;
  void attach(model::Linear& linear) const;
  // Attaches the adapter's part of a layer, or of some of its rows, whose weight is stored as
  // `stored`.
  void attach_part(model::Linear& linear, const adapter::LayerAdapter& layer, double scale,
                   at::ScalarType stored) const;
  at::ScalarType stored_type(const model::Linear& linear) const;
  void quantise(model::Linear& linear) const;

  quant::ModelWeights weights_;
  model::LoadOptions load_;
  StreamedAdapter adapter_;
  quant::Base base_;
  model::Model model_;
  model::BlockLoader loader_;
  std::optional<adapter::LayerAdapter> head_adapter_;
  std::vector<at::Tensor> hidden_;  // of each batch
  at::Tensor rows_;                 // of all targets
};

// How the base was held in training: `setting`, or for auto what the adapter says of it.
quant::Base trained_base(const std::string& setting, const adapter::Adapter& adapter);

// What the logits of one model say of every target, of the parts of the vocabulary seen so far.
struct SeenLogits {
  at::Tensor best, best_id, log_sum, target;  // [targets]

  void add(const at::Tensor& logits, const at::Tensor& ids, std::int64_t begin);
  // Sums the losses over the targets.
  double loss_sum() const;
  double loss() const { return loss_sum() / static_cast<double>(target.size(0)); }
};

// Tokens of the vocabulary whose logits are best taken at once.
constexpr std::int64_t kVocabularyPart = 8192;

}  // namespace corda::eval
