// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/data/load.h"
#include "data/encode_settings.h"
#include "data/mistakes.h"
#include "data/record_stream.h"
#include "data/sample_cache.h"
#include "data/sample_pipeline.h"

namespace corda::data {

using core::concat;

namespace {

void report(const Dataset& dataset, const tokenizer::Tokenizer& tokenizer,
            const EncodeSettings& settings, const ChatTemplate* chat, core::Reporter& reporter) {
  const EncodeCounts& counts = dataset.counts;
  reporter.info(concat(counts.samples, " samples, ", counts.tokens, " tokens, ", counts.supervised,
                       " supervised (",
                       counts.supervised * 100 / std::max<std::int64_t>(counts.tokens, 1), " %)"));
  if (counts.bad > 0) {
    reporter.warn(concat(counts.bad, " bad records were skipped",
                         counts.bad > SamplePipeline::kBadListed
                             ? concat("; the first ", SamplePipeline::kBadListed, " are listed")
                             : std::string()));
  }
  for (const auto& mistake : find_mistakes(counts, tokenizer, settings, chat))
    reporter.warn(mistake);
  if (dataset.samples.empty()) throw core::ConfigError(why_no_sample(counts, settings));
}

// nullopt where the cache has no such data, or holds something else under that name.
std::optional<Dataset> open_cached(const fs::path& path, core::Reporter& reporter) {
  if (!fs::exists(path)) return std::nullopt;
  try {
    Dataset dataset{
        .samples = SampleStore::open(path), .counts = {}, .template_used = {}, .file_samples = {}};
    read_notes(dataset.samples.notes(), dataset);
    reporter.info(concat("tokenised data from ", path.string()));
    return dataset;
  } catch (const core::FormatError& error) {
    reporter.warn(concat(error.what(), "; it is made anew"));
    return std::nullopt;
  }
}

}  // namespace

Dataset load_samples(const std::vector<DataFile>& files, const tokenizer::Tokenizer& tokenizer,
                     const EncodeSettings& given, core::Reporter& reporter) {
  check_encode_settings(given);
  EncodeSettings settings = given;
  if (settings.date.empty()) settings.date = today();
  if (files.empty()) throw core::ConfigError("no data file was given");
  std::optional<fs::path> path;
  SamplePipeline pipeline(tokenizer, settings, reporter);
  if (!settings.cache.empty()) {
    std::error_code error;
    fs::create_directories(settings.cache, error);
    if (error) core::throw_output_error("create", settings.cache, error.value());
    path = settings.cache / (cache_key(files, settings, reporter) + ".samples");
    if (auto cached = open_cached(*path, reporter)) {
      const BadRecord pass =
          settings.skip_bad ? BadRecord([](const core::FormatError&) {}) : BadRecord();
      for (const auto& file : files) {
        const RecordStream stream(file, pass, 0, settings.skip_switch);
        pipeline.encoder().template_of(stream.format());
        report_columns(stream, reporter);
      }
      report(*cached, tokenizer, settings, pipeline.encoder().chat(), reporter);
      return std::move(*cached);
    }
  }
  SampleWriter writer(path);
  pipeline.run(files, [&](const EncodedRecord& encoded) {
    for (const Sample& sample : encoded.samples) writer.add(sample);
  });
  Dataset dataset{.samples = {},
                  .counts = pipeline.counts(),
                  .template_used = {},
                  .file_samples = pipeline.file_samples()};
  const ChatTemplate* chat = pipeline.encoder().chat();
  dataset.template_used = {pipeline.template_name(), chat != nullptr ? chat->exported() : ""};
  dataset.samples = writer.finish(to_notes(dataset));
  report(dataset, tokenizer, settings, chat, reporter);
  return dataset;
}

}  // namespace corda::data
