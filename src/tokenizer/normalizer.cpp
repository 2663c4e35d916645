// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "normalizer.h"

#include <utility>

#include "byte_level.h"

namespace corda::tokenizer {

namespace {

class Unicode final : public Normalizer {
 public:
  explicit Unicode(NormalForm form) : form_(form) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    if (!is_normal_at_sight(piece.text, form_))
      piece.text = scratch.keep(normalize(piece.text, form_));
  }

 private:
  NormalForm form_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(Piece& piece, Scratch& scratch) const override {
    piece.text = scratch.keep(to_lower(piece.text));
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
    if (begin > 0) piece.at_beginning = false;
    piece.text = text.substr(begin, end - begin);
  }

 private:
  bool left_;
  bool right_;
};

class StripAccents final : public Normalizer {
 public:
  void apply(Piece& piece, Scratch& scratch) const override {
    std::string out;
    for (std::size_t at = 0; at < piece.text.size();) {
      const std::size_t begin = at;
      if (!is_mark(next_code_point(piece.text, at))) {
        out += piece.text.substr(begin, at - begin);
      } else if (begin == 0) {
        piece.at_beginning = false;
      }
    }
    if (out.size() != piece.text.size()) piece.text = scratch.keep(out);
  }
};

class Replace final : public Normalizer {
 public:
  Replace(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    std::string out;
    const std::string_view text = piece.text;
    if (text.empty()) return;
    pattern_.for_each_part(text, scratch.regex,
                           [&](std::size_t begin, std::size_t end, bool is_match) {
                             if (is_match) {
                               out += content_;
                               if (begin == 0 && end > 0 && content_.empty())
                                 piece.at_beginning = false;
                             } else {
                               out += text.substr(begin, end - begin);
                             }
                           });
    piece.text = scratch.keep(out);
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
    if (at == 0 && content_.empty()) piece.at_beginning = false;
    std::string out;
    out.reserve(piece.text.size() * 2);
    std::size_t done = 0;
    for (; at != std::string_view::npos; at = piece.text.find(text_, done)) {
      out += piece.text.substr(done, at - done);
      out += content_;
      done = at + text_.size();
    }
    out += piece.text.substr(done);
    piece.text = scratch.keep(out);
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
  }

 private:
  std::string prefix_;
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  void apply(Piece& piece, Scratch& scratch) const override {
    piece.text = scratch.keep(bytes_to_chars(piece.text));
  }
};

class Bert final : public Normalizer {
 public:
  explicit Bert(BertOptions options) : options_(options) {}
  void apply(Piece& piece, Scratch& scratch) const override {
    std::string out = clean(piece.text);
    if (options_.strip_accents) out = without_accents(normalize(out, NormalForm::kNfd));
    if (options_.lowercase) out = to_lower(out);
    piece.text = scratch.keep(out);
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
    std::string out;
    out.reserve(piece.text.size());
    for (std::size_t at = 0; at < piece.text.size();) {
      const char32_t c = next_code_point(piece.text, at);
      if (!is_dropped(c)) append_utf8(out, is_space(c) ? U' ' : c);
    }
    piece.text = scratch.keep(out);
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
