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
#include "eval/streamed_model.h"
#include "eval/verify_samples.h"

namespace corda::eval {

using core::concat;

namespace {

// Largest difference that one rounding of the merged weights explains. It moves a weight by at most
// 2^-8 (bf16) or 2^-11 (fp16) of itself, each in a direction of its own, so that most of it
// averages out in a product and little is added from layer to layer. In Llamas of random weights
// (2, 8 and 32 layers, 256 and 512 wide; transformers in fp32, every layer rounded and not)
// the logits of 192 tokens moved by 5.0e-3 to 6.9e-3 of the largest in bf16, by 6e-4 to 1.0e-3 in
// fp16, and hardly more with 32 layers than with 2; in the demo's model with a trained LoRA, merged
// here, by 6.0e-3 and 7.6e-4. The limits are five times the worst. With fp32 weights only sums come
// in another order: 1.2e-6 there.
constexpr double kExact = 1e-4;   // of weights in fp32
constexpr double kOnePlace = 10;  // times as far, where the root mean square is within the limit

double tolerance_of(const std::string& directory) {
  double tolerance = kExact;
  const quant::ModelWeights weights{io::Checkpoint(directory)};
  for (const auto& name : weights.names()) {
    const io::DType dtype = weights.info(name).dtype;
    if (dtype == io::DType::kF16) tolerance = std::max(tolerance, 5e-3);
    if (dtype == io::DType::kBF16) tolerance = std::max(tolerance, 4e-2);
  }
  return tolerance;
}

// Compares the logits of two models whose blocks have run, a part of the vocabulary at a time.
void compare(const StreamedModel& before, const StreamedModel& after, const at::Tensor& ids,
             VerifyResult& result, core::Reporter& reporter) {
  const std::int64_t vocabulary = before.config().vocab_size;
  SeenLogits one;
  SeenLogits other;
  double largest_difference = 0;
  double largest = 0;
  double squares_of_differences = 0;
  double squares = 0;
  for (std::int64_t begin = 0; begin < vocabulary; begin += kVocabularyPart) {
    core::throw_if_stopped(reporter, "verifying");
    const std::int64_t end = std::min(vocabulary, begin + kVocabularyPart);
    const at::Tensor a = before.logits(begin, end, before.target_rows());
    const at::Tensor b = after.logits(begin, end, after.target_rows());
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
  before.embed({batch});
  after.embed({batch});
  const std::int64_t layers = before.config().num_layers();
  reporter.begin("verify", layers, "block");
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    core::throw_if_stopped(reporter, "verifying");
    before.run_block(layer, {batch});
    after.run_block(layer, {batch});
    reporter.advance(1, "");
  }
  reporter.end();
  before.finish({batch});
  after.finish({batch});
  compare(before, after, batch.target_ids, result, reporter);
  return result;
}

}  // namespace

core::SettingsList settings_of(VerifySettings& s) {
  core::SettingsList list;
  list.add("data", s.data,
           "data file to compare on with --verify (none: the data of the adapter's run), or to "
           "measure several values of --scale on; may be given several times")
      .path(core::PathKind::kData);
  list.add("format", s.format, "of the data", data::format_names());
  list.add("columns", s.columns,
           "field=column, comma separated, for example instruction=question,output=answer");
  data::add_template_settings(list, "", s.template_name, s.system, s.date, s.skip_bad);
  list.add("samples", s.samples,
           "of several values of --scale: at most so many samples of each file; 0: all", {0, 1e12});
  list.add("device", s.device,
           "of --verify and of several values of --scale: auto, cpu, cuda or "
           "cuda:N");
  model::add_assume_family(list, s.assume_family);
  return list;
}

VerifyResult verify_merge(const VerifySettings& settings, core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  const at::Device device = linalg::device_of(settings.device);
  const adapter::AdapterReader adapter(settings.adapter);
  reporter.info("verifying the merged model against base + adapter");
  const quant::Base base = trained_base(settings.base, adapter.header());
  const StreamedAdapter beside{.reader = &adapter, .strength = settings.strength};
  StreamedModel before(settings.model, settings.assume_family, device, beside, base);
  StreamedModel after(settings.merged, settings.assume_family, device, {});
  const VerifySamples samples = verify_samples(settings, before.config().vocab_size, reporter);
  const model::Batch batch = model::make_batch(
      samples.batch.ids, samples.batch.positions, samples.batch.cu_seqlens,
      before.config().vocab_size, device, samples.batch.target_rows, samples.batch.target_ids);
  VerifyResult result = measure(before, after, batch, reporter);
  result.data = samples.what;
  const bool into_codes = settings.into == "quantised-base";
  if (quant::makes_codes(base)) {
    StreamedModel again(settings.model, settings.assume_family, device, beside, base);
    StreamedAdapter folded = beside;
    folded.folds = true;
    StreamedModel other(settings.model, settings.assume_family, device, folded,
                        into_codes ? quant::Base::kDense : base);
    result.other_difference = measure(again, other, batch, reporter).relative_difference;
    if (!into_codes) return result;
  }
  const double tolerance = tolerance_of(settings.merged);
  // One place in a deep model may move by far more than the rest: SmolLM2-135M with a LoRA of three
  // steps, merged in bf16, by 0.143 of the largest logit, while its loss moved by 0.0018.
  const bool is_one_place =
      result.relative_difference <= kOnePlace * tolerance && result.mean_difference <= tolerance;
  if (!(result.relative_difference <= tolerance) && !is_one_place) {
    // Where weights are rounded, an update that is small beside them may drown.
    const char* advice = tolerance > kExact ? "; --dtype fp32 keeps what rounding loses" : "";
    throw core::NumericalError(
        concat("--verify: the merged model's logits differ from base + adapter by ",
               result.relative_difference, " of the largest (", result.mean_difference,
               " root mean square), expected at most ", tolerance,
               "; another token is the most likely at ", result.targets - result.same_argmax,
               " of ", result.targets, " places, and the loss is ", result.loss_after,
               " in place of ", result.loss_before, "; the merged model was not kept", advice));
  }
  if (!result.agrees()) {
    reporter.warn(concat("--verify: rounding the merged weights changed the most likely token at ",
                         result.targets - result.same_argmax, " of ", result.targets,
                         " places; --dtype fp32 keeps them as base + adapter has them"));
  }
  return result;
}

}  // namespace corda::eval
