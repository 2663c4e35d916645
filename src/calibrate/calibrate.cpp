// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/calibrate/calibrate.h"

#include <ATen/ATen.h>

#include <chrono>
#include <map>

#include "calibrate/accumulator.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/data/batch.h"
#include "corda/data/load.h"
#include "corda/data/names.h"
#include "corda/io/covariance_store.h"
#include "corda/linalg/device.h"
#include "corda/model/forward.h"
#include "corda/model/sites.h"

namespace corda::calibrate {

using core::concat;
using tokenizer::TokenId;

namespace {

std::vector<std::vector<TokenId>> load_sequences(const CalibrateSettings& settings,
                                                 const model::ModelConfig& config,
                                                 core::Reporter& reporter) {
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  if (settings.seq_len > config.max_positions) {
    reporter.warn(concat("--seq-len ", settings.seq_len, " is longer than the ",
                         config.max_positions, " positions the model was trained for"));
  }
  std::vector<data::DataFile> files;
  for (const auto& path : settings.data) {
    files.push_back({.path = path,
                     .format = settings.format,
                     .columns = data::parse_columns(settings.columns)});
  }
  return data::load_calibration(files, *tokenizer,
                                {.samples = settings.samples,
                                 .seq_len = settings.seq_len,
                                 .seed = static_cast<std::uint64_t>(settings.seed),
                                 .qa_text = settings.qa_text,
                                 .encode = {.template_name = settings.template_name,
                                            .model_directory = settings.model,
                                            .system = settings.system,
                                            .max_length = settings.seq_len,
                                            .skip_bad = settings.skip_bad}},
                                reporter);
}

// Consecutive sequences in batches of at most `batch_tokens` tokens, or of one sequence.
std::vector<data::PackedBatch> batches_of(const std::vector<std::vector<TokenId>>& sequences,
                                          std::int64_t batch_tokens) {
  std::vector<data::PackedBatch> batches;
  for (const auto& ids : sequences) {
    const bool fits =
        !batches.empty() &&
        batches.back().tokens() + static_cast<std::int64_t>(ids.size()) <= batch_tokens;
    if (!fits) batches.emplace_back();
    data::append(batches.back(), std::span<const TokenId>(ids));
  }
  return batches;
}

using Accumulators = std::map<std::string, CovarianceAccumulator>;

Accumulators accumulate(const CalibrateSettings& settings, const model::Model& model,
                        const std::vector<model::Site>& sites,
                        const std::vector<data::PackedBatch>& batches, std::int64_t samples,
                        core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  Accumulators sums;
  for (const auto& site : sites) {
    sums.try_emplace(site.name, site.in_features, settings.activation_scaling == "reference",
                     model.device());
  }
  reporter.begin("calibrate", samples, "sample");
  for (const auto& packed : batches) {
    core::throw_if_stopped(reporter, "calibrating; nothing was written");
    const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                 model.config.vocab_size, model.device());
    model::PackedAttention attention(batch);
    model::forward_hidden(
        model, batch, attention,
        [&](const std::string& site, const at::Tensor& x) { sums.at(site).add(x, batch.offsets); });
    reporter.advance(packed.sequences(), "");
  }
  reporter.end();
  return sums;
}

void write(const CalibrateSettings& settings, const std::string& fingerprint,
           const std::vector<model::Site>& sites, const Accumulators& sums,
           const CalibrateResult& result, io::CovarianceWriter& writer, core::Reporter& reporter) {
  reporter.begin("write", static_cast<std::int64_t>(sites.size()), "site");
  for (const auto& site : sites) {
    const at::Tensor covariance = sums.at(site.name).covariance();
    if (!covariance.isfinite().all().item<bool>()) {
      throw core::NumericalError(
          concat("the covariance of '", site.name,
                 "' is not finite: an activation overflowed, or a sample's largest ",
                 "activation is zero; try --dtype fp32 or --activation-scaling none"));
    }
    writer.add(site.name, site.modules, sums.at(site.name).tokens(), covariance);
    reporter.advance(1, site.name);
  }
  CalibrateSettings copy = settings;
  const core::ConfigNode resolved = settings_of(copy).resolved();
  core::write_file_atomic(writer.staging() / "settings.resolved.yaml", core::to_yaml(resolved));
  writer.finish({.model = fingerprint,
                 .model_name = settings.model,
                 .tokens = result.tokens,
                 .samples = result.samples,
                 .activation_scaling = settings.activation_scaling,
                 .settings = resolved,
                 .sites = {}});
  reporter.end();
}

void warn_about_few_tokens(const std::vector<model::Site>& sites, std::int64_t tokens,
                           core::Reporter& reporter) {
  std::int64_t widest = 0;
  for (const auto& site : sites) widest = std::max(widest, site.in_features);
  if (tokens < widest) {
    reporter.warn(concat("only ", tokens, " tokens for sites up to ", widest,
                         " wide: their covariance has no full rank; raise --samples or --seq-len"));
  }
}

}  // namespace

core::SettingsList settings_of(CalibrateSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, "base model: a Hugging Face directory").required();
  list.add("data", s.data, "data file; may be given several times").required();
  list.add("format", s.format, "of the data", data::format_names());
  list.add("columns", s.columns,
           "field=column, comma separated, for example instruction=question,output=answer");
  data::add_template_settings(list, "", s.template_name, s.system, s.skip_bad);
  list.add("qa_text", s.qa_text, "what of question-answer data is read (question: as in the paper)",
           {"question-answer", "question"});
  list.add("samples", s.samples, "samples drawn", {1, 1e9});
  list.add("seq_len", s.seq_len, "tokens of a sample", {1, 1 << 20});
  list.add("seed", s.seed, "of the draw", {0, 9e15});
  list.add("batch_tokens", s.batch_tokens,
           "tokens of one forward pass; bounds the memory, not the result", {1, 1 << 24});
  list.add("activation_scaling", s.activation_scaling,
           "divide each sample by its largest activation, as the reference code does",
           {"reference", "none"});
  list.add("storage", s.storage, "of the covariances on disk: the lower triangle or the whole",
           {"packed", "full"});
  list.add("device", s.device, "auto, cpu, cuda or cuda:N");
  list.add("dtype", s.dtype, "of weights and activations", {"auto", "bf16", "fp32"});
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  list.add("out", s.out, "covariance directory to write").required();
  return list;
}

CalibrateResult calibrate(const CalibrateSettings& settings, core::Reporter& reporter) {
  const auto begin = std::chrono::steady_clock::now();
  linalg::set_threads(settings.threads);
  const at::Device device = linalg::device_of(settings.device);
  const at::ScalarType dtype = linalg::dtype_of(settings.dtype, device);
  // Before the work, so that an output that cannot be written is known at once.
  io::CovarianceWriter writer(settings.out, io::covariance_storage_of(settings.storage));
  const model::ModelConfig config = model::read_model_config(settings.model);
  const auto batches =
      batches_of(load_sequences(settings, config, reporter), settings.batch_tokens);
  CalibrateResult result;
  for (const auto& batch : batches) {
    result.samples += batch.sequences();
    result.tokens += batch.tokens();
  }
  const auto sites = model::sites_of(config);
  result.sites = static_cast<std::int64_t>(sites.size());
  warn_about_few_tokens(sites, result.tokens, reporter);
  const io::Checkpoint checkpoint(settings.model);
  const model::Model model =
      model::load_model(checkpoint, config, {.device = device, .weights = dtype, .compute = dtype});
  const Accumulators sums = accumulate(settings, model, sites, batches, result.samples, reporter);
  result.peak_memory_bytes = linalg::peak_memory_bytes(device);
  write(settings, checkpoint.fingerprint(), sites, sums, result, writer, reporter);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace corda::calibrate
