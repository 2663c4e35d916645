// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/streamed_model.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "corda/model/adapt.h"
#include "corda/model/forward.h"

namespace corda::eval {

using core::concat;

namespace {

constexpr const char* kHead = "lm_head";

model::ModelDescription described(const quant::ModelWeights& weights,
                                  const std::string& assume_family) {
  core::Reporter quiet;  // whoever made the directory was told
  return model::describe_model(weights, quiet, assume_family);
}

}  // namespace

StreamedModel::StreamedModel(const std::string& directory, const std::string& assume_family,
                             at::Device device, const StreamedAdapter& adapter, quant::Base base)
    : weights_(io::Checkpoint(directory)),
      load_{.device = device},
      adapter_(adapter),
      base_(base),
      model_(model::model_without_weights(described(weights_, assume_family), load_)),
      loader_(weights_, model_.config, load_) {}

void StreamedModel::embed(const std::vector<model::Batch>& batches) {
  const std::string name = model_.config.prefix + "embed_tokens.weight";
  hidden_.clear();
  for (const model::Batch& batch : batches) {
    const auto [ids, places] = at::_unique(batch.ids, /*sorted=*/true, /*return_inverse=*/true);
    model_.embedding = in_fp32(weights_.view(name).index_select(0, ids.cpu()));
    hidden_.push_back(model::embed(model_, places.to(batch.ids.scalar_type())));
  }
  weights_.forget(name);
  model_.embedding = at::Tensor();
}

void StreamedModel::run_block(std::int64_t layer, const std::vector<model::Batch>& batches) {
  model::Block& block = model_.blocks[static_cast<std::size_t>(layer)];
  block = loader_.take(layer);
  for (model::Linear* linear : block.linear_layers()) {
    quantise(*linear);
    attach(*linear);
  }
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const model::Batch& batch = batches[i];
    model::PackedAttention attention(batch);
    hidden_[i] = model::forward_block(model_, layer, hidden_[i], model::positions_of(model_, batch),
                                      attention);
  }
  block = {};
  loader_.forget(layer);
}

void StreamedModel::finish(const std::vector<model::Batch>& batches) {
  const at::Tensor norm = in_fp32(weights_.view(model_.config.prefix + "norm.weight"));
  std::vector<at::Tensor> rows;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    rows.push_back(model::rms_norm(hidden_[i].index_select(0, batches[i].target_rows), norm,
                                   model_.config.norm_eps, model_.config.norm));
  }
  rows_ = at::cat(rows);
  hidden_.clear();
  const adapter::AdapterReader* reader = adapter_.reader;
  if (reader != nullptr && reader->contains(kHead)) head_adapter_ = reader->layer(kHead);
}

at::Tensor StreamedModel::logits(std::int64_t begin, std::int64_t end,
                                 const at::Tensor& rows) const {
  const std::string name =
      model_.config.tied ? model_.config.prefix + "embed_tokens.weight" : concat(kHead, ".weight");
  const at::Tensor stored = weights_.view(name).slice(0, begin, end);
  model::Linear head{.name = kHead, .weight = in_fp32(stored), .bias = {}, .low_rank = {}};
  weights_.forget(name);
  if (head_adapter_) {
    adapter::LayerAdapter part = *head_adapter_;
    for (at::Tensor* whole : {&part.b, &part.b0, &part.magnitude})
      if (whole->defined()) *whole = whole->slice(0, begin, end);
    attach_part(head, part, adapter_.reader->header().scale_of(*head_adapter_),
                stored.scalar_type());
  }
  return model::finished_logits(model_.config, model::apply(head, rows));
}

at::Tensor StreamedModel::in_fp32(const at::Tensor& stored) const {
  return stored.to(load_.device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

void StreamedModel::attach(model::Linear& linear) const {
  const adapter::AdapterReader* reader = adapter_.reader;
  if (reader == nullptr || !reader->contains(linear.name)) return;
  const adapter::LayerAdapter layer = reader->layer(linear.name);
  attach_part(linear, layer, reader->header().scale_of(layer), stored_type(linear));
}

void StreamedModel::attach_part(model::Linear& linear, const adapter::LayerAdapter& layer,
                                double scale, at::ScalarType stored) const {
  const double strength = adapter_.strength;
  // Between the base and a DoRA there is no adapter, only a weight.
  const bool beside = !adapter_.folds && (strength == 1 || !layer.magnitude.defined());
  if (beside) return model::attach_exported(linear, layer, scale * strength);
  const at::Tensor merged = adapter::merged_weight(linear.weight.cpu(), layer, scale, strength);
  linear.weight = (adapter_.folds ? merged.to(stored) : merged).to(load_.device, at::kFloat);
}

at::ScalarType StreamedModel::stored_type(const model::Linear& linear) const {
  return io::to_scalar_type(weights_.info(linear.name + ".weight").dtype);
}

// Puts what the codes mean in place of the weight.
void StreamedModel::quantise(model::Linear& linear) const {
  const auto codes = quant::packed_base(weights_, linear.name + ".weight", base_, load_.device,
                                        stored_type(linear));
  if (codes) kernels::dequantise(linear.weight, *codes);
}

quant::Base trained_base(const std::string& setting, const adapter::Adapter& adapter) {
  const std::string& trained = adapter.base_format;
  return quant::base_named(setting == "auto" && !trained.empty() ? trained : setting);
}

void SeenLogits::add(const at::Tensor& logits, const at::Tensor& ids, std::int64_t begin) {
  const auto [value, place] = logits.max(1);
  const at::Tensor sum = logits.logsumexp(1);
  const at::Tensor local = ids - begin;
  const at::Tensor inside = (local >= 0).logical_and(local < logits.size(1));
  const at::Tensor own =
      logits.gather(1, local.clamp(0, logits.size(1) - 1).unsqueeze(1)).squeeze(1);
  if (!best.defined()) {
    best = value;
    best_id = place;
    log_sum = sum;
    target = own;
    return;
  }
  best_id = at::where(value > best, place + begin, best_id);
  best = at::maximum(value, best);
  log_sum = at::logaddexp(log_sum, sum);
  target = at::where(inside, own, target);
}

double SeenLogits::loss_sum() const {
  return (log_sum - target).to(at::kDouble).sum().item<double>();
}

}  // namespace corda::eval
