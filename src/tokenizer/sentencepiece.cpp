// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <sentencepiece_processor.h>

#include <memory>
#include <utility>

#include "corda/core/error.h"
#include "load.h"
#include "safe_cut.h"
#include "sentencepiece_normalizer.h"
#include "sentencepiece_spec.h"
#include "sentencepiece_unigram.h"

namespace corda::tokenizer {

namespace {

constexpr const char* kMetaspace = "\xE2\x96\x81";  // U+2581

// A field of a serialized message may stand twice: the parser merges. This is normalizer_spec
// (field 3) with an empty precompiled_charsmap (2), and add_dummy_prefix (3) and
// remove_extra_whitespaces (4) false: the text comes normalized, because whether a stretch of it
// gets a prefix depends on the special tokens around, of which the library knows nothing.
constexpr std::string_view kPlainText("\x1A\x06\x12\x00\x18\x00\x20\x00", 8);

using Processor = sentencepiece::SentencePieceProcessor;

std::unique_ptr<Processor> load_processor(const std::string& content, const std::string& source) {
  auto processor = std::make_unique<Processor>();
  const auto status = processor->LoadFromSerializedProto(content + std::string(kPlainText));
  if (status.ok()) return processor;
  throw core::FormatError(core::concat(source, ": not a SentencePiece model: ", status.ToString()));
}

// Pieces by merging, or one a character, as the library finds them.
class SentencePieceBpe final : public Model {
 public:
  SentencePieceBpe(std::unique_ptr<const Processor> processor, Vocabulary vocabulary)
      : processor_(std::move(processor)), vocabulary_(std::move(vocabulary)) {
    const int space = processor_->PieceToId(kMetaspace);
    const bool is_text = !processor_->IsUnknown(space) && !processor_->IsControl(space) &&
                         !processor_->IsUnused(space);
    if (is_text) safe_cut_ = find_safe_cut(vocabulary_);
  }

  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override {
    for_each_safe_part(word, safe_cut_, [&](std::string_view part) {
      scratch.words.append(part, ids, [&] {
        std::vector<int> found;
        if (const auto status = processor_->Encode({part.data(), part.size()}, &found);
            !status.ok()) {
          throw core::InternalError(
              core::concat("[tokenizer::SentencePieceBpe] ", status.ToString()));
        }
        ids.insert(ids.end(), found.begin(), found.end());
      });
    });
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  std::unique_ptr<const Processor> processor_;
  Vocabulary vocabulary_;
  std::string safe_cut_;
};

// Control pieces and the unknown piece.
std::vector<AddedToken> special_tokens(const SentencePieceSpec& spec) {
  std::vector<AddedToken> tokens;
  TokenId id = 0;
  for (const SentencePiecePiece& piece : spec.pieces) {
    const TokenId its = id++;
    if (piece.type == SentencePiecePiece::kControl || piece.type == SentencePiecePiece::kUnknown)
      tokens.push_back({piece.text, its, true, false, false, false, false, {}});
  }
  return tokens;
}

std::optional<TokenId> id_or_none(int id) {
  return id >= 0 ? std::optional<TokenId>(id) : std::nullopt;
}

// Takes one space from the first piece, and with `all` from each of the following until there is
// text.
class LeadingSpaceDecoder final : public Decoder {
 public:
  explicit LeadingSpaceDecoder(bool all) : all_(all) {}
  void decode(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      const bool spaced = token.starts_with(kMetaspace);
      if (spaced) token.erase(0, std::string_view(kMetaspace).size());
      if (!token.empty() || (spaced && !all_)) return;
    }
  }

 private:
  bool all_;
};

DecoderPtr make_sentencepiece_decoder(const SentencePieceSpec& spec, bool prefix_space,
                                      const std::string& source) {
  std::vector<DecoderPtr> steps;
  if (!spec.is_like_llama() && (prefix_space || spec.remove_extra_whitespaces))
    steps.push_back(std::make_unique<LeadingSpaceDecoder>(spec.remove_extra_whitespaces));
  steps.push_back(make_replace_decoder(Regex::literal(kMetaspace, source), " "));
  steps.push_back(make_byte_fallback_decoder());
  steps.push_back(make_fuse_decoder());
  if (spec.is_like_llama() && prefix_space) steps.push_back(make_strip_decoder(U' ', 1, 0));
  return make_decoder_sequence(std::move(steps));
}

}  // namespace

OwnTokenizer load_sentencepiece(const std::filesystem::path& file, const SideFiles& side) {
  const std::string source = file.string();
  const std::string content = core::read_file(file);
  const SentencePieceSpec spec = read_sentencepiece_spec(content, source);
  auto processor = load_processor(content, source);
  OwnTokenizer made;
  made.source = source;
  made.tokenizer_class = side.tokenizer_class();
  made.added = special_tokens(spec);
  // LlamaTokenizer alone adds such a token at the end of its vocabulary.
  made.fills_placeholders = made.tokenizer_class != "LlamaTokenizer";
  PipelineParts& parts = made.parts;
  const bool prefix_space = side.flag("add_prefix_space").value_or(spec.add_dummy_prefix);
  const bool legacy = side.flag("legacy").value_or(false);
  const PrependScheme scheme = !prefix_space ? PrependScheme::kNever
                               : legacy      ? PrependScheme::kAlways
                                             : PrependScheme::kFirst;
  // LlamaTokenizer puts no second space before a text that begins with one; the library does.
  parts.pre_tokenizer = spec.is_like_llama() ? make_metaspace(kMetaspace, scheme, false)
                                             : make_sentencepiece_normalizer(spec, scheme, source);
  parts.decoder = make_sentencepiece_decoder(spec, prefix_space, source);
  made.bos_id = id_or_none(processor->bos_id());
  made.eos_id = id_or_none(processor->eos_id());
  made.pad_id = id_or_none(processor->pad_id());
  made.adds_bos = true;  // as LlamaTokenizer's documentation says, and did before transformers 5
  if (spec.model_type == SentencePieceSpec::kUnigram) {
    parts.model = std::make_unique<SentencePieceUnigram>(spec, source);
  } else {
    parts.model = std::make_unique<SentencePieceBpe>(std::move(processor), spec.vocabulary(source));
  }
  return made;
}

}  // namespace corda::tokenizer
