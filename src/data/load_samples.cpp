// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "corda/data/load.h"
#include "data/encode_settings.h"
#include "data/record_stream.h"

namespace corda::data {

namespace {

// Takes in finished samples, cuts them to the length allowed and counts.
class Collector {
 public:
  Collector(const EncodeSettings& settings, Dataset& dataset)
      : settings_(settings), dataset_(dataset) {}

  void add(Sample sample) {
    if (settings_.max_length > 0 &&
        static_cast<std::int64_t>(sample.ids.size()) > settings_.max_length) {
      if (settings_.overlong == "drop") {
        ++dataset_.counts.dropped;
        return;
      }
      ++dataset_.counts.truncated;
      sample.ids.resize(static_cast<std::size_t>(settings_.max_length));
      sample.supervised.resize(sample.ids.size());
    }
    keep(std::move(sample));
  }

  // A document becomes as many samples as it has pieces of max_length.
  void add_pieces(const Sample& document) {
    const std::size_t size = document.ids.size();
    const std::size_t piece =
        settings_.max_length > 0 ? static_cast<std::size_t>(settings_.max_length) : size;
    for (std::size_t begin = 0; begin < size; begin += piece) {
      const auto from = static_cast<std::ptrdiff_t>(begin);
      const auto to = static_cast<std::ptrdiff_t>(std::min(begin + piece, size));
      Sample sample;
      sample.ids.assign(document.ids.begin() + from, document.ids.begin() + to);
      sample.supervised.assign(document.supervised.begin() + from,
                               document.supervised.begin() + to);
      sample.supervised[0] = 0;
      keep(std::move(sample));
    }
  }

 private:
  void keep(Sample sample) {
    const auto supervised =
        std::count(sample.supervised.begin(), sample.supervised.end(), std::uint8_t{1});
    if (supervised == 0) {
      ++dataset_.counts.dropped;
      return;
    }
    ++dataset_.counts.samples;
    dataset_.counts.tokens += static_cast<std::int64_t>(sample.ids.size());
    dataset_.counts.supervised += supervised;
    dataset_.samples.push_back(std::move(sample));
  }

  const EncodeSettings& settings_;
  Dataset& dataset_;
};

void load_file(const DataFile& data_file, const tokenizer::Tokenizer& tokenizer,
               const EncodeSettings& settings, Dataset& dataset, core::Reporter& reporter) {
  RecordStream stream(data_file);
  Collector collector(settings, dataset);
  std::int64_t records = 0;
  while (const auto record = stream.next()) {
    if (records++ % 256 == 0) core::throw_if_stopped(reporter, "tokenizing");
    if (stream.format() == "text") {
      collector.add_pieces(encode_document(tokenizer, text_of(stream.file(), *record)));
    } else {
      collector.add(encode_sample(
          tokenizer,
          prompt_response_of(stream.file(), *record, stream.format(), settings.template_name)));
    }
  }
  dataset.counts.records += records;
  reporter.info(core::concat(data_file.path.string(), ": ", records, " records, format ",
                             stream.format(), stream.detected() ? " (detected)" : ""));
}

void report(const EncodeCounts& counts, const EncodeSettings& settings, core::Reporter& reporter) {
  reporter.info(core::concat(
      counts.samples, " samples, ", counts.tokens, " tokens, ", counts.supervised, " supervised (",
      counts.supervised * 100 / std::max<std::int64_t>(counts.tokens, 1), " %)"));
  if (counts.truncated > 0) {
    reporter.warn(core::concat(counts.truncated, " samples were longer than ", settings.max_length,
                               " tokens and were cut there; they have no EOS"));
  }
  if (counts.dropped > 0) {
    reporter.warn(
        core::concat(counts.dropped, " samples were dropped: ",
                     settings.overlong == "drop"
                         ? core::concat("longer than ", settings.max_length, " tokens, or ")
                         : std::string(),
                     "without a supervised token"));
  }
}

}  // namespace

Dataset load_samples(const std::vector<DataFile>& files, const tokenizer::Tokenizer& tokenizer,
                     const EncodeSettings& settings, core::Reporter& reporter) {
  check_encode_settings(settings);
  if (files.empty()) throw core::ConfigError("no data file was given");
  if (!tokenizer.eos_id) {
    reporter.warn(
        "the tokenizer names no EOS token: samples end without one, and the model will not learn "
        "to stop");
  }
  Dataset dataset;
  for (const auto& file : files) load_file(file, tokenizer, settings, dataset, reporter);
  report(dataset.counts, settings, reporter);
  if (dataset.samples.empty()) {
    throw core::ConfigError(
        core::concat("none of the ", dataset.counts.records,
                     " records gives a sample with a supervised token; max_length is ",
                     settings.max_length, ", overlong samples: ", settings.overlong));
  }
  return dataset;
}

}  // namespace corda::data
