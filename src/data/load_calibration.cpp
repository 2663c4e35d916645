// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <numeric>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/random.h"
#include "corda/data/load.h"
#include "data/encode_settings.h"
#include "data/mistakes.h"
#include "data/record_encoder.h"
#include "data/record_stream.h"

namespace corda::data {

namespace {

using Windows = std::vector<std::vector<TokenId>>;

constexpr const char* kQaDocuments = "question-answer";

// All documents as one sequence of tokens. Texts that follow each other are joined by blank lines
// and tokenised as one; question-answer documents are tokenised one by one.
class TokenStream {
 public:
  TokenStream(const tokenizer::Tokenizer& tokenizer, std::string qa_text)
      : tokenizer_(tokenizer), qa_text_(std::move(qa_text)) {}

  void add(const RecordStream& stream, const Record& record) {
    if (stream.format() == "text") {
      add_text(text_of(stream.file(), record));
      return;
    }
    const QaRecord qa = qa_of(stream.file(), record);
    if (qa_text_ == kQaDocuments) {
      add_document(qa);
    } else {
      add_text(qa.question);
    }
  }

  std::vector<TokenId> finish() {
    flush();
    return std::move(ids_);
  }

 private:
  void add_text(const std::string& text) {
    if (has_text_) text_ += "\n\n";
    text_ += text;
    has_text_ = true;
  }

  void add_document(const QaRecord& qa) {
    flush();
    const bool bos = tokenizer_.starts_with_bos && tokenizer_.bos_id;
    if (bos) ids_.push_back(*tokenizer_.bos_id);
    append(encode_plain(tokenizer_, qa_prompt(qa.question) + " " + qa.answers.front()));
    // Where one id is both, the next document's BOS ends this one.
    if (tokenizer_.eos_id && !(bos && tokenizer_.eos_id == tokenizer_.bos_id))
      ids_.push_back(*tokenizer_.eos_id);
  }

  void flush() {
    if (std::exchange(has_text_, false)) append(encode_plain(tokenizer_, std::exchange(text_, {})));
  }

  void append(const std::vector<TokenId>& ids) { ids_.insert(ids_.end(), ids.begin(), ids.end()); }

  const tokenizer::Tokenizer& tokenizer_;
  std::string qa_text_;
  std::string text_;
  bool has_text_ = false;
  std::vector<TokenId> ids_;
};

Windows draw_windows(const std::vector<TokenId>& ids, const CalibrationSettings& settings,
                     core::Reporter& reporter) {
  const auto total = static_cast<std::int64_t>(ids.size());
  if (total == 0) throw core::ConfigError("the calibration data holds no token");
  if (total < settings.seq_len) {
    reporter.warn(core::concat("the calibration data has ", total,
                               " tokens, fewer than one window of ", settings.seq_len,
                               "; all of them are taken, once"));
    return {ids};
  }
  if (settings.samples > 2 * total / settings.seq_len) {
    reporter.warn(core::concat(settings.samples, " windows of ", settings.seq_len,
                               " tokens were asked for, but the calibration data has only ", total,
                               " tokens; the windows overlap"));
  }
  core::Random random(settings.seed);
  Windows windows;
  for (std::int64_t i = 0; i < settings.samples; ++i) {
    const auto start = static_cast<std::ptrdiff_t>(
        random.below(static_cast<std::uint64_t>(total - settings.seq_len + 1)));
    const auto begin = ids.begin() + start;
    windows.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(settings.seq_len));
  }
  return windows;
}

// A record of an instruction or chat format, to be rendered if it is drawn.
struct Pending {
  const DataFile* file = nullptr;
  std::string format;
  Record record;
};

// Renders only the samples drawn: the others need no tokenising.
Windows draw_samples(const std::vector<Pending>& records, const RecordEncoder& encoder,
                     const tokenizer::Tokenizer& tokenizer, const CalibrationSettings& settings,
                     core::Reporter& reporter) {
  const auto available = static_cast<std::int64_t>(records.size());
  if (available < settings.samples) {
    reporter.warn(core::concat(settings.samples,
                               " calibration samples were asked for, but there are only ",
                               available, "; all of them are taken, once"));
  }
  std::vector<std::size_t> order(records.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  core::Random random(settings.seed);
  core::shuffle(order, random);
  EncodeCounts counts;
  Windows windows;
  for (const std::size_t index : order) {
    if (counts.records == settings.samples) break;
    EncodedRecord encoded;
    try {
      encoded = encoder.encode(*records[index].file, records[index].record, records[index].format);
    } catch (const core::FormatError& error) {
      if (!settings.encode.skip_bad) throw;
      reporter.warn(core::concat("skipped: ", error.what()));
      continue;
    }
    ++counts.records;
    counts.dropped += encoded.unsupervised;
    counts.without_targets += encoded.unsupervised;
    counts.eos_appended += encoded.eos_appended;
    counts.hidden_tools += encoded.hides_tools ? 1 : 0;
    for (Sample& sample : encoded.samples) {
      count_sample(sample, tokenizer, counts);
      auto& ids = sample.ids;
      ids.resize(std::min(ids.size(), static_cast<std::size_t>(settings.seq_len)));
      if (!ids.empty()) windows.push_back(std::move(ids));
    }
  }
  for (const auto& mistake : find_mistakes(counts, tokenizer, settings.encode, encoder.chat()))
    reporter.warn(mistake);
  if (windows.empty()) throw core::ConfigError("the calibration data holds no token");
  return windows;
}

void check(const std::vector<DataFile>& files, const CalibrationSettings& settings) {
  check_encode_settings(settings.encode);
  check_choice("qa text", settings.qa_text, {kQaDocuments, "question"});
  if (files.empty()) throw core::ConfigError("no calibration data file was given");
  if (settings.samples < 1 || settings.seq_len < 1) {
    throw core::ConfigError(core::concat(
        "calibration needs at least one sample of at least one token; samples = ", settings.samples,
        ", seq_len = ", settings.seq_len));
  }
}

}  // namespace

std::vector<std::vector<TokenId>> load_calibration(const std::vector<DataFile>& files,
                                                   const tokenizer::Tokenizer& tokenizer,
                                                   const CalibrationSettings& settings,
                                                   core::Reporter& reporter) {
  check(files, settings);
  EncodeSettings whole = settings.encode;
  whole.max_length = 0;  // a drawn sample is cut at seq_len
  RecordEncoder encoder(tokenizer, whole);
  TokenStream tokens(tokenizer, settings.qa_text);
  std::vector<Pending> pending;
  bool documents = false;
  for (const auto& file : files) {
    BadRecord bad;
    if (settings.encode.skip_bad) {
      bad = [&](const core::FormatError& error) {
        reporter.warn(core::concat("skipped: ", error.what()));
      };
    }
    RecordStream stream(file, bad);
    const bool document = stream.format() == "text" || stream.format() == "qa";
    if (&file != &files.front() && document != documents) {
      throw core::ConfigError(core::concat("'", file.path.string(), "' has the format ",
                                           stream.format(),
                                           ": calibration cannot mix documents (text, qa) and "
                                           "instructions; calibrate on each alone"));
    }
    documents = document;
    const std::string name = document ? "" : encoder.template_of(stream.format());
    std::int64_t records = 0;
    while (auto raw = stream.next_raw()) {
      if (records++ % 256 == 0) core::throw_if_stopped(reporter, "reading calibration data");
      try {
        Record record = parse_record(std::move(*raw), file.path.string());
        if (document) {
          tokens.add(stream, record);
        } else {
          pending.push_back({&file, stream.format(), std::move(record)});
        }
      } catch (const core::FormatError& error) {
        if (!bad) throw;
        bad(error);
      }
    }
    reporter.info(core::concat(file.path.string(), ": ", records, " records, format ",
                               stream.format(), stream.detected() ? " (detected)" : "",
                               document ? "" : ", template ", name));
  }
  return documents ? draw_windows(tokens.finish(), settings, reporter)
                   : draw_samples(pending, encoder, tokenizer, settings, reporter);
}

}  // namespace corda::data
