// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "normalizer.h"

#include <algorithm>
#include <utility>

#include "byte_level.h"

namespace corda::tokenizer {

namespace {

// Replaces the text by `map(text)`, where `map` treats each character by itself, so that map(head)
// begins map(text).
template <typename Map>
void rewrite(Piece& piece, Scratch& scratch, Map map) {
  if (piece.at_beginning()) piece.first_bytes = map(piece.head()).size();
  piece.text = scratch.keep(map(piece.text));
}

class Unicode final : public Normalizer {
 public:
  explicit Unicode(NormalForm form) : form_(form) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    if (is_normal_at_sight(piece.text, form_)) return;
    const std::string out = normalize(piece.text, form_);
    if (piece.at_beginning()) {
      // Counts as many characters as before; the last of them may have taken up some that stood
      // behind it.
      std::size_t end = 0;
      for (std::int64_t n = count_characters(normalize(piece.head(), form_));
           n > 0 && end < out.size(); --n)
        end += utf8_length(out[end]);
      piece.first_bytes = end;
    }
    piece.text = scratch.keep(out);
  }

 private:
  NormalForm form_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(Piece& piece, Scratch& scratch) const override {
    rewrite(piece, scratch, [](std::string_view text) { return to_lower(text); });
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(Piece& piece, Scratch&) const override {
    std::size_t begin = 0;
    std::size_t end = 0;  // behind the last character that is no space
    bool leading = true;
    const std::string_view text = piece.text;
    for (std::size_t at = 0; at < text.size();) {
      const bool space = is_whitespace(next_code_point(text, at));
      if (space && leading) begin = at;
      if (!space) {
        leading = false;
        end = at;
      }
    }
    if (!left_) begin = 0;
    if (!right_ || end < begin) end = right_ ? begin : text.size();
    const Piece inner = piece.part(begin, end);
    piece.text = inner.text;
    piece.first_bytes = inner.first_bytes;
  }

 private:
  bool left_;
  bool right_;
};

class StripAccents final : public Normalizer {
 public:
  void apply(Piece& piece, Scratch& scratch) const override {
    rewrite(piece, scratch, [](std::string_view text) {
      std::string out;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        if (!is_mark(next_code_point(text, at))) out += text.substr(begin, at - begin);
      }
      return out;
    });
  }
};

// Collects a text in which parts are replaced: what is put in belongs to the character before its
// end.
class Replacement {
 public:
  Replacement(const Piece& piece, std::string_view content)
      : text_(piece.text), first_bytes_(piece.first_bytes), content_(content) {
    out_.reserve(text_.size() * 2);
  }
  void copy(std::size_t begin, std::size_t end) {
    out_ += text_.substr(begin, end - begin);
    if (begin < first_bytes_) first_out_ += std::min(end, first_bytes_) - begin;
  }
  // Puts the content in the place of what ends at `end`.
  void replace(std::size_t end, const Scratch& scratch) {
    scratch.require(out_.size() + content_.size());
    out_ += content_;
    if (end <= first_bytes_) first_out_ += content_.size();
  }
  void finish(Piece& piece, Scratch& scratch) {
    piece.text = scratch.keep(out_);
    piece.first_bytes = piece.from_beginning ? first_out_ : 0;
  }

 private:
  std::string_view text_;
  std::size_t first_bytes_;
  std::string_view content_;
  std::string out_;
  std::size_t first_out_ = 0;
};

class Replace final : public Normalizer {
 public:
  Replace(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    if (piece.text.empty()) return;
    Replacement replacement(piece, content_);
    pattern_.for_each_part(piece.text, scratch.regex,
                           [&](std::size_t begin, std::size_t end, bool is_match) {
                             if (is_match) {
                               replacement.replace(end, scratch);
                             } else {
                               replacement.copy(begin, end);
                             }
                           });
    replacement.finish(piece, scratch);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class ReplaceText final : public Normalizer {
 public:
  ReplaceText(std::string text, std::string content)
      : text_(std::move(text)), content_(std::move(content)) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    std::size_t at = piece.text.find(text_);
    if (at == std::string_view::npos) return;
    Replacement replacement(piece, content_);
    std::size_t done = 0;
    for (; at != std::string_view::npos; at = piece.text.find(text_, done)) {
      replacement.copy(done, at);
      done = at + text_.size();
      replacement.replace(done, scratch);
    }
    replacement.copy(done, piece.text.size());
    replacement.finish(piece, scratch);
  }

 private:
  std::string text_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    if (piece.text.empty()) return;
    std::string out;
    out.reserve(prefix_.size() + piece.text.size());
    out += prefix_;
    out += piece.text;
    piece.text = scratch.keep(out);
    if (piece.at_beginning()) piece.first_bytes += prefix_.size();
  }

 private:
  std::string prefix_;
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  void apply(Piece& piece, Scratch& scratch) const override {
    rewrite(piece, scratch, [](std::string_view text) { return bytes_to_chars(text); });
  }
};

class Bert final : public Normalizer {
 public:
  explicit Bert(BertOptions options) : options_(options) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    rewrite(piece, scratch, [this](std::string_view text) {
      std::string out = clean(text);
      if (options_.strip_accents) out = without_accents(normalize(out, NormalForm::kNfd));
      return options_.lowercase ? to_lower(out) : out;
    });
  }

 private:
  std::string clean(std::string_view text) const {
    std::string out;
    out.reserve(text.size() + 8);
    for (std::size_t at = 0; at < text.size();) {
      char32_t c = next_code_point(text, at);
      if (options_.clean_text && (c == 0xFFFD || is_control(c))) continue;
      if (options_.clean_text && is_whitespace(c)) c = U' ';
      const bool apart = options_.handle_chinese_chars && is_ideograph(c);
      if (apart) out += ' ';
      append_utf8(out, c);
      if (apart) out += ' ';
    }
    return out;
  }
  static std::string without_accents(const std::string& text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      if (!is_accent(next_code_point(text, at))) out.append(text, begin, at - begin);
    }
    return out;
  }

  BertOptions options_;
};

class Nmt final : public Normalizer {
 public:
  void apply(Piece& piece, Scratch& scratch) const override {
    rewrite(piece, scratch, [](std::string_view text) {
      std::string out;
      out.reserve(text.size());
      for (std::size_t at = 0; at < text.size();) {
        const char32_t c = next_code_point(text, at);
        if (!is_dropped(c)) append_utf8(out, is_space(c) ? U' ' : c);
      }
      return out;
    });
  }

 private:
  static bool is_dropped(char32_t c) {
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
           c == 0x9F;
  }
  static bool is_space(char32_t c) {
    return c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
  }
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<NormalizerPtr> parts) : parts_(std::move(parts)) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    for (const NormalizerPtr& part : parts_) part->apply(piece, scratch);
  }

 private:
  std::vector<NormalizerPtr> parts_;
};

}  // namespace

NormalizerPtr make_unicode_normalizer(NormalForm form) { return std::make_unique<Unicode>(form); }
NormalizerPtr make_lowercase() { return std::make_unique<Lowercase>(); }
NormalizerPtr make_strip(bool left, bool right) { return std::make_unique<Strip>(left, right); }
NormalizerPtr make_strip_accents() { return std::make_unique<StripAccents>(); }
NormalizerPtr make_replace(Regex pattern, std::string content) {
  return std::make_unique<Replace>(std::move(pattern), std::move(content));
}
NormalizerPtr make_replace_text(std::string text, std::string content) {
  return std::make_unique<ReplaceText>(std::move(text), std::move(content));
}
NormalizerPtr make_prepend(std::string prefix) {
  return std::make_unique<Prepend>(std::move(prefix));
}
NormalizerPtr make_byte_level_normalizer() { return std::make_unique<ByteLevelNormalizer>(); }
NormalizerPtr make_bert(BertOptions options) { return std::make_unique<Bert>(options); }
NormalizerPtr make_nmt() { return std::make_unique<Nmt>(); }
NormalizerPtr make_normalizer_sequence(std::vector<NormalizerPtr> parts) {
  return std::make_unique<Sequence>(std::move(parts));
}

}  // namespace corda::tokenizer
