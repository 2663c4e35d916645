// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "corda/core/text.h"
#include "eval/python_text.h"
#include "eval/task.h"
#include "tokenizer/regex.h"

namespace corda::eval {

namespace {

using tokenizer::Match;
using tokenizer::Regex;

std::vector<Match> matches_of(const std::string& pattern, const std::string& text) {
  const Regex regex(pattern, "a task's pattern");
  tokenizer::RegexScratch scratch;
  std::vector<Match> found;
  regex.for_each_part(text, scratch, [&](std::size_t begin, std::size_t end, bool is_match) {
    if (is_match) found.push_back({begin, end});
  });
  return found;
}

std::string without(const std::string& pattern, const std::string& text) {
  std::string kept;
  std::size_t place = 0;
  for (const Match& match : matches_of(pattern, text)) {
    kept += text.substr(place, match.begin - place);
    place = match.end;
  }
  return kept + text.substr(place);
}

std::string comparable(const AnswerRule& rule, std::string text) {
  for (const std::string& pattern : rule.ignored) text = without(pattern, text);
  if (rule.ignores_case) text = lowered(text);
  if (rule.ignores_punctuation) text = without_punctuation(text);
  return text;
}

std::optional<double> number_in(std::string text) {
  return core::parse_double(replaced(std::move(text), ",", ""));
}

// The number or fraction in the text, rounded to an integer, halves to even.
std::optional<double> rounded(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) {
    const auto value = number_in(text);
    return value ? std::optional(std::nearbyint(*value)) : std::nullopt;
  }
  const auto above = number_in(text.substr(0, slash));
  const auto below = number_in(text.substr(slash + 1));
  if (!above || !below) return std::nullopt;
  return std::nearbyint(*below == 0 ? *above : *above / *below);
}

// What stands behind the last of the first mark that the text has, to the end of its line.
std::optional<std::string> answer_of_peft(const std::string& text) {
  const std::string whole = stripped(text);
  for (const std::string_view mark : {"The answer is: ", "The answer is ",
                                      "The final answer is: ", "The final answer is ", "#### "}) {
    const std::size_t place = whole.rfind(mark);
    if (place == std::string::npos) continue;
    std::string said = stripped(std::string_view(whole).substr(place + mark.size()));
    said = said.substr(0, said.find('\n'));
    constexpr const char* kAround = " .!?$%";
    const std::size_t begin = said.find_first_not_of(kAround);
    if (begin == std::string::npos) return "";
    return said.substr(begin, said.find_last_not_of(kAround) + 1 - begin);
  }
  return std::nullopt;
}

// A number or a fraction of two; commas are no part of either.
std::optional<double> plain_number(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return core::parse_double(stripped(text));
  const auto above = core::parse_double(stripped(text.substr(0, slash)));
  const auto below = core::parse_double(stripped(text.substr(slash + 1)));
  if (!above || !below || *below == 0) return std::nullopt;
  return *above / *below;
}

}  // namespace

std::string extracted(const AnswerRule& rule, const HarnessVersion& harness,
                      const std::string& answer) {
  if (!rule.extract.empty()) {
    const std::vector<Match> found = matches_of(rule.extract, answer);
    if (found.empty()) return "[invalid]";
    const Match match = rule.last ? found.back() : found.front();
    return stripped(std::string_view(answer).substr(match.begin, match.end - match.begin));
  }
  using Strip = HarnessVersion::Strip;
  if (rule.equal != nullptr) return answer;
  if (harness.strip == Strip::kBoth) return stripped(answer);
  const std::size_t front = harness.strip == Strip::kFront ? spaces_in_front(answer)
                                                           : (answer.starts_with(' ') ? 1U : 0U);
  return answer.substr(front);
}

bool is_right(const AnswerRule& rule, const std::string& extracted,
              const std::vector<std::string>& references) {
  const std::string mine = comparable(rule, extracted);
  return std::any_of(references.begin(), references.end(), [&](const std::string& reference) {
    return rule.equal != nullptr ? rule.equal(extracted, reference)
                                 : comparable(rule, reference) == mine;
  });
}

bool metamath_equal(const std::string& answer, const std::string& reference) {
  constexpr std::string_view kMark = "The answer is: ";
  constexpr std::string_view kGold = "#### ";
  const std::size_t mark = answer.rfind(kMark);
  const std::size_t gold = reference.rfind(kGold);
  if (mark == std::string::npos || gold == std::string::npos) return false;
  const std::string said = stripped(std::string_view(answer).substr(mark + kMark.size()));
  const std::vector<Match> numbers = matches_of("[-+]?\\d*[.,/]?\\d+", said);
  if (numbers.empty()) return false;
  const Match first = numbers.front();
  const auto value = rounded(said.substr(first.begin, first.end - first.begin));
  return value && value == number_in(stripped(reference.substr(gold + kGold.size())));
}

bool peft_equal(const std::string& answer, const std::string& reference) {
  const auto said = answer_of_peft(answer);
  const auto gold = answer_of_peft(reference);
  if (!said || !gold) return false;
  const auto value = plain_number(*said);
  const auto gold_value = plain_number(*gold);
  return value || gold_value ? value == gold_value : *said == *gold;
}

}  // namespace corda::eval
