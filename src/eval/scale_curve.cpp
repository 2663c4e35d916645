// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/scale_curve.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "corda/adapter/check_fit.h"
#include "corda/core/error.h"
#include "corda/data/vocabulary.h"
#include "corda/linalg/device.h"
#include "eval/streamed_model.h"
#include "eval/verify_samples.h"

namespace corda::eval {

using core::concat;

namespace {

constexpr std::int64_t kPassTokens = 4096;  // of one pass through a block
constexpr std::int64_t kTargets = 8192;     // whose logits are there at once

// The batches of one file, and their targets.
struct Measured {
  std::vector<model::Batch> batches;
  at::Tensor target_ids;
};

Measured load(const data::DataFile& file, const VerifySettings& settings,
              const data::EncodeSettings& encode, const tokenizer::Tokenizer& tokenizer,
              std::int64_t vocab_size, at::Device device) {
  core::Reporter quiet;  // training and `corda preview` say what there is to be said of the data
  const data::Dataset dataset = data::load_samples({file}, tokenizer, encode, quiet);
  data::require_rows(dataset.samples, {tokenizer, vocab_size}, {file}, encode);
  const std::int64_t count = settings.samples == 0
                                 ? dataset.samples.size()
                                 : std::min(settings.samples, dataset.samples.size());
  std::vector<data::Sample> samples;
  for (std::int64_t i = 0; i < count; ++i) samples.push_back(dataset.samples[i]);
  std::vector<const data::Sample*> pointers;
  for (const auto& sample : samples) pointers.push_back(&sample);
  Measured measured;
  std::vector<at::Tensor> targets;
  for (const auto& packed : data::make_micro_batches(pointers, kPassTokens, /*packing=*/true)) {
    if (packed.targets() == 0) continue;
    measured.batches.push_back(model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                 vocab_size, device, packed.target_rows,
                                                 packed.target_ids));
    targets.push_back(measured.batches.back().target_ids);
  }
  if (targets.empty())
    throw core::ConfigError(concat("'", file.path.string(), "' has no target token to measure"));
  measured.target_ids = at::cat(targets);
  return measured;
}

double loss_of(StreamedModel& model, const Measured& measured, core::Reporter& reporter) {
  model.embed(measured.batches);
  for (std::int64_t layer = 0; layer < model.config().num_layers(); ++layer) {
    core::throw_if_stopped(reporter, "measuring");
    model.run_block(layer, measured.batches);
    reporter.advance(1, "");
  }
  model.finish(measured.batches);
  const std::int64_t vocabulary = model.config().vocab_size;
  const std::int64_t targets = measured.target_ids.size(0);
  double sum = 0;
  for (std::int64_t first = 0; first < targets; first += kTargets) {
    const std::int64_t count = std::min(kTargets, targets - first);
    const at::Tensor rows = model.target_rows().narrow(0, first, count);
    const at::Tensor ids = measured.target_ids.narrow(0, first, count);
    SeenLogits seen;
    for (std::int64_t begin = 0; begin < vocabulary; begin += kVocabularyPart) {
      core::throw_if_stopped(reporter, "measuring");
      const std::int64_t end = std::min(vocabulary, begin + kVocabularyPart);
      seen.add(model.logits(begin, end, rows), ids, begin);
    }
    sum += seen.loss_sum();
  }
  return sum / static_cast<double>(targets);
}

}  // namespace

ScaleCurve scale_curve(const VerifySettings& settings, const std::vector<double>& scales,
                       core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  const at::Device device = linalg::device_of(settings.device);
  const adapter::AdapterReader adapter(settings.adapter);
  const quant::ModelWeights weights = quant::open_model(settings.model, reporter);
  adapter::check_fit(adapter, weights, reporter);
  const model::ModelDescription described =
      model::describe_model(weights, reporter, settings.assume_family);
  const quant::Base base =
      settings.into == "base" ? quant::Base::kDense : trained_base(settings.base, adapter.header());
  adapter::check_held(adapter.header(), quant::base_names()[static_cast<std::size_t>(base)],
                      "give --into quantised-base and --base ");
  const SampleSource source = source_of(settings);
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  ScaleCurve curve;
  std::vector<Measured> files;
  for (const data::DataFile& file : source.files) {
    files.push_back(load(file, settings, source.encode, *tokenizer, described.vocab_size, device));
    curve.files.push_back(file.path.string());
    curve.targets.push_back(files.back().target_ids.size(0));
  }
  const auto passes = static_cast<std::int64_t>(scales.size() * files.size());
  reporter.begin("scales", passes * described.num_layers(), "block");
  for (const double scale : scales) {
    ScalePoint point{.scale = scale, .losses = {}};
    for (std::size_t i = 0; i < files.size(); ++i) {
      StreamedModel model(settings.model, settings.assume_family, device,
                          {.reader = &adapter, .folds = true, .strength = scale}, base);
      point.losses.push_back(loss_of(model, files[i], reporter));
      if (!std::isfinite(point.losses.back())) {
        throw core::NumericalError(concat("the loss on '", curve.files[i], "' at scale ", scale,
                                          " is not finite; leave this scale out"));
      }
    }
    curve.points.push_back(std::move(point));
  }
  reporter.end();
  return curve;
}

}  // namespace corda::eval
