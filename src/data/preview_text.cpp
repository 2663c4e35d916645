// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A preview as text, JSON and HTML.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <span>
#include <string_view>
#include <system_error>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/preview.h"
#include "core/json.h"

namespace corda::data {

using core::concat;
using core::escape_html;
using core::Json;
namespace fs = std::filesystem;

namespace {

// Tokens [begin, end) that are all learnt or all not, and of one segment.
struct Run {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool learnt = false;
  bool new_segment = false;
  std::string text;
};

std::vector<Run> runs_of(const PreviewSample& shown, const tokenizer::Tokenizer& tokenizer) {
  const Sample& sample = shown.sample;
  std::vector<Run> runs;
  for (std::size_t t = 0; t < sample.ids.size(); ++t) {
    const bool border = std::find(shown.borders.begin(), shown.borders.end(),
                                  static_cast<std::int64_t>(t)) != shown.borders.end();
    const bool learnt = sample.supervised[t] != 0;
    if (runs.empty() || border || runs.back().learnt != learnt)
      runs.push_back({t, t, learnt, border && t > 0, {}});
    runs.back().end = t + 1;
  }
  // A run's text is what it adds to the text before it: some decoders look at the first token.
  std::string before;
  for (Run& run : runs) {
    const std::span<const TokenId> ids(sample.ids);
    std::string whole = tokenizer.decode(ids.first(run.end));
    run.text = whole.starts_with(before)
                   ? whole.substr(before.size())
                   : tokenizer.decode(ids.subspan(run.begin, run.end - run.begin));
    before = std::move(whole);
  }
  return runs;
}

// A token in one line: control characters written out.
std::string visible(const std::string& piece) {
  std::string out;
  for (const char c : piece) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += concat("\\x", "0123456789abcdef"[static_cast<unsigned char>(c) >> 4],
                    "0123456789abcdef"[c & 15]);
    } else {
      out += c;
    }
  }
  return out;
}

// Text for a terminal: no control character of the data reaches it but line feeds and tabs.
std::string harmless(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool control =
        (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    out += control ? visible(std::string(1, c)) : std::string(1, c);
  }
  return out;
}

std::int64_t learnt_of(const Sample& sample) {
  return std::count(sample.supervised.begin(), sample.supervised.end(), std::uint8_t{1});
}

std::string headline(const PreviewSample& shown) {
  const auto tokens = static_cast<std::int64_t>(shown.sample.ids.size());
  return concat("sample ", shown.index, " (", shown.place, "): ", tokens, " tokens, ",
                learnt_of(shown.sample), " supervised",
                tokens < shown.full_tokens ? concat(", cut from ", shown.full_tokens) : "");
}

std::string totals_of(const Preview& preview) {
  const EncodeCounts& c = preview.counts;
  return concat(c.samples, " samples of ", c.records, " records, ", c.tokens, " tokens, ",
                c.supervised, " supervised (",
                100 * c.supervised / std::max<std::int64_t>(c.tokens, 1), " %), ", c.truncated,
                " cut, ", c.dropped, " dropped, ", c.bad, " bad, ", c.with_end,
                " with an end token among the targets; template ", preview.template_used.name);
}

// dump() with what is no UTF-8 (a token may be half a character) replaced.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The beginning by which an earlier page is known, so that it may be replaced.
constexpr std::string_view kPageBegin =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>corda preview"
    "</title>\n";

bool is_page(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;  // to open a pipe would wait
  std::string begin(kPageBegin.size(), '\0');
  return std::ifstream(path, std::ios::binary).read(begin.data(), std::ssize(begin)) &&
         begin == kPageBegin;
}

// Whether `path`, which need not exist, would lie in `folder` or below it.
bool lies_in(const fs::path& path, const fs::path& folder) {
  std::error_code ignored;
  const fs::path below =
      fs::weakly_canonical(path, ignored).lexically_relative(fs::weakly_canonical(folder, ignored));
  return !below.empty() && *below.begin() != "..";
}

constexpr const char* kGreen = "\x1B[32m";
constexpr const char* kPlain = "\x1B[0m";

}  // namespace

std::string to_text(const Preview& preview, const tokenizer::Tokenizer& tokenizer, bool color) {
  std::string out;
  const std::string open = color ? kGreen : "«", close = color ? kPlain : "»";
  for (const auto& shown : preview.samples) {
    out += headline(shown) + "\n";
    const auto runs = runs_of(shown, tokenizer);
    for (const Run& run : runs) {
      if (run.new_segment) out += "|";
      out += run.learnt ? open + harmless(run.text) + close : harmless(run.text);
    }
    out += "\n";
    for (const Run& run : runs) {
      if (run.new_segment) out += "| ";
      if (run.learnt) out += open;
      for (std::size_t t = run.begin; t < run.end; ++t) {
        out += concat(t > run.begin ? " " : "", shown.sample.ids[t], ":", visible(shown.pieces[t]));
      }
      if (run.learnt) out += close;
      out += " ";
    }
    out += "\n\n";
  }
  out += totals_of(preview) + "\n";
  for (const auto& warning : preview.warnings) out += "warning: " + warning + "\n";
  return out;
}

std::string to_json(const Preview& preview, const tokenizer::Tokenizer& tokenizer) {
  Json samples = Json::array();
  for (const auto& shown : preview.samples) {
    samples.push_back({{"index", shown.index},
                       {"place", shown.place},
                       {"ids", shown.sample.ids},
                       {"pieces", shown.pieces},
                       {"supervised", shown.sample.supervised},
                       {"borders", shown.borders},
                       {"text", tokenizer.decode(shown.sample.ids)},
                       {"tokens_before_cutting", shown.full_tokens}});
  }
  const EncodeCounts& c = preview.counts;
  const Json totals = {
      {"records", c.records},
      {"samples", c.samples},
      {"tokens", c.tokens},
      {"supervised", c.supervised},
      {"supervised_share", static_cast<double>(c.supervised) /
                               static_cast<double>(std::max<std::int64_t>(c.tokens, 1))},
      {"truncated", c.truncated},
      {"dropped", c.dropped},
      {"bad", c.bad},
      {"all_prompt", c.without_targets},
      {"with_eos", c.with_end}};
  return dump({{"samples", std::move(samples)},
               {"totals", totals},
               {"template", preview.template_used.name},
               {"warnings", preview.warnings}});
}

void check_page_path(const fs::path& page, const PreviewSettings& settings) {
  const auto refuse = [&](const std::string& why) {
    throw core::ConfigError(concat("--html '", page.string(), "' ", why, "; write somewhere else"));
  };
  std::error_code ignored;
  for (const auto& data : settings.data) {
    if (fs::equivalent(page, data, ignored)) refuse("is a file of --data");
  }
  if (lies_in(page, settings.model)) refuse(concat("lies in --model '", settings.model, "'"));
  if (fs::exists(fs::symlink_status(page, ignored)) && !is_page(page))
    refuse("already exists and is no page of an earlier preview");
}

std::string to_html(const Preview& preview, const tokenizer::Tokenizer& tokenizer) {
  std::string out(kPageBegin);
  out +=
      "<style>body{font:15px sans-serif;max-width:60em;margin:2em auto}pre{white-space:pre-wrap;"
      "background:#f6f6f6;padding:1em}.y{background:#bfe8c0}.b{border-left:2px solid #c33}"
      "td{font-family:monospace;padding:0 .6em}</style></head><body>\n<h1>corda preview</h1>\n<p>" +
      escape_html(totals_of(preview)) + ". Green is learnt; a red line begins a segment.</p>\n";
  for (const auto& warning : preview.warnings)
    out += "<p><b>Warning:</b> " + escape_html(warning) + "</p>\n";
  for (const auto& shown : preview.samples) {
    out += "<h2>" + escape_html(headline(shown)) + "</h2>\n<pre>";
    const auto runs = runs_of(shown, tokenizer);
    for (const Run& run : runs) {
      out += concat("<span class=\"", run.learnt ? "y" : "", run.new_segment ? " b" : "", "\">",
                    escape_html(run.text), "</span>");
    }
    out += "</pre>\n<details><summary>tokens</summary><table>\n";
    for (const Run& run : runs) {
      for (std::size_t t = run.begin; t < run.end; ++t) {
        out += concat("<tr class=\"", run.learnt ? "y" : "", "\"><td>", t, "</td><td>",
                      shown.sample.ids[t], "</td><td>", escape_html(visible(shown.pieces[t])),
                      "</td></tr>\n");
      }
    }
    out += "</table></details>\n";
  }
  return out + "</body></html>\n";
}

}  // namespace corda::data
