// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <utility>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/tokenizer/tokenizer.h"
#include "core/json.h"
#include "data/byte_source.h"
#include "data/text_reader.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

struct TokenizeFlags {
  std::string model;
  std::string data;
  bool decode = false;
  bool no_special_tokens = false;
};

std::string encode_line(const tokenizer::Tokenizer& tokenizer, const std::string& line,
                        const TokenizeFlags& flags) {
  return core::Json(tokenizer.encode(line, {.add_special_tokens = !flags.no_special_tokens}))
      .dump();
}

std::string decode_line(const tokenizer::Tokenizer& tokenizer, const std::string& line,
                        const TokenizeFlags& flags, std::int64_t number, bool json) {
  const std::string where = core::concat(flags.data, ":", number);
  const core::Json ids = core::parse_json(line, flags.data, number);
  const auto is_id = [](const core::Json& id) {
    return id.is_number_integer() && std::in_range<tokenizer::TokenId>(id.get<std::int64_t>()) &&
           !(id.is_number_unsigned() && id.get<std::uint64_t>() > INT64_MAX);
  };
  if (!ids.is_array() || !std::all_of(ids.begin(), ids.end(), is_id))
    throw core::FormatError(core::concat(where, ": expected a JSON array of token ids"));
  const std::string text = tokenizer.decode(ids.get<std::vector<tokenizer::TokenId>>(),
                                            {.skip_special_tokens = flags.no_special_tokens});
  constexpr auto kReplace = core::Json::error_handler_t::replace;  // ids may cut a character
  return json ? core::Json(text).dump(-1, ' ', false, kReplace) : text;
}

// The lines of a text file, plain or gzip, without what other verbs take from a text too: a byte
// order mark and the carriage returns of line ends. Bytes that are no UTF-8 stay: how they are read
// is the tokenizer's business.
std::vector<std::string> lines_of(const std::string& path) {
  const auto source = data::unpack_if_compressed(data::open_file(path), path);
  std::string text;
  std::array<char, 65536> buffer;
  while (const std::size_t count = source->read(buffer.data(), buffer.size()))
    text.append(buffer.data(), count);
  data::check_not_wide(text, path);
  auto lines = core::split(data::without_byte_order_mark(text), '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (std::string& line : lines) {
    if (line.ends_with('\r')) line.pop_back();
  }
  return lines;
}

std::string one_file(const std::string& path) {
  const auto paths = paths_of(path, core::PathKind::kData);
  if (paths.size() > 1) {
    throw core::ConfigError(
        core::concat("'", path, "' stands for ", paths.size(), " files, and one is wanted here"));
  }
  return paths.front();
}

void tokenize(const TokenizeFlags& flags, const CommonFlags& common) {
  const ConsoleReporter reporter(common.quiet);
  const auto tokenizer = tokenizer::load_tokenizer(flags.model);
  std::int64_t number = 0;
  for (const auto& line : lines_of(flags.data)) {
    core::throw_if_stopped(reporter, "tokenizing");
    ++number;
    const std::string result = flags.decode
                                   ? decode_line(*tokenizer, line, flags, number, common.json)
                                   : encode_line(*tokenizer, line, flags);
    std::fwrite(result.data(), 1, result.size(), stdout);
    std::fputc('\n', stdout);
  }
}

}  // namespace

void add_tokenize(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb =
      app.add_subcommand("tokenize", "Lines of text to JSON arrays of token ids, and back.");
  const auto flags = std::make_shared<TokenizeFlags>();
  verb->add_option("--model", flags->model, "model directory with its tokenizer files")
      ->type_name("DIR")
      ->required();
  verb->add_option(
          "--data", flags->data,
          "text file (plain or gzip), one text a line; with --decode one JSON array of ids a line")
      ->type_name("FILE")
      ->required();
  verb->add_flag("--decode", flags->decode, "from ids to text; with --json one JSON string a line");
  verb->add_flag("--no-special-tokens", flags->no_special_tokens,
                 "add no BOS or EOS; with --decode leave special tokens out");
  verb->callback([flags, &common, &action] {
    action = [flags, &common] {
      flags->model = paths_of(flags->model, core::PathKind::kModel).front();
      flags->data = one_file(flags->data);
      tokenize(*flags, common);
    };
  });
}

}  // namespace corda::tools
