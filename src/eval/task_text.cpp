// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/task_text.h"

#include <algorithm>
#include <array>
#include <utility>

#include "eval/python_text.h"

namespace corda::eval {

namespace {

// Removes brackets that close on their line, with what they hold.
std::string without_brackets(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '[') {
      const std::size_t close = text.find_first_of("]\n", i + 1);
      if (close != std::string::npos && text[close] == ']') {
        i = close;
        continue;
      }
    }
    result += text[i];
  }
  return result;
}

// Without white space behind `open` and before the `close` that follows.
std::string trimmed_inside(const std::string& text, char open, char close) {
  std::string result;
  std::size_t place = 0;
  while (true) {
    const std::size_t begin = text.find(open, place);
    const std::size_t end = begin == std::string::npos ? begin : text.find(close, begin + 1);
    if (end == std::string::npos) return result + text.substr(place);
    result += text.substr(place, begin + 1 - place);
    result += stripped(std::string_view(text).substr(begin + 1, end - begin - 1));
    result += close;
    place = end + 1;
  }
}

// The harness writes its own pattern in place of a digit here, which its scores contain.
std::string with_slashed_digits(std::string text) {
  for (std::size_t at = text.find("/' "); at != std::string::npos; at = text.find("/' ", at + 1)) {
    if (at + 4 < text.size() && text[at + 3] >= '0' && text[at + 3] <= '9' && text[at + 4] == '/')
      text.replace(at, 5, "/'[0-9]/");
  }
  return text;
}

}  // namespace

std::string hellaswag_text(const std::string& text) {
  return replaced(without_brackets(replaced(stripped(text), " [title]", ". ")), "  ", " ");
}

std::vector<std::string> shortest_answers(std::vector<std::string> answers) {
  std::sort(answers.begin(), answers.end());
  std::vector<std::string> kept;
  for (std::string& answer : answers) {
    if (kept.empty() || !answer.starts_with(kept.back())) kept.push_back(std::move(answer));
  }
  return kept;
}

std::string wikitext_page(const std::string& page) {
  using Change = std::pair<std::string_view, std::string_view>;
  constexpr std::array<Change, 9> kBefore = {{{" @-@ ", "-"},
                                              {" @,@ ", ","},
                                              {" @.@ ", "."},
                                              {" : ", ": "},
                                              {" ; ", "; "},
                                              {" . ", ". "},
                                              {" ! ", "! "},
                                              {" ? ", "? "},
                                              {" , ", ", "}}};
  constexpr std::array<Change, 8> kBehind = {{{"= = = =", "===="},
                                              {"= = =", "==="},
                                              {"= =", "=="},
                                              {" \u00b0 ", "\u00b0"},
                                              {" \n", "\n"},
                                              {"\n ", "\n"},
                                              {" N ", " 1 "},
                                              {" 's", "'s"}}};
  std::string text = with_slashed_digits(replaced(page, "s '", "s'"));
  for (const auto& [from, to] : kBefore) text = replaced(std::move(text), from, to);
  constexpr std::array<std::pair<char, char>, 5> kPairs = {
      {{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}}};
  for (const auto& [open, close] : kPairs) text = trimmed_inside(text, open, close);
  for (const auto& [from, to] : kBehind) text = replaced(std::move(text), from, to);
  return text;
}

std::vector<std::string> wikitext_pages(std::string_view text) {
  std::vector<std::string> pages;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end == std::string_view::npos ? end : end + 1);
    if (line.starts_with(" = ") && !line.starts_with(" = = ")) pages.emplace_back();
    if (!pages.empty()) pages.back() += line;
    text.remove_prefix(line.size());
  }
  return pages;
}

}  // namespace corda::eval
