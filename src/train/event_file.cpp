// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdio>

#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::train {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

// Numbers of protobuf's wire types.
enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <typename Unsigned>
void add_fixed(std::string& out, Unsigned value) {
  for (std::size_t i = 0; i < sizeof(value); ++i)
    out += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
}

void add_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// Builds one message, field by field.
class Message {
 public:
  Message& varint(std::uint32_t field, std::uint64_t value) {
    add_varint(text_, key(field, Wire::kVarint));
    add_varint(text_, value);
    return *this;
  }
  Message& real64(std::uint32_t field, double value) {
    add_varint(text_, key(field, Wire::kFixed64));
    add_fixed(text_, std::bit_cast<std::uint64_t>(value));
    return *this;
  }
  Message& real32(std::uint32_t field, float value) {
    add_varint(text_, key(field, Wire::kFixed32));
    add_fixed(text_, std::bit_cast<std::uint32_t>(value));
    return *this;
  }
  Message& bytes(std::uint32_t field, std::string_view value) {
    add_varint(text_, key(field, Wire::kBytes));
    add_varint(text_, value.size());
    text_ += value;
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  static std::uint64_t key(std::uint32_t field, Wire wire) {
    return std::uint64_t{field} << 3 | static_cast<std::uint64_t>(wire);
  }
  std::string text_;
};

// Fields of tensorflow.Event, .SessionLog, .Summary and .Summary.Value.
constexpr std::uint32_t kWallTime = 1;
constexpr std::uint32_t kStep = 2;
constexpr std::uint32_t kFileVersion = 3;
constexpr std::uint32_t kSummary = 5;
constexpr std::uint32_t kSessionLog = 7;
constexpr std::uint32_t kStatus = 1;
constexpr std::uint64_t kStart = 1;
constexpr std::uint32_t kValue = 1;
constexpr std::uint32_t kTag = 1;
constexpr std::uint32_t kSimpleValue = 2;

double now() {
  const std::chrono::duration<double> since = std::chrono::system_clock::now().time_since_epoch();
  return since.count();
}

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    table[i] = crc;
  }
  return table;
}

// A name behind all that are there; TensorBoard reads files in the order of their names.
fs::path next_name(const fs::path& directory) {
  auto second = static_cast<std::int64_t>(now());
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(directory, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const std::string digits =
        name.substr(kPrefix.size(), name.find('.', kPrefix.size()) - kPrefix.size());
    second = std::max(second, core::parse_int(digits).value_or(0) + 1);
  }
  std::array<char, 64> digits;
  std::snprintf(digits.data(), digits.size(), "%010lld.corda.%d", static_cast<long long>(second),
                static_cast<int>(::getpid()));
  return directory / (std::string(kPrefix) + digits.data());
}

}  // namespace

std::uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = crc_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes)
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ (crc >> 8);
  return std::rotr(crc ^ 0xFFFFFFFFU, 15) + 0xA282EAD8U;
}

std::string event_record(std::string_view event) {
  std::string record;
  add_fixed(record, std::uint64_t{event.size()});
  add_fixed(record, masked_crc32c(record));
  record += event;
  add_fixed(record, masked_crc32c(event));
  return record;
}

std::string version_event(double time) {
  return Message().real64(kWallTime, time).bytes(kFileVersion, "brain.Event:2").text();
}

std::string restart_event(double time, std::int64_t step) {
  return Message()
      .real64(kWallTime, time)
      .varint(kStep, static_cast<std::uint64_t>(step))
      .bytes(kSessionLog, Message().varint(kStatus, kStart).text())
      .text();
}

std::string scalars_event(double time, std::int64_t step, const std::vector<Scalar>& scalars) {
  Message summary;
  for (const Scalar& scalar : scalars) {
    summary.bytes(kValue, Message()
                              .bytes(kTag, scalar.tag)
                              .real32(kSimpleValue, static_cast<float>(scalar.value))
                              .text());
  }
  return Message()
      .real64(kWallTime, time)
      .varint(kStep, static_cast<std::uint64_t>(step))
      .bytes(kSummary, summary.text())
      .text();
}

std::vector<Scalar> scalars_of(const StepMetrics& metrics) {
  std::vector<Scalar> scalars = {
      {"train/loss", metrics.loss},
      {"train/learning_rate", metrics.lr},
      {"train/grad_norm", metrics.grad_norm},
      {"speed/tokens_per_second", metrics.tokens_per_second},
      {"memory/peak_gigabytes", static_cast<double>(metrics.peak_memory_bytes) * 1e-9},
  };
  if (metrics.utilisation > 0) scalars.push_back({"speed/utilisation", metrics.utilisation});
  if (metrics.eval_loss) scalars.push_back({"eval/loss", *metrics.eval_loss});
  if (metrics.forgetting) scalars.push_back({"forgetting/gauge", *metrics.forgetting});
  for (const auto& [kind, gauge] : metrics.forgetting_by_kind)
    scalars.push_back({"forgetting/" + kind, gauge});
  return scalars;
}

EventFile::EventFile(const fs::path& directory, std::int64_t first_step) {
  const fs::path path = next_name(directory);
  std::string begin = event_record(version_event(now()));
  if (first_step > 1) begin += event_record(restart_event(now(), first_step));
  core::write_file_atomic(path, begin);
  file_.emplace(path);
}

bool EventFile::append(const StepMetrics& metrics) {
  return file_->append(event_record(scalars_event(now(), metrics.step, scalars_of(metrics))));
}

}  // namespace corda::train
