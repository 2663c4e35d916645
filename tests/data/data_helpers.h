// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A tokenizer whose ids can be read by eye, and files that clean up.
#pragma once

#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "corda/core/error.h"
#include "corda/tokenizer/tokenizer.h"
#include "support/captured_log.h"

namespace corda::data {

// A tokenizer in which each byte is its own id (0 to 255); "<s>" is 1001 and "</s>" 1002 where
// special tokens are recognised.
class ByteTokenizer : public tokenizer::Tokenizer {
 public:
  ByteTokenizer() {
    bos_id = 1001;
    eos_id = 1002;
    prefix = {1001};
  }
  std::vector<tokenizer::TokenId> encode(std::string_view text,
                                         tokenizer::EncodeOptions options) const override {
    segments.emplace_back(text);
    std::vector<tokenizer::TokenId> ids;
    if (options.add_special_tokens) ids.push_back(1001);
    while (!text.empty()) {
      const bool bos = options.parse_special && text.starts_with("<s>");
      const bool eos = options.parse_special && text.starts_with("</s>");
      ids.push_back(bos ? 1001 : eos ? 1002 : static_cast<unsigned char>(text.front()));
      text.remove_prefix(bos ? 3 : eos ? 4 : 1);
    }
    return ids;
  }
  std::string decode(std::span<const tokenizer::TokenId> ids,
                     tokenizer::DecodeOptions) const override {
    std::string text;
    for (const auto id : ids)
      text += id == 1001 ? "[BOS]" : id == 1002 ? "[EOS]" : std::string(1, static_cast<char>(id));
    return text;
  }
  std::int64_t vocab_size() const override { return 1003; }
  std::optional<tokenizer::TokenId> token_to_id(std::string_view) const override {
    return std::nullopt;
  }
  std::string id_to_token(tokenizer::TokenId) const override { return {}; }
  bool is_special(tokenizer::TokenId id) const override { return id > 1000; }

  mutable std::vector<std::string> segments;
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "corda-data-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string gzip(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, content.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

// The message of the error of type `Expected` that `action` throws; otherwise what happened
// instead.
template <typename Expected, typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Expected& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another type of error: ") + error.what();
  }
  return "no error";
}

}  // namespace corda::data
