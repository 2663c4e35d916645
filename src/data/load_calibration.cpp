// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <numeric>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/parallel.h"
#include "corda/core/random.h"
#include "corda/data/load.h"
#include "data/encode_settings.h"
#include "data/mistakes.h"
#include "data/record_encoder.h"
#include "data/record_stream.h"
#include "data/text_tokens.h"
#include "data/window_draw.h"

namespace corda::data {

namespace {

using Windows = std::vector<std::vector<TokenId>>;

constexpr const char* kQaDocuments = "question-answer";

// All documents as one sequence of tokens. Texts that follow each other are joined by blank lines
// and tokenised as one; question-answer documents are tokenised one by one.
class TokenStream {
 public:
  TokenStream(const tokenizer::Tokenizer& tokenizer, std::string qa_text, std::int64_t threads,
              const WindowDraw::Sink& sink)
      : tokenizer_(tokenizer),
        qa_text_(std::move(qa_text)),
        sink_(sink),
        text_(tokenizer, threads, sink) {}

  // `is_part`: goes on where the record before ended.
  void add(const RecordStream& stream, const Record& record, bool is_part) {
    if (stream.format() == "text") {
      add_text(text_of(stream.file(), record), is_part);
      return;
    }
    const QaRecord qa = qa_of(stream.file(), record);
    if (qa_text_ == kQaDocuments) {
      add_document(qa);
    } else {
      add_text(qa.question, false);
    }
  }

  void finish() {
    if (std::exchange(has_text_, false)) text_.finish();
  }

 private:
  void add_text(const std::string& text, bool is_part) {
    if (has_text_ && !is_part) text_.add("\n\n");
    text_.add(text);
    has_text_ = true;
  }

  void add_document(const QaRecord& qa) {
    finish();
    std::vector<TokenId> ids;
    const bool bos = tokenizer_.starts_with_bos && tokenizer_.bos_id;
    if (bos) ids.push_back(*tokenizer_.bos_id);
    const auto text = encode_plain(tokenizer_, qa_prompt(qa.question) + " " + qa.answers.front());
    ids.insert(ids.end(), text.begin(), text.end());
    // Where one id is both, the next document's BOS ends this one.
    if (tokenizer_.eos_id && !(bos && tokenizer_.eos_id == tokenizer_.bos_id))
      ids.push_back(*tokenizer_.eos_id);
    sink_(ids);
  }

  const tokenizer::Tokenizer& tokenizer_;
  std::string qa_text_;
  const WindowDraw::Sink& sink_;
  TextTokens text_;
  bool has_text_ = false;
};

Windows draw_windows(const WindowDraw& stream, const CalibrationSettings& settings,
                     core::Reporter& reporter) {
  const std::int64_t total = stream.total();
  if (total == 0) throw core::ConfigError("the calibration data holds no token");
  if (total < settings.seq_len) {
    reporter.warn(core::concat("the calibration data has ", total,
                               " tokens, fewer than one window of ", settings.seq_len,
                               "; all of them are taken, once"));
    return stream.windows({0}, total);
  }
  if (settings.samples > 2 * total / settings.seq_len) {
    reporter.warn(core::concat(settings.samples, " windows of ", settings.seq_len,
                               " tokens were asked for, but the calibration data has only ", total,
                               " tokens; the windows overlap"));
  }
  core::Random random(settings.seed);
  std::vector<std::int64_t> starts;
  for (std::int64_t i = 0; i < settings.samples; ++i) {
    starts.push_back(static_cast<std::int64_t>(
        random.below(static_cast<std::uint64_t>(total - settings.seq_len + 1))));
  }
  return stream.windows(starts, settings.seq_len);
}

// Reads calibration files, as often as they are needed.
class Source {
 public:
  Source(const std::vector<DataFile>& files, const CalibrationSettings& settings,
         RecordEncoder& encoder, core::Reporter& reporter)
      : files_(files), settings_(settings), encoder_(encoder), reporter_(reporter) {}

  // Gives every record that can be parsed to `visit(stream, record, is_part)`; what was chosen and
  // skipped is reported the first time. Throws ConfigError where documents and instructions mix.
  template <typename Visit>
  void read(Visit visit) {
    for (const auto& file : files_) read_file(file, visit);
    first_time_ = false;
  }
  // Whether the files hold documents (text, qa).
  bool documents() {
    const RecordStream stream(files_.front(), quiet(), kPart);
    return is_document(stream);
  }

 private:
  static constexpr std::int64_t kPart = std::int64_t{1} << 20;

  static bool is_document(const RecordStream& stream) {
    return stream.format() == "text" || stream.format() == "qa";
  }
  BadRecord quiet() const {
    return settings_.encode.skip_bad ? BadRecord([](const core::FormatError&) {}) : BadRecord();
  }
  BadRecord reporting() {
    if (!settings_.encode.skip_bad || !first_time_) return quiet();
    return [this](const core::FormatError& error) {
      reporter_.warn(core::concat("skipped: ", error.what()));
    };
  }

  template <typename Visit>
  void read_file(const DataFile& file, Visit& visit) {
    const BadRecord bad = reporting();
    RecordStream stream(file, bad, kPart);
    const bool document = is_document(stream);
    if (&file != &files_.front() && document != documents_) {
      throw core::ConfigError(core::concat("'", file.path.string(), "' has the format ",
                                           stream.format(),
                                           ": calibration cannot mix documents (text, qa) and "
                                           "instructions; calibrate on each alone"));
    }
    documents_ = document;
    const std::string name = document ? "" : encoder_.template_of(stream.format());
    std::int64_t records = 0;
    while (auto raw = stream.next_raw()) {
      const bool is_part = raw->plain && records > 0;
      if (records++ % 256 == 0) core::throw_if_stopped(reporter_, "reading calibration data");
      try {
        const Record record = parse_record(std::move(*raw), file.path.string());
        visit(stream, record, is_part);
      } catch (const core::FormatError& error) {
        if (!bad) throw;
        bad(error);
      }
    }
    if (!first_time_) return;
    if (stream.is_plain_text()) records = 1;
    reporter_.info(core::concat(file.path.string(), ": ", records, " records, format ",
                                stream.format(), stream.detected() ? " (detected)" : "",
                                document ? "" : ", template ", name));
  }

  const std::vector<DataFile>& files_;
  const CalibrationSettings& settings_;
  RecordEncoder& encoder_;
  core::Reporter& reporter_;
  bool documents_ = false;
  bool first_time_ = true;
};

// A record of an instruction or chat format that was drawn.
struct Drawn {
  DataFile file;
  std::string format;
  Record record;
};

// The records whose turn in the draw is in [begin, end), by their turn.
std::vector<Drawn> read_turns(Source& source, const std::vector<std::int64_t>& turns,
                              std::int64_t begin, std::int64_t end) {
  std::vector<Drawn> drawn(static_cast<std::size_t>(end - begin));
  std::size_t index = 0;
  source.read([&](const RecordStream& stream, const Record& record, bool) {
    if (index == turns.size())
      throw core::IoError("the calibration data grew while they were read");
    const std::int64_t turn = turns[index++];
    if (turn >= begin && turn < end)
      drawn[static_cast<std::size_t>(turn - begin)] = {stream.file(), stream.format(), record};
  });
  if (index != turns.size())
    throw core::IoError("the calibration data shrank while they were read");
  return drawn;
}

// Reads once to count, then for the records drawn: only those are held and tokenised.
Windows draw_samples(Source& source, const RecordEncoder& encoder,
                     const tokenizer::Tokenizer& tokenizer, const CalibrationSettings& settings,
                     core::Reporter& reporter) {
  std::int64_t available = 0;
  source.read([&](const RecordStream&, const Record&, bool) { ++available; });
  if (available < settings.samples) {
    reporter.warn(core::concat(settings.samples,
                               " calibration samples were asked for, but there are only ",
                               available, "; all of them are taken, once"));
  }
  std::vector<std::int64_t> turns(static_cast<std::size_t>(available));
  {
    std::vector<std::int64_t> order(turns.size());
    std::iota(order.begin(), order.end(), std::int64_t{0});
    core::Random random(settings.seed);
    core::shuffle(order, random);
    for (std::size_t turn = 0; turn < order.size(); ++turn)
      turns[static_cast<std::size_t>(order[turn])] = static_cast<std::int64_t>(turn);
  }
  EncodeCounts counts;
  Windows windows;
  const auto add = [&](const Drawn& drawn) {
    EncodedRecord encoded;
    try {
      encoded = encoder.encode(drawn.file, drawn.record, drawn.format);
    } catch (const core::FormatError& error) {
      if (!settings.encode.skip_bad) throw;
      reporter.warn(core::concat("skipped: ", error.what()));
      return;
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
  };
  // Further turns are read only where bad records were among those before.
  for (std::int64_t turn = 0; turn < available && counts.records < settings.samples;) {
    const std::int64_t end = std::min(available, turn + settings.samples - counts.records);
    for (const Drawn& drawn : read_turns(source, turns, turn, end)) add(drawn);
    turn = end;
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
  Source source(files, settings, encoder, reporter);
  if (!source.documents()) return draw_samples(source, encoder, tokenizer, settings, reporter);
  const std::int64_t threads = core::thread_count(settings.encode.threads);
  const WindowDraw stream([&](const WindowDraw::Sink& sink) {
    TokenStream tokens(tokenizer, settings.qa_text, threads, sink);
    source.read([&](const RecordStream& from, const Record& record, bool is_part) {
      tokens.add(from, record, is_part);
    });
    tokens.finish();
  });
  return draw_windows(stream, settings, reporter);
}

}  // namespace corda::data
