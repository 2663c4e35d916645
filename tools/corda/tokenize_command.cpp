// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/tokenizer/tokenizer.h"
#include "core/json.h"

namespace corda::tools {

namespace {

struct TokenizeFlags {
  std::string model;
  std::string data;
  bool decode = false;
  bool no_special_tokens = false;
};

// A text as one line of JSON. A token may be part of a character: what is no UTF-8 becomes U+FFFD.
std::string json_line(const std::string& text) {
  return core::Json(text).dump(-1, ' ', false, core::Json::error_handler_t::replace);
}

std::string encode_line(const tokenizer::Tokenizer& tokenizer, const std::string& line,
                        const TokenizeFlags& flags) {
  return core::Json(tokenizer.encode(line, {.add_special_tokens = !flags.no_special_tokens}))
      .dump();
}

std::string decode_line(const tokenizer::Tokenizer& tokenizer, const std::string& line,
                        const TokenizeFlags& flags, std::int64_t number) {
  const core::Json ids = core::parse_json(line, flags.data, number);
  const auto is_id = [](const core::Json& id) {
    return id.is_number_integer() && std::in_range<tokenizer::TokenId>(id.get<std::int64_t>()) &&
           !(id.is_number_unsigned() && id.get<std::uint64_t>() > INT64_MAX);
  };
  if (!ids.is_array() || !std::all_of(ids.begin(), ids.end(), is_id))
    throw core::FormatError(
        core::concat(flags.data, ":", number, ": expected a JSON array of token ids"));
  return tokenizer.decode(ids.get<std::vector<tokenizer::TokenId>>(),
                          {.skip_special_tokens = flags.no_special_tokens});
}

// With --json a decoded text is a JSON string; ids are JSON anyway.
void tokenize(const TokenizeFlags& flags, bool json, const core::Reporter& reporter) {
  const auto tokenizer = tokenizer::load_tokenizer(flags.model);
  auto lines = core::split(core::read_file(flags.data), '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  std::int64_t number = 0;
  for (const auto& line : lines) {
    core::throw_if_stopped(reporter, "tokenizing");
    ++number;
    std::string result = flags.decode ? decode_line(*tokenizer, line, flags, number)
                                      : encode_line(*tokenizer, line, flags);
    if (flags.decode && json) result = json_line(result);
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
  verb->add_option("--data", flags->data,
                   "text file, one text a line; with --decode one JSON array of ids a line")
      ->type_name("FILE")
      ->required();
  verb->add_flag("--decode", flags->decode, "from ids to text; with --json a JSON string a line");
  verb->add_flag("--no-special-tokens", flags->no_special_tokens,
                 "add no BOS or EOS; with --decode leave special tokens out");
  verb->callback([flags, &common, &action] {
    action = [flags, &common] { tokenize(*flags, common.json, ConsoleReporter(common.quiet)); };
  });
}

}  // namespace corda::tools
