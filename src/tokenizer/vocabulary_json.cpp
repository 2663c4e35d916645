// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "vocabulary_json.h"

#include <algorithm>
#include <unordered_set>

#include "corda/core/error.h"
#include "quick_decimal.h"

namespace corda::tokenizer {

namespace {

using core::Json;

constexpr std::size_t kMaxDepth = 512;

// Builds the tree event by event and sends the two long lists elsewhere.
class Handler final : public nlohmann::json_sax<Json> {
 public:
  Handler(TokenizerJson& out, const std::string& source, std::string_view text,
          bool vocabulary_only)
      : out_(out), source_(source), text_(text), vocabulary_only_(vocabulary_only) {}

  bool null() override { return value(Json(nullptr), "null"); }
  bool boolean(bool v) override { return value(Json(v), "a boolean"); }
  bool number_integer(number_integer_t v) override { return number(v, Json(v)); }
  bool number_unsigned(number_unsigned_t v) override {
    return number(v > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(v), Json(v));
  }
  bool number_float(number_float_t, const string_t& written) override {
    return value(Json(quick_decimal(written)), "a number with a fraction");
  }
  bool binary(binary_t&) override { return false; }

  bool string(string_t& v) override {
    if (mode_ == Mode::kMerges) {
      out_.merges.push_back(split_merge(v, source_));
      return true;
    }
    if (mode_ == Mode::kMergePair) {
      pair_.push_back(std::move(v));
      return true;
    }
    return value(Json(std::move(v)), "a text");
  }

  bool start_object(std::size_t) override {
    if (mode_ != Mode::kTree) misplaced("an object");
    if (starts_list("vocab") || (vocabulary_only_ && stack_.empty())) {
      mode_ = Mode::kVocabulary;
      out_.has_vocabulary = true;
      return true;
    }
    return open(Json::object());
  }
  bool key(string_t& v) override {
    if (mode_ == Mode::kVocabulary) {
      key_ = std::move(v);
      return true;
    }
    if (!keys_.back().insert(v).second)
      fail(core::concat("the JSON key '", v, "' stands twice in one object"));
    key_ = std::move(v);
    return true;
  }
  bool end_object() override {
    if (mode_ == Mode::kVocabulary) {
      mode_ = Mode::kTree;
    } else {
      close();
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (mode_ == Mode::kMerges) {
      mode_ = Mode::kMergePair;
      pair_.clear();
      return true;
    }
    if (mode_ != Mode::kTree) misplaced("a list");
    if (starts_list("merges")) {
      mode_ = Mode::kMerges;
      out_.has_merges = true;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (mode_ == Mode::kMergePair) {
      if (pair_.size() != 2)
        fail(core::concat("the merge ", out_.merges.size(), " has ", pair_.size(),
                          " parts instead of 2"));
      out_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      mode_ = Mode::kMerges;
    } else if (mode_ == Mode::kMerges) {
      mode_ = Mode::kTree;
    } else {
      close();
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    const std::string_view before =
        text_.substr(0, std::min(position == 0 ? 0 : position - 1, text_.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const std::size_t newline = before.rfind('\n');
    const std::size_t column =
        newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
    const std::string what = error.what();
    const std::size_t reason = what.find(": ");
    throw core::FormatError(core::concat(
        source_, ":", line, ":", column,
        ": not valid JSON: ", what.substr(reason == std::string::npos ? 0 : reason + 2, 300)));
  }

 private:
  enum class Mode { kTree, kVocabulary, kMerges, kMergePair };

  [[noreturn]] void fail(const std::string& reason) const {
    throw core::FormatError(core::concat(source_, ": ", reason));
  }
  [[noreturn]] void misplaced(const char* what) const {
    if (mode_ == Mode::kVocabulary)
      fail(core::concat("the token '", key_, "' must have an integer id, found ", what));
    fail(core::concat("the merge ", out_.merges.size(), " must be 'a b' or [\"a\", \"b\"], found ",
                      what));
  }
  bool starts_list(std::string_view name) const {
    return !vocabulary_only_ && stack_.size() == 2 && path_.back() == "model" &&
           stack_.back()->is_object() && key_ == name;
  }

  bool number(std::int64_t v, Json json) {
    if (mode_ != Mode::kVocabulary) return value(std::move(json), "a number");
    out_.vocabulary.emplace_back(std::move(key_), v);
    return true;
  }
  bool value(Json json, const char* what) {
    if (mode_ != Mode::kTree) misplaced(what);
    if (vocabulary_only_) fail(core::concat("expected an object from tokens to ids, found ", what));
    insert(std::move(json));
    return true;
  }
  Json* insert(Json json) {
    if (stack_.empty()) {
      out_.rest = std::move(json);
      return &out_.rest;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) return &parent.emplace_back(std::move(json));
    // The member goes straight to the end: the ordered map would first search for the key, which
    // `key` has done.
    auto& members = static_cast<Json::object_t::Container&>(parent.get_ref<Json::object_t&>());
    members.emplace_back(key_, std::move(json));
    return &members.back().second;
  }
  bool open(Json json) {
    if (vocabulary_only_) fail("expected an object from tokens to ids, found a list");
    if (stack_.size() >= kMaxDepth)
      fail(core::concat("JSON nested deeper than ", kMaxDepth, " levels"));
    path_.push_back(stack_.empty() || stack_.back()->is_array() ? std::string() : key_);
    keys_.emplace_back();
    stack_.push_back(insert(std::move(json)));
    return true;
  }
  void close() {
    stack_.pop_back();
    path_.pop_back();
    keys_.pop_back();
  }

  TokenizerJson& out_;
  const std::string& source_;
  std::string_view text_;
  bool vocabulary_only_;
  Mode mode_ = Mode::kTree;
  std::vector<Json*>
      stack_;  // open objects and lists; a parent does not grow while its child is open
  std::vector<std::string> path_;  // the key of each
  std::vector<std::unordered_set<std::string>> keys_;
  std::string key_;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text, const std::string& source) {
  TokenizerJson out;
  Handler handler(out, source, text, false);
  Json::sax_parse(text.begin(), text.end(), &handler);
  return out;
}

std::vector<Vocabulary::Entry> parse_vocabulary_json(std::string_view text,
                                                     const std::string& source) {
  TokenizerJson out;
  Handler handler(out, source, text, true);
  Json::sax_parse(text.begin(), text.end(), &handler);
  return std::move(out.vocabulary);
}

std::pair<std::string, std::string> split_merge(std::string_view merge, const std::string& source) {
  const std::size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    throw core::FormatError(core::concat(source, ": the merge '", merge,
                                         "' must be two tokens with one space between them"));
  }
  return {std::string(merge.substr(0, space)), std::string(merge.substr(space + 1))};
}

}  // namespace corda::tokenizer
