// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/verify_merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>

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

// A model in fp32 of which one block is in memory (and the next one on its way) and of embedding
// and head the rows that are used, perhaps with an adapter beside its weights.
class StreamedModel {
 public:
  // `base`: how its layers are held. `folds`: the adapter is merged, and rounded as the files are.
  StreamedModel(const std::string& directory, const std::string& assume_family, at::Device device,
                const adapter::AdapterReader* adapter, quant::Base base = quant::Base::kDense,
                bool folds = false)
      : weights_(io::Checkpoint(directory)),
        load_{.device = device},
        adapter_(adapter),
        base_(base),
        folds_(folds),
        model_(model::model_without_weights(described(weights_, assume_family), load_)),
        loader_(weights_, model_.config, load_) {}

  const model::ModelDescription& config() const { return model_.config; }

  void embed(const model::Batch& batch) {
    const auto [ids, places] = at::_unique(batch.ids, /*sorted=*/true, /*return_inverse=*/true);
    const std::string name = model_.config.prefix + "embed_tokens.weight";
    model_.embedding = in_fp32(weights_.view(name).index_select(0, ids.cpu()));
    weights_.forget(name);
    hidden_ = model::embed(model_, places.to(batch.ids.scalar_type()));
    model_.embedding = at::Tensor();
  }

  void run_block(std::int64_t layer, const model::Batch& batch) {
    model::Block& block = model_.blocks[static_cast<std::size_t>(layer)];
    block = loader_.take(layer);
    for (model::Linear* linear : block.projections()) {
      quantise(*linear);
      attach(*linear);
    }
    model::PackedAttention attention(batch);
    hidden_ =
        model::forward_block(model_, layer, hidden_, model::positions_of(model_, batch), attention);
    block = {};
    loader_.forget(layer);
  }

  // Norms the rows that have a target, for `logits`.
  void finish(const model::Batch& batch) {
    const std::string norm = model_.config.prefix + "norm.weight";
    hidden_ =
        model::rms_norm(hidden_.index_select(0, batch.target_rows), in_fp32(weights_.view(norm)),
                        model_.config.norm_eps, model_.config.norm);
    if (adapter_ != nullptr && adapter_->contains(kHead)) head_adapter_ = adapter_->layer(kHead);
  }

  // Of the tokens [begin, end) of the vocabulary, for every target.
  at::Tensor logits(std::int64_t begin, std::int64_t end) const {
    const std::string name = model_.config.tied ? model_.config.prefix + "embed_tokens.weight"
                                                : concat(kHead, ".weight");
    model::Linear head{.name = kHead,
                       .weight = in_fp32(weights_.view(name).slice(0, begin, end)),
                       .bias = {},
                       .low_rank = {}};
    weights_.forget(name);
    if (head_adapter_) {
      adapter::LayerAdapter part = *head_adapter_;
      for (at::Tensor* rows : {&part.b, &part.b0, &part.magnitude})
        if (rows->defined()) *rows = rows->slice(0, begin, end);
      model::attach_exported(head, part, adapter_->header().scale_of(*head_adapter_));
    }
    return model::finished_logits(model_.config, model::apply(head, hidden_));
  }

 private:
  static model::ModelDescription described(const quant::ModelWeights& weights,
                                           const std::string& assume_family) {
    core::Reporter quiet;  // whoever made the directory was told
    return model::describe_model(weights, quiet, assume_family);
  }

  at::Tensor in_fp32(const at::Tensor& stored) const {
    return stored.to(load_.device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  }

  void attach(model::Linear& linear) const {
    if (adapter_ == nullptr || !adapter_->contains(linear.name)) return;
    const adapter::LayerAdapter layer = adapter_->layer(linear.name);
    if (folds_) {
      const at::ScalarType stored = stored_type(linear);
      const double scale = adapter_->header().scale_of(layer);
      linear.weight = adapter::merged_weight(linear.weight.cpu(), layer, scale)
                          .to(stored)
                          .to(load_.device, at::kFloat);
      return;
    }
    model::attach_exported(linear, layer, adapter_->header().scale_of(layer));
  }

  at::ScalarType stored_type(const model::Linear& linear) const {
    return io::to_scalar_type(weights_.info(linear.name + ".weight").dtype);
  }

  // What the codes mean, in place of the weight.
  void quantise(model::Linear& linear) const {
    const auto codes = quant::packed_base(weights_, linear.name + ".weight", base_, load_.device,
                                          stored_type(linear));
    if (codes) kernels::dequantise(linear.weight, *codes);
  }

  quant::ModelWeights weights_;
  model::LoadOptions load_;
  const adapter::AdapterReader* adapter_;
  quant::Base base_;
  bool folds_;
  model::Model model_;
  model::BlockLoader loader_;
  std::optional<adapter::LayerAdapter> head_adapter_;
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
constexpr double kOnePlace = 10;  // times as far, where the root mean square is within the limit

double tolerance_of(const std::string& directory) {
  double tolerance = 1e-4;
  const quant::ModelWeights weights{io::Checkpoint(directory)};
  for (const auto& name : weights.names()) {
    const io::DType dtype = weights.info(name).dtype;
    if (dtype == io::DType::kF16) tolerance = std::max(tolerance, 5e-3);
    if (dtype == io::DType::kBF16) tolerance = std::max(tolerance, 4e-2);
  }
  return tolerance;
}

// What the logits of one model say of every target, of the parts of the vocabulary seen so far.
struct Seen {
  at::Tensor best, best_id, log_sum, target;  // [targets]

  void add(const at::Tensor& logits, const at::Tensor& ids, std::int64_t begin) {
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
  double loss() const { return (log_sum - target).to(at::kDouble).mean().item<double>(); }
};

// Compares the logits of two models whose blocks have run, a part of the vocabulary at a time.
void compare(const StreamedModel& before, const StreamedModel& after, const at::Tensor& ids,
             VerifyResult& result, core::Reporter& reporter) {
  constexpr std::int64_t kPart = 8192;
  const std::int64_t vocabulary = before.config().vocab_size;
  Seen one;
  Seen other;
  double largest_difference = 0;
  double largest = 0;
  double squares_of_differences = 0;
  double squares = 0;
  for (std::int64_t begin = 0; begin < vocabulary; begin += kPart) {
    core::throw_if_stopped(reporter, "verifying");
    const std::int64_t end = std::min(vocabulary, begin + kPart);
    const at::Tensor a = before.logits(begin, end);
    const at::Tensor b = after.logits(begin, end);
    one.add(a, ids, begin);
    other.add(b, ids, begin);
    // A NaN must not pass: std::max would drop it.
    const double difference = (a - b).abs().max().item<double>();
    if (std::isnan(difference)) {
      result.relative_difference = difference;
      return;
    }
    largest_difference = std::max(largest_difference, difference);
    largest = std::max(largest, a.abs().max().item<double>());
    squares_of_differences += (a - b).square().sum(at::kDouble).item<double>();
    squares += a.square().sum(at::kDouble).item<double>();
  }
  result.mean_difference = std::sqrt(squares_of_differences / squares);
  result.relative_difference = largest_difference / largest;
  result.same_argmax = (one.best_id == other.best_id).sum().item<std::int64_t>();
  result.loss_before = one.loss();
  result.loss_after = other.loss();
}

VerifyResult measure(StreamedModel& before, StreamedModel& after, const model::Batch& batch,
                     core::Reporter& reporter) {
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
  compare(before, after, batch.target_ids, result, reporter);
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

namespace {

quant::Base trained_base(const VerifySettings& settings, const adapter::AdapterReader& adapter) {
  const std::string& trained = adapter.header().base_format;
  return quant::base_named(settings.base == "auto" && !trained.empty() ? trained : settings.base);
}

}  // namespace

VerifyResult verify_merge(const VerifySettings& settings, core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  const at::Device device = linalg::device_of(settings.device);
  const adapter::AdapterReader adapter(settings.adapter);
  reporter.info("verifying the merged model against base + adapter");
  const quant::Base base = trained_base(settings, adapter);
  StreamedModel before(settings.model, settings.assume_family, device, &adapter, base);
  StreamedModel after(settings.merged, settings.assume_family, device, nullptr);
  const VerifySamples samples = verify_samples(settings, before.config().vocab_size, reporter);
  const model::Batch batch = model::make_batch(
      samples.batch.ids, samples.batch.positions, samples.batch.cu_seqlens,
      before.config().vocab_size, device, samples.batch.target_rows, samples.batch.target_ids);
  VerifyResult result = measure(before, after, batch, reporter);
  result.data = samples.what;
  const bool into_codes = settings.into == "quantised-base";
  if (base == quant::Base::kNf4 || base == quant::Base::kFloat8) {
    StreamedModel again(settings.model, settings.assume_family, device, &adapter, base);
    StreamedModel other(settings.model, settings.assume_family, device, &adapter,
                        into_codes ? quant::Base::kDense : base, /*folds=*/true);
    result.other_difference = measure(again, other, batch, reporter).relative_difference;
    if (!into_codes) return result;
  }
  const double tolerance = tolerance_of(settings.merged);
  // One place in a deep model may move by far more than the rest: SmolLM2-135M with a LoRA of three
  // steps, merged in bf16, by 0.143 of the largest logit, while its loss moved by 0.0018.
  const bool is_one_place =
      result.relative_difference <= kOnePlace * tolerance && result.mean_difference <= tolerance;
  if (!(result.relative_difference <= tolerance) && !is_one_place) {
    throw core::NumericalError(concat(
        "--verify: the merged model's logits differ from base + adapter by ",
        result.relative_difference, " of the largest (", result.mean_difference,
        " root mean square), expected at most ", tolerance, "; the merged model was not kept"));
  }
  if (!result.agrees()) {
    reporter.warn(concat("--verify: rounding the merged weights changed the most likely token at ",
                         result.targets - result.same_argmax, " of ", result.targets,
                         " places; --dtype fp32 keeps them as base + adapter has them"));
  }
  return result;
}

}  // namespace corda::eval
