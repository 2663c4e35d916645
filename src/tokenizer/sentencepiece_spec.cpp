// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "sentencepiece_spec.h"

#include <bit>
#include <cstdint>

#include "corda/core/error.h"

namespace corda::tokenizer {

namespace {

// Field numbers of sentencepiece_model.proto.
enum Model : std::uint64_t { kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5 };
enum Piece : std::uint64_t { kText = 1, kScore = 2, kType = 3 };
enum Trainer : std::uint64_t { kModelType = 3, kWhitespaceAsSuffix = 24, kByteFallback = 35 };
enum Normalizer : std::uint64_t {
  kCharsmap = 2,
  kAddDummyPrefix = 3,
  kRemoveExtraWhitespaces = 4,
  kEscapeWhitespaces = 5
};

// The fields of one serialized protocol buffer message.
class Message {
 public:
  Message(std::string_view bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  // Moves to the next field; false at the end.
  bool next() {
    if (bytes_.empty()) return false;
    const std::uint64_t tag = varint();
    field = tag >> 3;
    number = 0;
    text = {};
    switch (tag & 7) {
      case 0:
        number = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        text = take(varint());
        break;
      case 5:
        number = little_endian(take(4));
        break;
      default:
        fail();
    }
    return true;
  }

  // The value of a field of 32 bits.
  float number_as_float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(number)); }

  std::uint64_t field = 0;
  std::uint64_t number = 0;  // of a field of one number
  std::string_view text;     // of a field with a length

 private:
  [[noreturn]] void fail() const {
    throw core::FormatError(core::concat(source_, ": not a SentencePiece model"));
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    fail();
  }
  static std::uint64_t little_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
      value = (value << 8) | static_cast<std::uint8_t>(bytes[i]);
    return value;
  }
  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size()) fail();
    const std::string_view part = bytes_.substr(0, static_cast<std::size_t>(size));
    bytes_.remove_prefix(part.size());
    return part;
  }

  std::string_view bytes_;
  const std::string& source_;
};

void read_piece(Message piece, SentencePieceSpec& spec) {
  SentencePiecePiece& made = spec.pieces.emplace_back();
  while (piece.next()) {
    if (piece.field == kText) made.text = piece.text;
    if (piece.field == kScore) made.score = piece.number_as_float();
    if (piece.field == kType) made.type = piece.number;
  }
}

void read_trainer(Message trainer, SentencePieceSpec& spec) {
  while (trainer.next()) {
    if (trainer.field == kModelType) spec.model_type = trainer.number;
    if (trainer.field == kByteFallback) spec.byte_fallback = trainer.number != 0;
    if (trainer.field == kWhitespaceAsSuffix) spec.whitespace_as_suffix = trainer.number != 0;
  }
}

void read_normalizer(Message normalizer, SentencePieceSpec& spec) {
  while (normalizer.next()) {
    const bool flag = normalizer.number != 0;
    if (normalizer.field == kCharsmap) spec.charsmap = normalizer.text;
    if (normalizer.field == kAddDummyPrefix) spec.add_dummy_prefix = flag;
    if (normalizer.field == kRemoveExtraWhitespaces) spec.remove_extra_whitespaces = flag;
    if (normalizer.field == kEscapeWhitespaces) spec.escape_whitespaces = flag;
  }
}

void check_denormalizer(Message denormalizer, const std::string& source) {
  while (denormalizer.next()) {
    if (denormalizer.field == kCharsmap && !denormalizer.text.empty()) {
      throw core::FormatError(core::concat(
          source, ": 'denormalizer_spec' (rules that rewrite decoded text) is not implemented"));
    }
  }
}

}  // namespace

Vocabulary SentencePieceSpec::vocabulary(const std::string& source) const {
  std::vector<Vocabulary::Entry> entries;
  for (const SentencePiecePiece& piece : pieces)
    entries.emplace_back(piece.text, static_cast<std::int64_t>(entries.size()));
  return {entries, source};
}

// A message that stands twice is merged, so later fields win.
SentencePieceSpec read_sentencepiece_spec(std::string_view model, const std::string& source) {
  SentencePieceSpec spec;
  Message message(model, source);
  while (message.next()) {
    const Message part(message.text, source);
    if (message.field == kPieces) read_piece(part, spec);
    if (message.field == kTrainer) read_trainer(part, spec);
    if (message.field == kNormalizer) read_normalizer(part, spec);
    if (message.field == kDenormalizer) check_denormalizer(part, source);
  }
  if (spec.model_type == SentencePieceSpec::kWord)
    throw core::FormatError(core::concat(source, ": the model_type 'word' is not implemented"));
  return spec;
}

}  // namespace corda::tokenizer
