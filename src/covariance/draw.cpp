// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/covariance/draw.h"

#include <span>

#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "corda/data/load.h"
#include "corda/data/names.h"
#include "corda/data/vocabulary.h"
#include "corda/tokenizer/tokenizer.h"

namespace corda::covariance {

using core::concat;
using tokenizer::TokenId;

void add_draw_settings(core::SettingsList& list, DrawSettings& s) {
  list.add("format", s.format, "of the data", data::format_names());
  list.add("columns", s.columns,
           "field=column, comma separated, for example instruction=question,output=answer");
  data::add_template_settings(list, "", s.template_name, s.system, s.date, s.skip_bad);
  list.add("qa_text", s.qa_text,
           "what of question-answer data is read, without a template (question: as in the paper)",
           {"question-answer", "question"});
  list.add("samples", s.samples, "samples drawn", {1, 1e9});
  list.add("seq_len", s.seq_len,
           "tokens of a sample; 0: 2048, or the model's positions where they are fewer",
           {0, 1 << 20});
  list.add("seed", s.seed, "of the draw", {0, 9e15});
  list.add("batch_tokens", s.batch_tokens,
           "tokens of one forward pass; bounds the memory, not the result", {1, 1 << 24});
  list.add("activation_scaling", s.activation_scaling,
           "divide each sample by its largest activation, as the reference code does; auto: "
           "reference, but none where inputs are centred (--center), as PEFT's EVA has them",
           {"auto", "reference", "none"});
  list.add("hidden_states", s.hidden_states,
           "where activations between blocks live: auto takes the device where they fit into a "
           "quarter of its free memory, else pinned host memory",
           {"auto", "device", "host"})
      .free();
  list.add("dtype", s.dtype, "of weights and activations", {"auto", "bf16", "fp32"});
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096}).free();
}

void settle_scaling(DrawSettings& settings, bool centred) {
  if (settings.activation_scaling == "auto")
    settings.activation_scaling = centred ? "none" : "reference";
}

std::string Draw::fingerprint() const {
  core::Sha256 hash;
  for (const auto& batch : batches) {
    for (std::size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
      const auto begin = static_cast<std::size_t>(batch.cu_seqlens[i]);
      const auto count = static_cast<std::size_t>(batch.cu_seqlens[i + 1]) - begin;
      hash.update(concat(count, ":"));
      hash.update(std::as_bytes(std::span(batch.ids).subspan(begin, count)));
    }
  }
  return "sha256:" + hash.hex_digest();
}

std::string advice_for_more_tokens(const Draw& draw, const DrawSettings& settings) {
  if (draw.samples < settings.samples) return "give more data; all of it is taken";
  const bool full = draw.tokens == draw.samples * settings.seq_len;
  return full ? "raise --samples or --seq-len" : "raise --samples";
}

namespace {

std::vector<data::DataFile> sources_of(const DrawSettings& settings,
                                       const std::vector<std::string>& files) {
  std::vector<data::DataFile> sources;
  for (const auto& path : files) {
    sources.push_back({.path = path,
                       .format = settings.format,
                       .columns = data::parse_columns(settings.columns)});
  }
  return sources;
}

data::EncodeSettings encode_settings_of(const DrawSettings& settings, const std::string& model) {
  return {.template_name = settings.template_name,
          .model_directory = model,
          .system = settings.system,
          .date = settings.date,
          .max_length = settings.seq_len,
          .skip_bad = settings.skip_bad,
          .threads = settings.threads};
}

void warn_beyond_positions(const DrawSettings& settings, const model::ModelDescription& config,
                           core::Reporter& reporter) {
  model::warn_beyond_positions(config, settings.seq_len, concat("--seq-len ", settings.seq_len),
                               reporter);
}

}  // namespace

Draw draw_samples(const DrawSettings& settings, const std::vector<std::string>& files,
                  const std::string& model, const model::ModelDescription& config,
                  core::Reporter& reporter) {
  const auto tokenizer = tokenizer::load_tokenizer(model);
  warn_beyond_positions(settings, config, reporter);
  const std::vector<data::DataFile> sources = sources_of(settings, files);
  const data::CalibrationSettings drawn{.samples = settings.samples,
                                        .seq_len = settings.seq_len,
                                        .seed = static_cast<std::uint64_t>(settings.seed),
                                        .qa_text = settings.qa_text,
                                        .encode = encode_settings_of(settings, model)};
  const std::vector<std::vector<TokenId>> sequences =
      data::load_calibration(sources, *tokenizer, drawn, reporter);
  for (const auto& ids : sequences)
    data::require_rows(ids, {*tokenizer, config.vocab_size}, sources, drawn.encode);
  Draw draw;
  for (const auto& ids : sequences) {
    const auto count = static_cast<std::int64_t>(ids.size());
    const bool fits =
        !draw.batches.empty() && draw.batches.back().tokens() + count <= settings.batch_tokens;
    if (!fits) draw.batches.emplace_back();
    data::append(draw.batches.back(), std::span<const TokenId>(ids));
    ++draw.samples;
    draw.tokens += count;
  }
  return draw;
}

data::SampleStore training_samples(const DrawSettings& settings,
                                   const std::vector<std::string>& files, const std::string& model,
                                   const model::ModelDescription& config,
                                   core::Reporter& reporter) {
  const auto tokenizer = tokenizer::load_tokenizer(model);
  warn_beyond_positions(settings, config, reporter);
  const std::vector<data::DataFile> sources = sources_of(settings, files);
  const data::EncodeSettings encode = encode_settings_of(settings, model);
  data::Dataset dataset = data::load_samples(sources, *tokenizer, encode, reporter);
  data::require_rows(dataset.samples, {*tokenizer, config.vocab_size}, sources, encode);
  return std::move(dataset.samples);
}

}  // namespace corda::covariance
