// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "small_run.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using corda::testing::error_of;
using ::testing::HasSubstr;

std::string hex(const std::string& bytes) {
  static constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += kDigits[static_cast<unsigned char>(byte) >> 4];
    text += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return text;
}

// Check value of CRC-32C ("123456789": e3069283), masked as TensorFlow does.
TEST(EventFile, ChecksumsAreMaskedCrc32c) {
  EXPECT_EQ(masked_crc32c("123456789"), 0xc78ab0e5U);
  EXPECT_EQ(masked_crc32c(""), 0xa282ead8U);
}

// Goldens: the messages as tensorboard 2.21's protobuf classes serialise them.
TEST(EventFile, MessagesAreTheBytesOfTensorBoardsOwn) {
  EXPECT_EQ(hex(version_event(1.5)), "09000000000000f83f1a0d627261696e2e4576656e743a32");
  EXPECT_EQ(hex(restart_event(1.5, 4)), "09000000000000f83f10043a020801");
  EXPECT_EQ(hex(scalars_event(1.5, 3, {{"train/loss", 0.25}})),
            "09000000000000f83f10032a130a110a0a747261696e2f6c6f7373150000803e");
  // A step that takes two bytes, two values.
  EXPECT_EQ(hex(scalars_event(1.5, 300, {{"a", 1}, {"b", -2}})),
            "09000000000000f83f10ac022a140a080a0161150000803f0a080a016215000000c0");
}

// The same record as tensorboard's RecordWriter writes it.
TEST(EventFile, ARecordIsLengthBytesAndTheirChecksums) {
  EXPECT_EQ(hex(event_record(restart_event(1.5, 4))),
            "0f00000000000000"
            "6d532b09"
            "09000000000000f83f10043a020801"
            "d0b789e7");
}

TEST(EventFile, ScalarsLeaveOutWhatIsNotKnown) {
  StepMetrics metrics{.step = 2, .loss = 3, .peak_memory_bytes = 1'500'000'000, .eval_loss = {}};
  EXPECT_EQ(scalars_of(metrics).size(), 5U);
  EXPECT_EQ(scalars_of(metrics)[4].tag, "memory/peak_gigabytes");
  EXPECT_EQ(scalars_of(metrics)[4].value, 1.5);
  metrics.utilisation = 0.5;
  metrics.eval_loss = 4;
  ASSERT_EQ(scalars_of(metrics).size(), 7U);
  EXPECT_EQ(scalars_of(metrics)[6].tag, "eval/loss");
  EXPECT_EQ(scalars_of(metrics)[6].value, 4);
  metrics.forgetting = 0.25;
  metrics.forgetting_by_kind = {{"q_proj", 0.5}};
  ASSERT_EQ(scalars_of(metrics).size(), 9U);
  EXPECT_EQ(scalars_of(metrics)[7].tag, "forgetting/gauge");
  EXPECT_EQ(scalars_of(metrics)[7].value, 0.25);
  EXPECT_EQ(scalars_of(metrics)[8].tag, "forgetting/q_proj");
  EXPECT_EQ(scalars_of(metrics)[8].value, 0.5);
}

// TensorBoard reads files in the order of their names, so one of a later process must come later
// even within a second, or after the clock was set back.
TEST(EventFile, ALaterFileHasALaterName) {
  const testing::TemporaryDirectory folder;
  std::ofstream(folder.path() / "events.out.tfevents.4000000000.other.1");
  const EventFile file(folder.path(), 1);
  std::string newest;
  for (const auto& entry : fs::directory_iterator(folder.path()))
    newest = std::max(newest, entry.path().filename().string());
  EXPECT_EQ(newest.substr(0, 30), "events.out.tfevents.4000000001");
}

class LoggedRun : public testing::SmallRun {};

TEST_F(LoggedRun, EventFilesAreWrittenWhereAskedForAndNowhereElse) {
  TrainSettings settings = small_settings("run");
  settings.optim.max_steps = 2;
  const auto events_in = [](const std::string& run) {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(run))
      count += entry.path().filename().string().starts_with("events.out.tfevents.") ? 1 : 0;
    return count;
  };
  train(settings, false, reporter_);
  EXPECT_EQ(events_in(settings.out), 0);
  settings.out = (folder_.path() / "logged").string();
  settings.log = {"jsonl", "tensorboard"};
  train(settings, false, reporter_);
  EXPECT_EQ(events_in(settings.out), 1);
  const std::string versions = core::read_file(fs::path(settings.out) / "versions.jsonl");
  EXPECT_THAT(versions, HasSubstr("{\"after_step\":0,\"corda\":\""));
  EXPECT_EQ(std::count(versions.begin(), versions.end(), '\n'), 1);
}

TEST_F(LoggedRun, LogHoldsKnownNamesAndJsonl) {
  TrainSettings settings = small_settings("run");
  settings.log = {"tensorbord"};
  const std::string error = error_of<core::ConfigError>([&] { check(settings); });
  EXPECT_THAT(error, HasSubstr("'log' must hold jsonl or tensorboard; it holds 'tensorbord' (did "
                               "you mean 'tensorboard'?)"));
  EXPECT_THAT(error, HasSubstr("'log' must hold jsonl, which --resume and corda report read"));
}

}  // namespace
}  // namespace corda::train
