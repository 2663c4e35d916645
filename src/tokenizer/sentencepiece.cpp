// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <sentencepiece_processor.h>

#include <utility>

#include "corda/core/error.h"
#include "load.h"
#include "pipeline.h"
#include "safe_cut.h"

namespace corda::tokenizer {

namespace {

constexpr const char* kMetaspace = "\xE2\x96\x81";  // U+2581

// A field of a serialized message may stand twice: the parser merges. This is normalizer_spec
// (field 3) with add_dummy_prefix (3) and remove_extra_whitespaces (4) false: white space is left
// to the Metaspace step, so that text behind a special token gets no prefix of its own, as in
// Hugging Face's tokenizers.
constexpr std::string_view kPlainSpaces("\x1A\x04\x18\x00\x20\x00", 6);

class SentencePiece final : public Model {
 public:
  SentencePiece(const std::filesystem::path& file) {
    const std::string content = core::read_file(file) + std::string(kPlainSpaces);
    if (const auto status = processor_.LoadFromSerializedProto(content); !status.ok()) {
      throw core::FormatError(
          core::concat(file.string(), ": not a SentencePiece model: ", status.ToString()));
    }
    std::vector<Vocabulary::Entry> entries;
    for (int id = 0; id < processor_.GetPieceSize(); ++id)
      entries.emplace_back(processor_.IdToPiece(id), id);
    vocabulary_ = Vocabulary(entries, file.string());
    safe_cut_ = find_safe_cut(vocabulary_);
  }

  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override {
    for_each_safe_part(word, safe_cut_,
                       [&](std::string_view part) { tokenize_part(part, scratch, ids); });
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  const sentencepiece::SentencePieceProcessor& processor() const { return processor_; }

 private:
  void tokenize_part(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
    if (word.empty()) return;
    const std::uint64_t hash = hash_bytes(word);
    std::span<const TokenId> known;
    if (scratch.words.find(word, hash, known)) {
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
    std::vector<int> found;
    if (const auto status = processor_.Encode({word.data(), word.size()}, &found); !status.ok()) {
      throw core::InternalError(core::concat("[tokenizer::SentencePiece] ", status.ToString()));
    }
    ids.insert(ids.end(), found.begin(), found.end());
    scratch.words.add(word, hash, found);
  }

  sentencepiece::SentencePieceProcessor processor_;
  Vocabulary vocabulary_;
  std::string safe_cut_;
};

// Control pieces and the unknown piece, then what tokenizer_config.json adds.
std::vector<AddedToken> special_tokens(const sentencepiece::SentencePieceProcessor& processor,
                                       const SideFiles& side) {
  std::vector<AddedToken> tokens;
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    if (!processor.IsControl(id) && !processor.IsUnknown(id)) continue;
    tokens.push_back({processor.IdToPiece(id), id, true, false, false, false, false, {}});
  }
  for (AddedToken& token : side.added_tokens()) tokens.push_back(std::move(token));
  return tokens;
}

}  // namespace

std::shared_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& file,
                                              const SideFiles& side) {
  auto model = std::make_unique<SentencePiece>(file);
  const sentencepiece::SentencePieceProcessor& processor = model->processor();
  PipelineParts parts;
  parts.added = AddedTokens(special_tokens(processor, side), nullptr);
  const bool prefix_space = side.flag("add_prefix_space").value_or(true);
  const bool legacy = side.flag("legacy").value_or(false);
  const PrependScheme scheme = !prefix_space ? PrependScheme::kNever
                               : legacy      ? PrependScheme::kAlways
                                             : PrependScheme::kFirst;
  parts.pre_tokenizer = make_metaspace(kMetaspace, scheme, false);
  std::vector<DecoderPtr> steps;
  steps.push_back(make_replace_decoder(Regex::literal(kMetaspace, file.string()), " "));
  steps.push_back(make_byte_fallback_decoder());
  steps.push_back(make_fuse_decoder());
  if (prefix_space) steps.push_back(make_strip_decoder(U' ', 1, 0));
  parts.decoder = make_decoder_sequence(std::move(steps));
  if (side.flag("add_bos_token").value_or(true) && processor.bos_id() >= 0)
    parts.prefix = {processor.bos_id()};
  if (side.flag("add_eos_token").value_or(false) && processor.eos_id() >= 0)
    parts.suffix = {processor.eos_id()};
  const std::optional<TokenId> bos =
      processor.bos_id() >= 0 ? std::optional<TokenId>(processor.bos_id()) : std::nullopt;
  const std::optional<TokenId> eos =
      processor.eos_id() >= 0 ? std::optional<TokenId>(processor.eos_id()) : std::nullopt;
  const std::optional<TokenId> pad =
      processor.pad_id() >= 0 ? std::optional<TokenId>(processor.pad_id()) : std::nullopt;
  parts.model = std::move(model);
  auto made = std::make_shared<PipelineTokenizer>(std::move(parts));
  made->bos_id = bos;
  made->eos_id = eos;
  made->pad_id = pad;
  return made;
}

}  // namespace corda::tokenizer
