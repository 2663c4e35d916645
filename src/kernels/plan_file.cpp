// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "kernels/plan_file.h"

#include <system_error>

#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "core/fields.h"

namespace corda::kernels {

namespace fs = std::filesystem;
using core::concat;
using core::Json;

namespace {

constexpr int kVersion = 1;
constexpr std::int64_t kMaxBytes = 16 << 20;
constexpr std::size_t kMaxPlans = 20'000;
constexpr std::int64_t kMaxSize = std::int64_t{1} << 40;

std::string to_hex(const StoredAlgorithm& algorithm) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : algorithm) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

StoredAlgorithm from_hex(const std::string& text, const core::Fields& plan) {
  StoredAlgorithm algorithm{};
  if (text.size() != 2 * algorithm.size()) plan.fail("'algorithm' has another length");
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (c < 'a' || c > 'f')) plan.fail("'algorithm' is not hexadecimal");
    const auto value = static_cast<std::uint8_t>(digit ? c - '0' : c - 'a' + 10);
    algorithm[i / 2] = static_cast<std::uint8_t>(16 * algorithm[i / 2] + value);
  }
  return algorithm;
}

Json to_json(const PlanKey& key, const StoredAlgorithm& algorithm) {
  return {{"m", key.m},
          {"n", key.n},
          {"k", key.k},
          {"transposed_a", key.transposed_a},
          {"transposed_b", key.transposed_b},
          {"fp32_in", key.fp32_in},
          {"fp32_out", key.fp32_out},
          {"adds", key.adds},
          {"alignment", key.alignment},
          {"algorithm", to_hex(algorithm)}};
}

PlanKey key_of(const core::Fields& plan) {
  return {.m = plan.integer("m", 1, kMaxSize),
          .n = plan.integer("n", 1, kMaxSize),
          .k = plan.integer("k", 1, kMaxSize),
          .transposed_a = plan.boolean("transposed_a"),
          .transposed_b = plan.boolean("transposed_b"),
          .fp32_in = plan.boolean("fp32_in"),
          .fp32_out = plan.boolean("fp32_out"),
          .adds = plan.boolean("adds"),
          .alignment = static_cast<std::uint32_t>(plan.integer("alignment", 1, 256))};
}

std::string hash_of(const Json& plans) { return core::Sha256().update(plans.dump()).hex_digest(); }

// Throws FormatError and IoError.
StoredPlans read(const fs::path& file, const std::string& made_for) {
  const Json root = core::parse_json(core::read_file(file, kMaxBytes), file.string());
  const core::Fields fields(root, concat("'", file.string(), "'"));
  if (fields.integer("version") != kVersion) fields.fail("of another version");
  if (fields.text("made_for") != made_for) fields.fail("made for something else");
  const Json& plans = core::require_key(root, "plans", fields.where());
  if (!plans.is_array() || plans.size() > kMaxPlans) fields.fail("'plans' is no list of plans");
  if (fields.text("sha256") != hash_of(plans)) fields.fail("damaged");
  StoredPlans result;
  for (const Json& entry : plans) {
    const core::Fields plan(entry, concat(fields.where(), ": a plan"));
    result[key_of(plan)] = from_hex(plan.text("algorithm"), plan);
  }
  return result;
}

}  // namespace

fs::path plan_file(const fs::path& directory, const std::string& made_for) {
  constexpr std::size_t kDigits = 16;
  const std::string hash = core::Sha256().update(made_for).hex_digest();
  return directory / concat("gemm-", hash.substr(0, kDigits), ".json");
}

StoredPlans read_plans(const fs::path& directory, const std::string& made_for) {
  const fs::path file = plan_file(directory, made_for);
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return {};
  try {
    return read(file, made_for);
  } catch (const core::Error&) {  // it only saves time, and the next writer replaces it
    return {};
  }
}

void keep_plans(const fs::path& directory, const std::string& made_for, const StoredPlans& plans) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) core::throw_output_error("create", directory, error.value());
  StoredPlans all = plans;
  for (const auto& [key, algorithm] : read_plans(directory, made_for)) {
    if (all.size() < kMaxPlans) all.try_emplace(key, algorithm);
  }
  Json list = Json::array();
  for (const auto& [key, algorithm] : all) list.push_back(to_json(key, algorithm));
  const Json root = {
      {"version", kVersion}, {"made_for", made_for}, {"plans", list}, {"sha256", hash_of(list)}};
  core::write_file_atomic(plan_file(directory, made_for), root.dump(1) + "\n");
}

}  // namespace corda::kernels
