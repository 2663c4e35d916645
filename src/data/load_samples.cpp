// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/parallel.h"
#include "corda/data/load.h"
#include "data/encode_settings.h"
#include "data/mistakes.h"
#include "data/record_encoder.h"
#include "data/record_stream.h"
#include "data/sample_cache.h"

namespace corda::data {

using core::concat;

namespace {

// Records that are in memory at a time: enough to keep the threads busy.
constexpr std::size_t kChunkRecords = 4096;
constexpr std::int64_t kChunkBytes = std::int64_t{8} << 20;
constexpr std::int64_t kBadListed = 20;

// What became of one record: samples, or why not.
struct Outcome {
  EncodedRecord encoded;
  std::optional<core::FormatError> bad;
};

class Loader {
 public:
  Loader(const tokenizer::Tokenizer& tokenizer, const EncodeSettings& settings,
         core::Reporter& reporter)
      : tokenizer_(tokenizer),
        settings_(settings),
        reporter_(reporter),
        encoder_(tokenizer, settings),
        threads_(core::thread_count(settings.threads)) {}

  void load(const std::vector<DataFile>& files, SampleWriter& writer) {
    writer_ = &writer;
    for (const auto& file : files) load_file(file);
  }

  RecordEncoder& encoder() { return encoder_; }
  const EncodeCounts& counts() const { return counts_; }
  const std::string& template_name() const { return template_; }

 private:
  void load_file(const DataFile& data_file) {
    const std::int64_t before = counts_.records;
    RecordStream stream(data_file,
                        settings_.skip_bad
                            ? BadRecord([this](const core::FormatError& error) { skip(error); })
                            : BadRecord());
    const std::string name = encoder_.template_of(stream.format());
    if (template_.empty() || template_ == "none") template_ = name;
    std::vector<RawRecord> chunk;
    std::int64_t bytes = 0;
    while (auto raw = next(stream, chunk)) {
      bytes += static_cast<std::int64_t>(raw->text.size());
      chunk.push_back(std::move(*raw));
      if (chunk.size() < kChunkRecords && bytes < kChunkBytes) continue;
      finish_chunk(stream, chunk);
      bytes = 0;
    }
    finish_chunk(stream, chunk);
    reporter_.info(concat(data_file.path.string(), ": ", counts_.records - before,
                          " records, format ", stream.format(),
                          stream.detected() ? " (detected)" : "", ", template ", name,
                          settings_.template_name == "auto" && name != "none" ? " (chosen)" : ""));
  }

  // The records before one that cannot be read may have an error of their own, which comes first.
  std::optional<RawRecord> next(RecordStream& stream, std::vector<RawRecord>& chunk) {
    try {
      return stream.next_raw();
    } catch (const core::FormatError&) {
      finish_chunk(stream, chunk);
      throw;
    }
  }

  void finish_chunk(const RecordStream& stream, std::vector<RawRecord>& chunk) {
    core::throw_if_stopped(reporter_, "tokenizing");
    std::vector<Outcome> outcomes(chunk.size());
    const std::string name = stream.file().path.string();
    core::parallel_for(static_cast<std::int64_t>(chunk.size()), threads_, 8, [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      try {
        const Record record = parse_record(std::move(chunk[at]), name);
        outcomes[at].encoded = encoder_.encode(stream.file(), record, stream.format());
      } catch (const core::FormatError& error) {
        if (!settings_.skip_bad) throw;
        outcomes[at].bad = error;
      }
    });
    for (const Outcome& outcome : outcomes) take(outcome);
    chunk.clear();
  }

  void take(const Outcome& outcome) {
    if (outcome.bad) {
      skip(*outcome.bad);
      return;
    }
    const EncodedRecord& encoded = outcome.encoded;
    ++counts_.records;
    counts_.truncated += encoded.truncated;
    counts_.dropped += encoded.too_long + encoded.unsupervised;
    counts_.without_targets += encoded.unsupervised;
    counts_.eos_appended += encoded.eos_appended;
    counts_.hidden_tools += encoded.hides_tools ? 1 : 0;
    for (const Sample& sample : encoded.samples) {
      count_sample(sample, tokenizer_, counts_);
      writer_->add(sample);
    }
  }

  void skip(const core::FormatError& error) {
    if (counts_.bad++ < kBadListed) reporter_.warn(concat("skipped: ", error.what()));
  }

  const tokenizer::Tokenizer& tokenizer_;
  const EncodeSettings& settings_;
  core::Reporter& reporter_;
  RecordEncoder encoder_;
  std::int64_t threads_;
  SampleWriter* writer_ = nullptr;
  EncodeCounts counts_;
  std::string template_;
};

void report(const Dataset& dataset, const tokenizer::Tokenizer& tokenizer,
            const EncodeSettings& settings, const ChatTemplate* chat, core::Reporter& reporter) {
  const EncodeCounts& counts = dataset.counts;
  reporter.info(concat(counts.samples, " samples, ", counts.tokens, " tokens, ", counts.supervised,
                       " supervised (",
                       counts.supervised * 100 / std::max<std::int64_t>(counts.tokens, 1), " %)"));
  if (counts.bad > 0) {
    reporter.warn(concat(counts.bad, " bad records were skipped",
                         counts.bad > kBadListed ? concat("; the first ", kBadListed, " are listed")
                                                 : std::string()));
  }
  for (const auto& mistake : find_mistakes(counts, tokenizer, settings, chat))
    reporter.warn(mistake);
  if (dataset.samples.empty()) {
    throw core::ConfigError(
        concat("none of the ", counts.records + counts.bad,
               " records gives a sample with a supervised token; max_length is ",
               settings.max_length, ", overlong samples: ", settings.overlong));
  }
}

// nullopt where the cache has no such data, or holds something else under that name.
std::optional<Dataset> open_cached(const fs::path& path, core::Reporter& reporter) {
  if (!fs::exists(path)) return std::nullopt;
  try {
    Dataset dataset{.samples = SampleStore::open(path), .counts = {}, .template_used = {}};
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
                     const EncodeSettings& settings, core::Reporter& reporter) {
  check_encode_settings(settings);
  if (files.empty()) throw core::ConfigError("no data file was given");
  std::optional<fs::path> path;
  Loader loader(tokenizer, settings, reporter);
  if (!settings.cache.empty()) {
    std::error_code error;
    fs::create_directories(settings.cache, error);
    if (error)
      throw core::IoError(
          concat("cannot create '", settings.cache.string(), "': ", error.message()));
    path = settings.cache / (cache_key(files, settings, reporter) + ".samples");
    if (auto cached = open_cached(*path, reporter)) {
      for (const auto& file : files) loader.encoder().template_of(RecordStream(file).format());
      report(*cached, tokenizer, settings, loader.encoder().chat(), reporter);
      return std::move(*cached);
    }
  }
  SampleWriter writer(path);
  loader.load(files, writer);
  Dataset dataset{.samples = {}, .counts = loader.counts(), .template_used = {}};
  const ChatTemplate* chat = loader.encoder().chat();
  dataset.template_used = {loader.template_name(), chat != nullptr ? chat->exported() : ""};
  dataset.samples = writer.finish(to_notes(dataset));
  report(dataset, tokenizer, settings, chat, reporter);
  return dataset;
}

}  // namespace corda::data
