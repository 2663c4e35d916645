// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/perplexity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "corda/data/batch.h"
#include "corda/data/load.h"
#include "corda/data/template.h"
#include "corda/data/vocabulary.h"
#include "corda/model/config.h"
#include "corda/model/forward.h"
#include "corda/tokenizer/tokenizer.h"
#include "eval/chat_prompt.h"
#include "eval/unused_settings.h"

namespace corda::eval {

using core::concat;
using tokenizer::TokenId;
using tokenizer::Tokenizer;

namespace {

// The joined text cut into windows; every token but a window's first is a target.
std::vector<data::Sample> text_windows(const std::vector<data::DataFile>& files,
                                       const Tokenizer& tokenizer, const EvalSettings& settings,
                                       core::Reporter& reporter) {
  std::string joined;
  for (const auto& file : files) {
    for (const auto& document : data::load_text(file, settings.skip_bad, reporter)) {
      if (!joined.empty()) joined += "\n\n";
      joined += document;
    }
  }
  const std::vector<TokenId> ids = data::encode_plain(tokenizer, joined);
  if (settings.add_bos && !tokenizer.bos_id)
    throw core::ConfigError("--add-bos: the tokenizer has no BOS token");
  std::vector<data::Sample> windows;
  const auto length = static_cast<std::size_t>(settings.seq_len - (settings.add_bos ? 1 : 0));
  for (std::size_t begin = 0; begin < ids.size(); begin += length) {
    if (settings.samples > 0 && static_cast<std::int64_t>(windows.size()) == settings.samples)
      break;
    data::Sample window;
    if (settings.add_bos) window.ids.push_back(*tokenizer.bos_id);
    const std::size_t end = std::min(ids.size(), begin + length);
    window.ids.insert(window.ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin),
                      ids.begin() + static_cast<std::ptrdiff_t>(end));
    if (window.ids.size() < 2) break;  // a single left-over token predicts nothing
    window.supervised.assign(window.ids.size(), 1);
    windows.push_back(std::move(window));
  }
  return windows;
}

}  // namespace

std::vector<data::DataFile> files_of(const EvalSettings& settings,
                                     const std::vector<std::string>& paths,
                                     const std::string& default_format) {
  std::vector<data::DataFile> files;
  for (const auto& path : paths) {
    files.push_back({.path = path,
                     .format = settings.format == "auto" ? default_format : settings.format,
                     .columns = data::parse_columns(settings.columns)});
  }
  return files;
}

// Mean negative log-likelihood over the targets of all samples.
void measure_nll(const model::Model& model, const std::vector<data::Sample>& samples,
                 const EvalSettings& settings, EvalResult& result, core::Reporter& reporter,
                 dist::World& world) {
  const at::NoGradGuard no_grad;
  std::vector<const data::Sample*> pointers;
  for (const auto& sample : samples) pointers.push_back(&sample);
  double sum = 0;
  std::int64_t targets = 0;
  const auto batches = data::make_micro_batches(pointers, settings.batch_tokens, /*packing=*/true);
  std::vector<std::int64_t> sizes;
  for (const auto& batch : batches) sizes.push_back(batch.tokens());
  reporter.begin("loss", static_cast<std::int64_t>(samples.size()), "sample");
  for (const std::size_t i : data::share_of(sizes, world.rank(), world.size())) {
    core::throw_if_stopped(reporter, "evaluating");
    const data::PackedBatch& packed = batches[i];
    if (packed.targets() > 0) {
      const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                   model.config.vocab_size, model.device(),
                                                   packed.target_rows, packed.target_ids);
      sum += model::loss_sum(model, batch).item<double>();
      targets += packed.targets();
    }
    reporter.advance(packed.sequences(), "");
  }
  reporter.end();
  // On the CPU: two numbers are not worth a connection of GPUs.
  const at::Tensor all = at::tensor({sum, static_cast<double>(targets)}, at::kDouble);
  world.sum(all);
  sum = all[0].item<double>();
  result.tokens += static_cast<std::int64_t>(all[1].item<double>());
  if (result.tokens == 0) throw core::ConfigError("the data has no target token to measure");
  result.nll = sum / static_cast<double>(result.tokens);
  if (!std::isfinite(result.nll)) {
    throw core::NumericalError(concat("the loss is ", result.nll,
                                      "; the weights hold a NaN or an infinity, or an activation "
                                      "overflowed: try --dtype fp32"));
  }
  result.perplexity = std::exp(result.nll);
}

std::vector<data::Sample> perplexity_samples(const EvalSettings& given, core::Reporter& reporter) {
  EvalSettings settings = given;
  const model::ModelDescription config =
      model::read_model_config(settings.model, settings.assume_family);
  settings.seq_len = model::window_tokens(config, settings.seq_len, reporter);
  if (settings.seq_len < 2) {
    throw core::ConfigError(concat(
        "'seq_len' must be at least 2, for a token to be predicted; it is ", settings.seq_len));
  }
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  auto files = files_of(settings, settings.data, "auto");
  std::vector<data::Sample> samples;
  const bool text = std::all_of(files.begin(), files.end(), [&](const auto& file) {
    return data::detect_format(file, settings.skip_bad) == "text";
  });
  refuse_unused_settings(given, text);
  data::EncodeSettings encode{.model_directory = settings.model,
                              .system = settings.system,
                              .date = settings.date,
                              .max_length = settings.seq_len,
                              .skip_bad = settings.skip_bad,
                              .threads = settings.threads};
  if (text) {
    samples = text_windows(files, *tokenizer, settings, reporter);
  } else {
    encode.template_name = data_template_for(settings.template_name, settings.adapter);
    encode.template_is_trained = encode.template_name != settings.template_name;
    if (encode.template_is_trained) {
      reporter.info(
          concat("template ", encode.template_name, ", with which the adapter was trained"));
    }
    const data::Dataset dataset = data::load_samples(files, *tokenizer, encode, reporter);
    samples.assign(dataset.samples.begin(), dataset.samples.end());
    if (settings.samples > 0 && static_cast<std::int64_t>(samples.size()) > settings.samples)
      samples.resize(static_cast<std::size_t>(settings.samples));
  }
  for (const data::Sample& sample : samples)
    data::require_rows(sample.ids, {*tokenizer, config.vocab_size}, files, encode);
  std::size_t longest = 0;
  for (const data::Sample& sample : samples) longest = std::max(longest, sample.ids.size());
  model::warn_beyond_positions(
      config, static_cast<std::int64_t>(longest),
      concat(text ? "a window of " : "a sample of ", longest, " tokens (--seq-len)"), reporter);
  return samples;
}

}  // namespace corda::eval
