// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Damaged tokenizer files end in an error of ours or in a tokenizer that works. CORDA_FUZZ_ROUNDS
// sets how many are tried.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/random.h"
#include "corda/tokenizer/tokenizer.h"
#include "support/fuzz_rounds.h"

namespace corda::tokenizer {
namespace {

TEST(Fuzz, DamagedTokenizersLoadOrFailCleanly) {
  const int rounds = testing::fuzz_rounds(300);
  const auto small = std::filesystem::path(CORDA_SOURCE_DIR) / "tests/golden/tokenizer/small";
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(small)) {
    if (entry.is_directory()) files.push_back(core::read_file(entry.path() / "tokenizer.json"));
  }
  ASSERT_EQ(files.size(), 15U);
  std::string pattern = (std::filesystem::temp_directory_path() / "corda-fuzz-XXXXXX").string();
  const std::filesystem::path folder = ::mkdtemp(pattern.data());
  core::Random random(11);
  int loaded = 0;
  for (int i = 0; i < rounds; ++i) {
    std::string text = files[random.below(files.size())];
    for (std::uint64_t n = 0; n <= random.below(3); ++n) {
      const auto at = static_cast<std::size_t>(random.below(text.size()));
      const std::string& other = files[random.below(files.size())];
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.erase(at, random.below(40));
          break;
        case 2:
          text.insert(at, other.substr(random.below(other.size()), random.below(60)));
          break;
        default:
          text[at] = static_cast<char>('0' + random.below(10));
      }
    }
    std::ofstream(folder / "tokenizer.json", std::ios::binary) << text;
    try {
      const auto tokenizer = load_tokenizer(folder);
      ++loaded;
      const auto ids = tokenizer->encode("The dog's  Würde\n\xFF <s>foo</s> 123 \xE4\xBD\xA0", {});
      tokenizer->decode(ids);
    } catch (const core::Error& error) {
      EXPECT_NE(error.code(), core::ExitCode::kInternal) << error.what();
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  EXPECT_GT(loaded, rounds / 50);
}

}  // namespace
}  // namespace corda::tokenizer
