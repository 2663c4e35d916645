// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Real vocabularies, where the data folder is there: hashes of the ids that Hugging Face gives.
#include <zlib.h>

#include <algorithm>
#include <array>

#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "corda/tokenizer/tokenizer.h"
#include "golden.h"
#include "support/data_folder.h"
#include "tokenizer/unicode.h"

namespace corda::tokenizer {
namespace {

using core::Json;

std::string unpack(const fs::path& path) {
  const gzFile file = gzopen(path.c_str(), "rb");  // reads plain files too
  if (file == nullptr) throw std::runtime_error("cannot open " + path.string());
  std::string content;
  std::array<char, 1 << 16> buffer{};
  for (int got = 0; (got = gzread(file, buffer.data(), buffer.size())) > 0;)
    content.append(buffer.data(), static_cast<std::size_t>(got));
  gzclose(file);
  return content;
}

// splitmix64, as in scripts/golden/tokenizer.py.
class Generator {
 public:
  std::uint64_t below(std::uint64_t bound) {
    state_ += 0x9E3779B97F4A7C15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return (z ^ (z >> 31)) % bound;
  }

 private:
  std::uint64_t state_ = 7;
};

std::vector<std::string> generated_texts(std::size_t count) {
  constexpr std::array<std::array<char32_t, 2>, 16> kBlocks{{{0x20, 0x7E},
                                                             {0x20, 0x7E},
                                                             {0x00, 0x1F},
                                                             {0xA0, 0x24F},
                                                             {0x300, 0x36F},
                                                             {0x391, 0x3A1},
                                                             {0x410, 0x44F},
                                                             {0x5D0, 0x5EA},
                                                             {0x621, 0x64A},
                                                             {0x904, 0x939},
                                                             {0x2010, 0x2027},
                                                             {0x2190, 0x22FF},
                                                             {0x3041, 0x3096},
                                                             {0x4E00, 0x9FA5},
                                                             {0xAC00, 0xD7A3},
                                                             {0x1F300, 0x1F64F}}};
  const std::vector<std::string> specials{
      "<s>",  "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|user|>",
      "\n\n", "    ", "'s",    "'LL",           " 2024",        "\r\n",       "\u2581"};
  Generator random;
  std::vector<std::string> texts;
  while (texts.size() < count) {
    std::string text;
    for (std::uint64_t parts = 1 + random.below(24); parts > 0; --parts) {
      const std::uint64_t kind = random.below(6);
      if (kind == 0) {
        text += specials[random.below(specials.size())];
      } else if (kind == 1) {
        text.append(1 + random.below(9), ' ');
      } else {
        const auto& [low, high] = kBlocks[random.below(kBlocks.size())];
        for (std::uint64_t n = 1 + random.below(8); n > 0; --n)
          append_utf8(text, low + static_cast<char32_t>(random.below(high - low + 1)));
      }
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

std::vector<std::string> dataset_lines(const Json& golden) {
  std::vector<std::string> lines;
  const auto limit = golden.at("lines_per_dataset").get<std::size_t>();
  for (const Json& name : golden.at("datasets")) {
    std::vector<std::string> all =
        core::split(unpack(testing::data_folder() / "datasets" / name.get<std::string>()), '\n');
    lines.insert(lines.end(), all.begin(),
                 all.begin() + static_cast<std::ptrdiff_t>(std::min(limit, all.size())));
  }
  return lines;
}

// The hash of all ids, each sequence ended by -1, and their number.
std::pair<std::string, std::size_t> hash_of(const Tokenizer& tokenizer,
                                            const std::vector<std::string>& texts,
                                            EncodeOptions options = {}) {
  core::Sha256 hash;
  std::size_t count = 0;
  for (const std::string& text : texts) {
    std::vector<TokenId> ids = tokenizer.encode(text, options);
    count += ids.size();
    ids.push_back(-1);
    hash.update(std::as_bytes(std::span(ids)));
  }
  return {hash.hex_digest(), count};
}

class RealVocabularies : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(testing::data_folder() / "tokenizers"))
      GTEST_SKIP() << "no data folder at " << testing::data_folder() << " (set CORDA_SHARED)";
  }
};

TEST_F(RealVocabularies, IdsMatchHuggingFace) {
  const Json golden = golden_json("real.json");
  const std::vector<std::string> texts = generated_texts(golden.at("texts").get<std::size_t>());
  ASSERT_EQ(core::Sha256().update(core::join(texts, std::string_view("\0", 1))).hex_digest(),
            golden.at("texts_sha256").get<std::string>());
  const std::vector<std::string> lines = dataset_lines(golden);
  ASSERT_EQ(lines.size(), golden.at("lines").get<std::size_t>());
  ASSERT_EQ(golden.at("tokenizers").size(), 9U);
  for (const auto& [name, expected] : golden.at("tokenizers").items()) {
    const TemporaryFolder folder;
    for (const auto& [target, origin] : expected.at("files").items()) {
      folder.write(target,
                   unpack(testing::data_folder() / "tokenizers" / origin.get<std::string>()));
    }
    const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder.path());
    EXPECT_EQ(hash_of(*tokenizer, texts).first, expected.at("generated").get<std::string>())
        << name;
    EXPECT_EQ(hash_of(*tokenizer, texts, {.parse_special = false}).first,
              expected.at("generated_plain").get<std::string>())
        << name;
    const auto [hash, count] = hash_of(*tokenizer, lines);
    EXPECT_EQ(count, expected.at("dataset_tokens").get<std::size_t>()) << name;
    EXPECT_EQ(hash, expected.at("datasets").get<std::string>()) << name;
    std::vector<std::string> decoded;
    for (const std::string& text : texts)
      decoded.push_back(tokenizer->decode(tokenizer->encode(text)));
    EXPECT_EQ(core::Sha256().update(core::join(decoded, std::string_view("\0", 1))).hex_digest(),
              expected.at("decoded").get<std::string>())
        << name;
  }
}

}  // namespace
}  // namespace corda::tokenizer
