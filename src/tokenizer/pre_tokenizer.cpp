// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "byte_level.h"
#include "unicode.h"
#include "unicode_scripts.h"

namespace corda::tokenizer {

namespace {

// Receives the parts of one piece, delimiters and others in turn, and appends the words they make.
class Cutter {
 public:
  Cutter(const Piece& piece, SplitBehavior behavior, std::vector<Piece>& out)
      : piece_(piece), behavior_(behavior), out_(out), first_(out.size()) {}

  void part(std::size_t begin, std::size_t end, bool is_delimiter) {
    switch (behavior_) {
      case SplitBehavior::kRemoved:
        if (!is_delimiter) emit(begin, end);
        break;
      case SplitBehavior::kIsolated:
        emit(begin, end);
        break;
      case SplitBehavior::kContiguous:
        join_if(is_delimiter == was_delimiter_, begin, end);
        break;
      case SplitBehavior::kMergedWithPrevious:
        join_if(is_delimiter && !was_delimiter_, begin, end);
        break;
      case SplitBehavior::kMergedWithNext:
        merge_with_next(begin, end, is_delimiter);
        break;
    }
    was_delimiter_ = is_delimiter;
  }

  // Removes words that stayed empty (a pattern may match nothing); they matter until here, as
  // neighbours.
  void finish() {
    if (empty_ == 0) return;
    const auto begin = out_.begin() + static_cast<std::ptrdiff_t>(first_);
    out_.erase(
        std::remove_if(begin, out_.end(), [](const Piece& word) { return word.text.empty(); }),
        out_.end());
  }

 private:
  void emit(std::size_t begin, std::size_t end) {
    out_.push_back(piece_.part(begin, end));
    if (begin == end) ++empty_;
  }
  void join_if(bool join, std::size_t begin, std::size_t end) {
    if (!join || out_.size() == first_) return emit(begin, end);
    grow(end - begin);
  }
  void grow(std::size_t size) {
    std::string_view& text = out_.back().text;
    text = {text.data(), text.size() + size};
  }
  // Works from the right: a delimiter joins what is on its right, unless that is a delimiter.
  void merge_with_next(std::size_t begin, std::size_t end, bool is_delimiter) {
    if (!is_delimiter && was_delimiter_ && out_.size() != first_) return grow(end - begin);
    emit(begin, end);
  }

  const Piece& piece_;
  SplitBehavior behavior_;
  std::vector<Piece>& out_;
  std::size_t first_;
  bool was_delimiter_ = false;
  std::size_t empty_ = 0;
};

class Split final : public PreTokenizer {
 public:
  Split(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(Scratch& scratch) const override {
    for_each_text(scratch, [&](const Piece& piece, std::vector<Piece>& out) {
      Cutter cutter(piece, behavior_, out);
      pattern_.for_each_part(piece.text, scratch.regex,
                             [&](std::size_t begin, std::size_t end, bool is_match) {
                               cutter.part(begin, end, is_match != invert_);
                             });
      cutter.finish();
    });
  }

 private:
  Regex pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Cuts where single characters have a property.
class CharSplit final : public PreTokenizer {
 public:
  using Test = bool (*)(char32_t);
  CharSplit(Test test, SplitBehavior behavior) : test_(test), behavior_(behavior) {}
  void split(Scratch& scratch) const override {
    for_each_text(scratch, [&](const Piece& piece, std::vector<Piece>& out) {
      Cutter cutter(piece, behavior_, out);
      std::size_t done = 0;
      for (std::size_t at = 0; at < piece.text.size();) {
        const std::size_t begin = at;
        if (!test_(next_code_point(piece.text, at))) continue;
        if (done < begin) cutter.part(done, begin, false);
        cutter.part(begin, at, true);
        done = at;
      }
      if (done < piece.text.size()) cutter.part(done, piece.text.size(), false);
    });
  }

 private:
  Test test_;
  SplitBehavior behavior_;
};

class ByteLevel final : public PreTokenizer {
 public:
  explicit ByteLevel(ByteLevelOptions options)
      : options_(options),
        pattern_(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                 "ByteLevel") {}

  void split(Scratch& scratch) const override {
    if (options_.add_prefix_space) {
      for (Piece& piece : scratch.pieces) {
        if (piece.id >= 0 || piece.text.starts_with(' ')) continue;
        piece.text = scratch.keep(" " + std::string(piece.text));
        if (piece.at_beginning()) ++piece.first_bytes;
      }
    }
    if (options_.use_regex) {
      for_each_text(scratch, [&](const Piece& piece, std::vector<Piece>& out) {
        Cutter cutter(piece, SplitBehavior::kIsolated, out);
        pattern_.for_each_part(piece.text, scratch.regex,
                               [&](std::size_t begin, std::size_t end, bool is_match) {
                                 cutter.part(begin, end, is_match);
                               });
      });
    }
    if (options_.keep_bytes) return;
    for (Piece& piece : scratch.pieces) {
      if (piece.id >= 0) continue;
      if (piece.at_beginning()) piece.first_bytes = bytes_to_chars(piece.head()).size();
      piece.text = scratch.keep(bytes_to_chars(piece.text));
    }
  }

 private:
  ByteLevelOptions options_;
  Regex pattern_;
};

class Metaspace final : public PreTokenizer {
 public:
  Metaspace(std::string replacement, PrependScheme prepend, bool split)
      : replacement_(std::move(replacement)), prepend_(prepend), split_(split) {}

  void split(Scratch& scratch) const override {
    for_each_text(scratch, [&](Piece piece, std::vector<Piece>& out) {
      std::string text = with_replacements(piece.text);
      if (piece.at_beginning()) piece.first_bytes = with_replacements(piece.head()).size();
      const bool wanted = prepend_ == PrependScheme::kAlways ||
                          (prepend_ == PrependScheme::kFirst && piece.at_beginning());
      if (wanted && !text.starts_with(replacement_)) {
        text.insert(0, replacement_);
        if (piece.at_beginning()) piece.first_bytes += replacement_.size();
      }
      piece.text = scratch.keep(text);
      if (!split_) {
        out.push_back(piece);
        return;
      }
      cut(piece, out);
    });
  }

 private:
  std::string with_replacements(std::string_view text) const {
    std::string out;
    out.reserve(text.size() * 2);
    for (const char c : text) {
      if (c == ' ') {
        out += replacement_;
      } else {
        out += c;
      }
    }
    return out;
  }
  void cut(const Piece& piece, std::vector<Piece>& out) const {
    Cutter cutter(piece, SplitBehavior::kMergedWithNext, out);
    const std::string_view text = piece.text;
    std::size_t done = 0;
    for (std::size_t at = text.find(replacement_); at != std::string_view::npos;
         at = text.find(replacement_, done)) {
      if (done < at) cutter.part(done, at, false);
      done = at + replacement_.size();
      cutter.part(at, done, true);
    }
    if (done < text.size()) cutter.part(done, text.size(), false);
  }

  std::string replacement_;
  PrependScheme prepend_;
  bool split_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<PreTokenizerPtr> parts) : parts_(std::move(parts)) {}
  void split(Scratch& scratch) const override {
    for (const PreTokenizerPtr& part : parts_) part->split(scratch);
  }

 private:
  std::vector<PreTokenizerPtr> parts_;
};

// Makes words of runs of word characters, and of runs of what is neither that nor white space.
class Whitespace final : public PreTokenizer {
 public:
  void split(Scratch& scratch) const override {
    enum class Kind { kSpace, kWord, kOther };
    for_each_text(scratch, [&](const Piece& piece, std::vector<Piece>& out) {
      Cutter cutter(piece, SplitBehavior::kRemoved, out);
      Kind kind = Kind::kSpace;
      std::size_t done = 0;
      for (std::size_t at = 0; at < piece.text.size();) {
        const std::size_t begin = at;
        const char32_t c = next_code_point(piece.text, at);
        const Kind next = is_word(c) || c == 0x200C || c == 0x200D ? Kind::kWord
                          : is_whitespace(c)                       ? Kind::kSpace
                                                                   : Kind::kOther;
        if (next == kind) continue;
        if (done < begin) cutter.part(done, begin, kind == Kind::kSpace);
        done = begin;
        kind = next;
      }
      if (done < piece.text.size()) cutter.part(done, piece.text.size(), kind == Kind::kSpace);
    });
  }
};

// Cuts where the writing system changes; characters of no script of their own go with what is
// before them, and are dropped where nothing is.
class UnicodeScripts final : public PreTokenizer {
 public:
  void split(Scratch& scratch) const override {
    for_each_text(scratch, [](const Piece& piece, std::vector<Piece>& out) {
      Cutter cutter(piece, SplitBehavior::kIsolated, out);
      int script = kNoScript;
      std::size_t done = 0;
      for (std::size_t at = 0; at < piece.text.size();) {
        const std::size_t begin = at;
        const int next = script_class(next_code_point(piece.text, at));
        if (next == kNoScript || next == script) continue;
        if (script != kNoScript) cutter.part(done, begin, true);
        done = begin;
        script = next;
      }
      if (script != kNoScript) cutter.part(done, piece.text.size(), true);
    });
  }
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(std::int64_t length) : length_(length) {}
  void split(Scratch& scratch) const override {
    for_each_text(scratch, [&](const Piece& piece, std::vector<Piece>& out) {
      Cutter cutter(piece, SplitBehavior::kIsolated, out);
      for (std::size_t at = 0; at < piece.text.size();) {
        const std::size_t begin = at;
        for (std::int64_t i = 0; i < length_ && at < piece.text.size(); ++i)
          at += utf8_length(piece.text[at]);
        cutter.part(begin, at, true);
      }
    });
  }

 private:
  std::int64_t length_;
};

}  // namespace

PreTokenizerPtr make_split(Regex pattern, SplitBehavior behavior, bool invert) {
  return std::make_unique<Split>(std::move(pattern), behavior, invert);
}
PreTokenizerPtr make_byte_level(ByteLevelOptions options) {
  return std::make_unique<ByteLevel>(options);
}
PreTokenizerPtr make_metaspace(std::string replacement, PrependScheme prepend, bool split) {
  return std::make_unique<Metaspace>(std::move(replacement), prepend, split);
}
PreTokenizerPtr make_whitespace() { return std::make_unique<Whitespace>(); }
PreTokenizerPtr make_whitespace_split() {
  return std::make_unique<CharSplit>(&is_whitespace, SplitBehavior::kRemoved);
}
PreTokenizerPtr make_digits(bool individual) {
  return std::make_unique<CharSplit>(
      &is_numeric, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
}
PreTokenizerPtr make_punctuation(SplitBehavior behavior) {
  return std::make_unique<CharSplit>(&is_punctuation, behavior);
}
PreTokenizerPtr make_bert_pre_tokenizer() {
  std::vector<PreTokenizerPtr> parts;
  parts.push_back(make_whitespace_split());
  parts.push_back(make_punctuation(SplitBehavior::kIsolated));
  return make_pre_tokenizer_sequence(std::move(parts));
}
PreTokenizerPtr make_char_delimiter_split(char32_t delimiter) {
  std::string text;
  append_utf8(text, delimiter);
  return make_split(Regex::literal(text, "CharDelimiterSplit"), SplitBehavior::kRemoved, false);
}
PreTokenizerPtr make_unicode_scripts() { return std::make_unique<UnicodeScripts>(); }
PreTokenizerPtr make_fixed_length(std::int64_t length) {
  return std::make_unique<FixedLength>(length);
}
PreTokenizerPtr make_pre_tokenizer_sequence(std::vector<PreTokenizerPtr> parts) {
  return std::make_unique<Sequence>(std::move(parts));
}

}  // namespace corda::tokenizer
