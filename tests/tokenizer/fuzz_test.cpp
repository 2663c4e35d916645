// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Damaged tokenizer files end in an error of ours or in a tokenizer that works. CORDA_FUZZ_ROUNDS
// sets how many are tried.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/random.h"
#include "corda/tokenizer/tokenizer.h"
#include "support/fuzz_rounds.h"

namespace corda::tokenizer {
namespace {

// Tries `rounds` damaged copies of `files` under the name `name`; how many could be loaded.
int load_damaged(const std::vector<std::string>& files, const char* name, int rounds) {
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
    std::ofstream(folder / name, std::ios::binary) << text;
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
  return loaded;
}

// The files NAME of all folders in `folder` of the goldens.
std::vector<std::string> golden_files(const char* folder, const char* name) {
  std::vector<std::string> files;
  const auto goldens = std::filesystem::path(CORDA_SOURCE_DIR) / "tests/golden/tokenizer";
  for (const auto& entry : std::filesystem::directory_iterator(goldens / folder)) {
    if (entry.is_directory()) files.push_back(core::read_file(entry.path() / name));
  }
  return files;
}

TEST(Fuzz, DamagedTokenizersLoadOrFailCleanly) {
  const int rounds = testing::fuzz_rounds(300);
  const std::vector<std::string> files = golden_files("small", "tokenizer.json");
  ASSERT_EQ(files.size(), 16U);
  EXPECT_GT(load_damaged(files, "tokenizer.json", rounds), rounds / 50);
}

TEST(Fuzz, DamagedSentencePieceModelsLoadOrFailCleanly) {
  const int rounds = testing::fuzz_rounds(300);
  const std::vector<std::string> files = golden_files("sentencepiece_options", "tokenizer.model");
  ASSERT_EQ(files.size(), 8U);
  EXPECT_GT(load_damaged(files, "tokenizer.model", rounds), rounds / 50);
}

}  // namespace
}  // namespace corda::tokenizer
