// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/sample_pipeline.h"

#include <utility>

#include "corda/core/error.h"
#include "corda/core/parallel.h"
#include "data/document_cutter.h"
#include "data/mistakes.h"
#include "data/text_tokens.h"

namespace corda::data {

using core::concat;

namespace {

// Records that are in memory at a time: enough to keep the threads busy.
constexpr std::size_t kChunkRecords = 4096;
constexpr std::int64_t kChunkBytes = std::int64_t{8} << 20;

}  // namespace

SamplePipeline::SamplePipeline(const tokenizer::Tokenizer& tokenizer,
                               const EncodeSettings& settings, core::Reporter& reporter)
    : tokenizer_(tokenizer),
      settings_(settings),
      reporter_(reporter),
      encoder_(tokenizer, settings),
      threads_(core::thread_count(settings.threads)) {}

void SamplePipeline::run(const std::vector<DataFile>& files, const Sink& sink,
                         std::int64_t borders_until) {
  borders_until_ = borders_until;
  for (const auto& file : files) {
    const std::int64_t before = counts_.samples;
    run_file(file, sink);
    file_samples_.push_back(counts_.samples - before);
  }
}

void SamplePipeline::run_file(const DataFile& data_file, const Sink& sink) {
  const std::int64_t before = counts_.records;
  RecordStream stream(data_file,
                      settings_.skip_bad
                          ? BadRecord([this](const core::FormatError& error) { skip(error); })
                          : BadRecord(),
                      settings_.max_length > 0 ? kTextPartBytes : 0, settings_.skip_switch);
  const std::string name = encoder_.template_of(stream.format());
  report_columns(stream, reporter_);
  if (template_.empty() || template_ == "none") template_ = name;
  // Reads the stream to its end, so that nothing is left for the loop below.
  if (stream.is_plain_text() && settings_.max_length > 0) run_plain_text(stream, sink);
  std::vector<RawRecord> chunk;
  std::int64_t bytes = 0;
  while (auto raw = next(stream, chunk, sink)) {
    bytes += static_cast<std::int64_t>(raw->text.size());
    chunk.push_back(std::move(*raw));
    if (chunk.size() < kChunkRecords && bytes < kChunkBytes) continue;
    finish_chunk(stream, chunk, sink);
    bytes = 0;
  }
  finish_chunk(stream, chunk, sink);
  reporter_.info(concat(data_file.path.string(), ": ", counts_.records - before,
                        " records, format ", stream.format(),
                        stream.detected() ? " (detected)" : "", ", template ", name,
                        settings_.template_name == "auto" && name != "none" ? " (chosen)" : ""));
}

// A document that is cut into samples is never held whole.
void SamplePipeline::run_plain_text(RecordStream& stream, const Sink& sink) {
  const std::string name = stream.file().path.string();
  std::int64_t pieces = 0;
  DocumentCutter cutter(tokenizer_, settings_.max_length, [&](Sample& sample) {
    EncodedRecord encoded;
    // The document's own number of tokens is not known yet.
    encoded.full_tokens = static_cast<std::int64_t>(sample.ids.size());
    add_piece(std::move(sample), encoded);
    if (pieces > 0) encoded.why_dropped.clear();  // the end of a text that was not lost
    if (counts_.samples < borders_until_ || encoded.notes()) encoded.place = concat(name, ":1:1");
    counts_.records -= pieces++ > 0 ? 1 : 0;  // all are of one record
    take({.encoded = std::move(encoded), .bad = {}}, sink);
  });
  TextTokens tokens(tokenizer_, threads_, [&](std::span<const TokenId> ids) { cutter.add(ids); });
  while (auto raw = stream.next_raw()) {
    core::throw_if_stopped(reporter_, "tokenizing");
    tokens.add(raw->text);
  }
  tokens.finish();
  cutter.finish();
}

// The records before one that cannot be read may have an error of their own, which comes first.
std::optional<RawRecord> SamplePipeline::next(RecordStream& stream, std::vector<RawRecord>& chunk,
                                              const Sink& sink) {
  try {
    return stream.next_raw();
  } catch (const core::FormatError&) {
    finish_chunk(stream, chunk, sink);
    throw;
  }
}

void SamplePipeline::finish_chunk(const RecordStream& stream, std::vector<RawRecord>& chunk,
                                  const Sink& sink) {
  core::throw_if_stopped(reporter_, "tokenizing");
  const bool borders = counts_.samples < borders_until_;
  std::vector<Outcome> outcomes(chunk.size());
  const std::string name = stream.file().path.string();
  core::parallel_for(static_cast<std::int64_t>(chunk.size()), threads_, 8, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    try {
      const Record record = parse_record(std::move(chunk[at]), name);
      outcomes[at].encoded = encoder_.encode(stream.file(), record, stream.format(), borders);
      if (borders || outcomes[at].encoded.notes())
        outcomes[at].encoded.place = concat(name, ":", record.line, ":", record.column);
    } catch (const core::FormatError& error) {
      if (!settings_.skip_bad) throw with_skip_advice(error, settings_.skip_switch);
      outcomes[at].bad = error;
    }
  });
  for (const Outcome& outcome : outcomes) take(outcome, sink);
  chunk.clear();
}

void SamplePipeline::take(const Outcome& outcome, const Sink& sink) {
  if (outcome.bad) {
    skip(*outcome.bad);
    return;
  }
  const EncodedRecord& encoded = outcome.encoded;
  count_record(encoded, counts_);
  sink(encoded);
  for (const Sample& sample : encoded.samples) count_sample(sample, tokenizer_, counts_);
}

void SamplePipeline::skip(const core::FormatError& error) {
  if (counts_.bad++ < kBadListed) reporter_.warn(concat("skipped: ", error.what()));
}

}  // namespace corda::data
