// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/error.h"
#include "corda/core/parallel.h"
#include "corda/core/random.h"
#include "corda/data/load.h"
#include "data/calibration_samples.h"
#include "data/calibration_source.h"
#include "data/calibration_tokens.h"
#include "data/encode_settings.h"
#include "data/mistakes.h"
#include "data/window_draw.h"

namespace corda::data {

namespace {

std::vector<std::vector<TokenId>> draw_windows(const WindowDraw& stream,
                                               const CalibrationSettings& settings,
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
  CalibrationSource source(files, settings, encoder, reporter);
  if (!source.documents()) {
    if (settings.qa_text != kQaDocuments)
      reporter.warn("'qa_text' is of question-answer data; for these it changes nothing");
    return draw_samples(source, encoder, tokenizer, settings, reporter);
  }
  if (const std::string unused = unused_template(settings.encode); !unused.empty())
    reporter.warn(unused);
  const std::int64_t threads = core::thread_count(settings.encode.threads);
  const WindowDraw stream([&](const WindowDraw::Sink& sink) {
    CalibrationTokens tokens(tokenizer, settings.qa_text, threads, sink);
    source.read([&](const RecordStream& from, const Record& record, bool is_part) {
      tokens.add(from, record, is_part);
    });
    tokens.finish();
  });
  return draw_windows(stream, settings, reporter);
}

}  // namespace corda::data
