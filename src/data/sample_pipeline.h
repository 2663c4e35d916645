// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Files in, encoded records out: streaming, in order, tokenised by several threads.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/data/load.h"
#include "data/mistakes.h"
#include "data/record_encoder.h"
#include "data/record_stream.h"

namespace corda::data {

class SamplePipeline {
 public:
  // The number of skipped records that are named one by one.
  static constexpr std::int64_t kBadListed = kRecordsListed;
  using Sink = std::function<void(const EncodedRecord&)>;

  SamplePipeline(const tokenizer::Tokenizer& tokenizer, const EncodeSettings& settings,
                 core::Reporter& reporter);

  // Gives every record to `sink`, in the order of the files whatever the threads do. Records come
  // with their borders until `borders_until` samples have been seen.
  void run(const std::vector<DataFile>& files, const Sink& sink, std::int64_t borders_until = 0);

  RecordEncoder& encoder() { return encoder_; }
  const EncodeCounts& counts() const { return counts_; }
  const std::string& template_name() const { return template_; }
  // How many samples each file gave.
  const std::vector<std::int64_t>& file_samples() const { return file_samples_; }

 private:
  // What became of one record: its samples, or why it has none.
  struct Outcome {
    EncodedRecord encoded;
    std::optional<core::FormatError> bad;
  };

  void run_file(const DataFile& data_file, const Sink& sink);
  void run_plain_text(RecordStream& stream, const Sink& sink);
  std::optional<RawRecord> next(RecordStream& stream, std::vector<RawRecord>& chunk,
                                const Sink& sink);
  void finish_chunk(const RecordStream& stream, std::vector<RawRecord>& chunk, const Sink& sink);
  void take(const Outcome& outcome, const Sink& sink);
  void skip(const core::FormatError& error);

  const tokenizer::Tokenizer& tokenizer_;
  const EncodeSettings& settings_;
  core::Reporter& reporter_;
  RecordEncoder encoder_;
  std::int64_t threads_;
  std::int64_t borders_until_ = 0;
  EncodeCounts counts_;
  std::vector<std::int64_t> file_samples_;
  std::string template_;
};

}  // namespace corda::data
