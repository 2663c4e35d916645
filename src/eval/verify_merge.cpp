// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/verify_merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "corda/adapter/adapter_reader.h"
#include "corda/core/error.h"
#include "corda/data/names.h"
#include "corda/io/tensor.h"
#include "corda/linalg/device.h"
#include "corda/model/adapt.h"
#include "corda/model/block_loader.h"
#include "corda/model/config.h"
#include "corda/model/forward.h"
#include "eval/verify_samples.h"

namespace corda::eval {

using core::concat;

namespace {

constexpr const char* kHead = "lm_head";

// A model in fp32 of which one block is in memory (and the next one on its way), perhaps with an
// adapter beside its weights.
class StreamedModel {
 public:
  StreamedModel(const std::string& directory, const std::string& assume_family, at::Device device,
                const adapter::AdapterReader* adapter)
      : checkpoint_(directory),
        load_{.device = device},
        adapter_(adapter),
        model_(model::model_without_weights(described(checkpoint_, assume_family), load_)),
        loader_(checkpoint_, model_.config, load_) {}

  const model::ModelDescription& config() const { return model_.config; }

  void embed(const model::Batch& batch) {
    model_.embedding = loader_.embedding();
    hidden_ = model::embed(model_, batch.ids);
    model_.embedding = at::Tensor();
  }

  void run_block(std::int64_t layer, const model::Batch& batch) {
    model::Block& block = model_.blocks[static_cast<std::size_t>(layer)];
    block = loader_.take(layer);
    for (model::Linear* linear : block.projections()) attach(*linear);
    model::PackedAttention attention(batch);
    hidden_ =
        model::forward_block(model_, layer, hidden_, model::positions_of(model_, batch), attention);
    block = {};
    loader_.forget(layer);
  }

  // Norms the rows that have a target and loads the head, for `logits`.
  void finish(const model::Batch& batch) {
    hidden_ = model::rms_norm(hidden_.index_select(0, batch.target_rows),
                              load(model_.config.prefix + "norm.weight"), model_.config.norm_eps,
                              model_.config.norm);
    head_.name = kHead;
    head_.weight = load(model_.config.tied ? model_.config.prefix + "embed_tokens.weight"
                                           : concat(kHead, ".weight"));
    attach(head_);
  }

  at::Tensor logits(std::int64_t begin, std::int64_t end) const {
    return model::finished_logits(model_.config, model::apply(head_, hidden_.slice(0, begin, end)));
  }

 private:
  static model::ModelDescription described(const io::Checkpoint& checkpoint,
                                           const std::string& assume_family) {
    core::Reporter quiet;  // whoever made the directory was told
    return model::describe_model(checkpoint, quiet, assume_family);
  }

  at::Tensor load(const std::string& name) const {
    return io::view_tensor(checkpoint_, name)
        .to(load_.device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  }

  void attach(model::Linear& linear) const {
    if (adapter_ == nullptr || !adapter_->contains(linear.name)) return;
    const adapter::LayerAdapter layer = adapter_->layer(linear.name);
    model::attach_exported(linear, layer, adapter_->header().scale_of(layer));
  }

  io::Checkpoint checkpoint_;
  model::LoadOptions load_;
  const adapter::AdapterReader* adapter_;
  model::Model model_;
  model::BlockLoader loader_;
  model::Linear head_;
  at::Tensor hidden_;
};

// Largest difference that one rounding of the merged weights explains. It moves a weight by at most
// 2^-8 (bf16) or 2^-11 (fp16) of itself, each in a direction of its own, so that most of it
// averages out in a product and little is added from layer to layer. In Llamas of random weights
// (2, 8 and 32 layers, 256 and 512 wide; transformers in fp32, every projection rounded and not)
// the logits of 192 tokens moved by 5.0e-3 to 6.9e-3 of the largest in bf16, by 6e-4 to 1.0e-3 in
// fp16, and hardly more with 32 layers than with 2; in the demo's model with a trained LoRA, merged
// here, by 6.0e-3 and 7.6e-4. The limits are five times the worst. With fp32 weights only sums come
// in another order: 1.2e-6 there.
double tolerance_of(const std::string& directory) {
  double tolerance = 1e-4;
  const io::Checkpoint checkpoint(directory);
  for (const auto& name : checkpoint.names()) {
    const io::DType dtype = checkpoint.info(name).dtype;
    if (dtype == io::DType::kF16) tolerance = std::max(tolerance, 5e-3);
    if (dtype == io::DType::kBF16) tolerance = std::max(tolerance, 4e-2);
  }
  return tolerance;
}

// Adds what the targets [begin, end) show; `largest` is that of |a - b| and of |a|.
void compare(const at::Tensor& a, const at::Tensor& b, const at::Tensor& ids, VerifyResult& result,
             std::array<double, 2>& largest) {
  const auto loss = [&](const at::Tensor& logits) {
    return at::cross_entropy_loss(logits, ids, {}, at::Reduction::Sum).item<double>();
  };
  // A NaN must not pass: std::max would drop it.
  const double difference = (a - b).abs().max().item<double>();
  largest[0] = std::isnan(difference) ? difference : std::max(largest[0], difference);
  largest[1] = std::max(largest[1], a.abs().max().item<double>());
  result.same_argmax += (a.argmax(1) == b.argmax(1)).sum().item<std::int64_t>();
  result.loss_before += loss(a);
  result.loss_after += loss(b);
}

VerifyResult measure(StreamedModel& before, StreamedModel& after, const model::Batch& batch,
                     core::Reporter& reporter) {
  constexpr std::int64_t kRows = 64;  // of logits at once
  VerifyResult result{.tokens = batch.tokens(), .targets = batch.target_rows.size(0), .data = {}};
  before.embed(batch);
  after.embed(batch);
  const std::int64_t layers = before.config().num_layers();
  reporter.begin("verify", layers, "block");
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    core::throw_if_stopped(reporter, "verifying");
    before.run_block(layer, batch);
    after.run_block(layer, batch);
    reporter.advance(1, "");
  }
  reporter.end();
  before.finish(batch);
  after.finish(batch);
  std::array<double, 2> largest = {0, 0};
  for (std::int64_t begin = 0; begin < result.targets; begin += kRows) {
    core::throw_if_stopped(reporter, "verifying");
    const std::int64_t end = std::min(result.targets, begin + kRows);
    compare(before.logits(begin, end), after.logits(begin, end),
            batch.target_ids.slice(0, begin, end), result, largest);
    if (std::isnan(largest[0])) break;
  }
  result.relative_difference = largest[0] / largest[1];
  result.loss_before /= static_cast<double>(result.targets);
  result.loss_after /= static_cast<double>(result.targets);
  return result;
}

}  // namespace

core::SettingsList settings_of(VerifySettings& s) {
  core::SettingsList list;
  list.add("data", s.data,
           "of --verify: data file to compare on; may be given several times; none: the data of "
           "the adapter's run")
      .path(core::PathKind::kData);
  list.add("format", s.format, "of the data", data::format_names());
  list.add("columns", s.columns,
           "field=column, comma separated, for example instruction=question,output=answer");
  data::add_template_settings(list, "", s.template_name, s.system, s.date, s.skip_bad);
  list.add("device", s.device, "of --verify: auto, cpu, cuda or cuda:N");
  model::add_assume_family(list, s.assume_family);
  return list;
}

VerifyResult verify_merge(const VerifySettings& settings, core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  const at::Device device = linalg::device_of(settings.device);
  const adapter::AdapterReader adapter(settings.adapter);
  reporter.info("verifying the merged model against base + adapter");
  StreamedModel before(settings.model, settings.assume_family, device, &adapter);
  StreamedModel after(settings.merged, settings.assume_family, device, nullptr);
  const VerifySamples samples = verify_samples(settings, before.config().vocab_size, reporter);
  const model::Batch batch = model::make_batch(
      samples.batch.ids, samples.batch.positions, samples.batch.cu_seqlens,
      before.config().vocab_size, device, samples.batch.target_rows, samples.batch.target_ids);
  VerifyResult result = measure(before, after, batch, reporter);
  result.data = samples.what;
  const double tolerance = tolerance_of(settings.merged);
  if (!(result.relative_difference <= tolerance)) {
    throw core::NumericalError(
        concat("--verify: the merged model's logits differ from base + adapter by ",
               result.relative_difference, " of the largest, expected at most ", tolerance,
               "; the merged model was not kept"));
  }
  if (!result.agrees()) {
    reporter.warn(concat("--verify: rounding the merged weights changed the most likely token at ",
                         result.targets - result.same_argmax, " of ", result.targets,
                         " places; --dtype fp32 keeps them as base + adapter has them"));
  }
  return result;
}

}  // namespace corda::eval
