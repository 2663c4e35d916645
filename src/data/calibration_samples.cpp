// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/calibration_samples.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/random.h"
#include "data/mistakes.h"

namespace corda::data {

namespace {

// A record of an instruction or chat format that was drawn.
struct Drawn {
  DataFile file;
  std::string format;
  Record record;
};

// The records whose turn in the draw is in [begin, end), by their turn.
std::vector<Drawn> read_turns(CalibrationSource& source, const std::vector<std::int64_t>& turns,
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

}  // namespace

std::vector<std::vector<TokenId>> draw_samples(CalibrationSource& source,
                                               const RecordEncoder& encoder,
                                               const tokenizer::Tokenizer& tokenizer,
                                               const CalibrationSettings& settings,
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
  std::vector<std::vector<TokenId>> windows;
  const auto add = [&](const Drawn& drawn) {
    EncodedRecord encoded;
    try {
      encoded = encoder.encode(drawn.file, drawn.record, drawn.format);
    } catch (const core::FormatError& error) {
      if (!settings.encode.skip_bad) throw with_skip_advice(error, settings.encode.skip_switch);
      reporter.warn(core::concat("skipped: ", error.what()));
      return;
    }
    if (encoded.notes()) {
      encoded.place =
          core::concat(drawn.file.path.string(), ":", drawn.record.line, ":", drawn.record.column);
    }
    count_record(encoded, counts);
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

}  // namespace corda::data
