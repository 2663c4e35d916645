// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "bpe.h"
#include "class_pipeline.h"
#include "components_json.h"
#include "fields.h"
#include "load.h"
#include "unigram.h"
#include "vocabulary_json.h"
#include "word_piece.h"

namespace corda::tokenizer {

namespace {

std::unique_ptr<const Model> bpe_from_json(TokenizerJson& file, Fields& fields, bool raw_bytes) {
  BpeOptions options;
  if (fields.find("unk_token") != nullptr) options.unknown_token = fields.text("unk_token");
  options.continuing_prefix = fields.text("continuing_subword_prefix", "");
  options.end_of_word_suffix = fields.text("end_of_word_suffix", "");
  options.fuse_unknown = fields.boolean("fuse_unk", false);
  options.byte_fallback = fields.boolean("byte_fallback", false);
  options.ignore_merges = fields.boolean("ignore_merges", false);
  options.raw_bytes = raw_bytes;
  const core::Json* dropout = fields.find("dropout");
  if (dropout != nullptr && !(dropout->is_number() && dropout->get<double>() == 0.0)) {
    fields.fail("'dropout' is not implemented (only null or 0)");
  }
  if (!file.has_vocabulary) fields.fail("the key 'vocab' is missing, or is not an object");
  if (!file.has_merges) fields.fail("the key 'merges' is missing, or is not a list");
  return std::make_unique<Bpe>(Vocabulary(file.vocabulary, fields.where()), file.merges,
                               std::move(options), fields.where());
}

Vocabulary vocabulary_of(TokenizerJson& file, Fields& fields) {
  if (!file.has_vocabulary) fields.fail("the key 'vocab' is missing, or is not an object");
  return Vocabulary(file.vocabulary, fields.where());
}

std::unique_ptr<const Model> word_piece_from_json(TokenizerJson& file, Fields& fields) {
  WordPieceOptions options;
  options.unknown_token = fields.text("unk_token", "[UNK]");
  options.continuing_prefix = fields.text("continuing_subword_prefix", "##");
  options.longest_word = fields.integer("max_input_chars_per_word", 100);
  return std::make_unique<WordPiece>(vocabulary_of(file, fields), std::move(options));
}

// "vocab": [["<unk>", 0.0], ["a", -2.5], ...], the id being the place in the list.
std::unique_ptr<const Model> unigram_from_json(Fields& fields) {
  UnigramOptions options;
  if (fields.find("unk_id") != nullptr) options.unknown_id = fields.integer("unk_id");
  options.byte_fallback = fields.boolean("byte_fallback", false);
  std::vector<Vocabulary::Entry> entries;
  std::vector<double> scores;
  for (const core::Json& entry : fields.list("vocab")) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      fields.fail(
          core::concat("the entry ", entries.size(), " of 'vocab' must be a token and its score"));
    }
    entries.emplace_back(entry[0].get<std::string>(), static_cast<std::int64_t>(entries.size()));
    scores.push_back(entry[1].get<double>());
  }
  return std::make_unique<Unigram>(Vocabulary(entries, fields.where()), std::move(scores), options,
                                   fields.where());
}

// Files older than the key "type" are told apart by the keys that only one model has.
std::string model_type(const TokenizerJson& file, Fields& fields) {
  if (fields.find("type") != nullptr) return fields.text("type");
  if (file.has_merges) return "BPE";
  if (fields.find("max_input_chars_per_word") != nullptr) return "WordPiece";
  if (fields.find("unk_id") != nullptr) return "Unigram";
  return file.has_vocabulary ? "WordLevel" : "";
}

std::unique_ptr<const Model> model_from_json(TokenizerJson& file, const core::Json& json,
                                             const std::string& where, bool raw_bytes) {
  Fields fields(json, where);
  const std::string type = model_type(file, fields);
  std::unique_ptr<const Model> made;
  if (type == "BPE") {
    made = bpe_from_json(file, fields, raw_bytes);
  } else if (type == "WordPiece") {
    made = word_piece_from_json(file, fields);
  } else if (type == "WordLevel") {
    made =
        std::make_unique<WordLevel>(vocabulary_of(file, fields), fields.text("unk_token", "<unk>"));
  } else if (type == "Unigram") {
    made = unigram_from_json(fields);
  } else {
    fields.fail(core::concat("the model '", type, "' is not implemented"));
  }
  fields.done();
  return made;
}

std::vector<AddedToken> added_tokens_from_json(Fields& fields) {
  std::vector<AddedToken> tokens;
  if (fields.find("added_tokens") == nullptr) return tokens;
  for (const core::Json& entry : fields.list("added_tokens")) {
    tokens.push_back(added_token_from_json(
        entry, core::concat(fields.where(), ": added_tokens[", tokens.size(), "]")));
  }
  return tokens;
}

// The reference gives an added token its id in the vocabulary, or else the next free one, and only
// warns where the file says another: then two programs would disagree about the same file, so it is
// refused here.
void check_ids(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary,
               const std::string& source) {
  std::int64_t next = vocabulary.size();
  std::unordered_map<std::string, TokenId> seen;
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    std::int64_t expected = next;
    if (const std::optional<TokenId> id = vocabulary.find(token.content)) {
      expected = *id;
    } else if (const auto earlier = seen.find(token.content); earlier != seen.end()) {
      expected = earlier->second;
    }
    if (token.id != expected) {
      throw core::FormatError(
          core::concat(source, ": the added token '", token.content, "' has the id ", token.id,
                       " where its place in the vocabulary and the list give it ", expected));
    }
    seen.emplace(token.content, token.id);
    next = std::max<std::int64_t>(next, token.id + 1);
  }
}

// Whether a step of a normalizer that has been read puts text in front of every stretch.
bool prepends(const core::Json& normalizer) {
  if (normalizer.at("type") == "Prepend") return true;
  if (normalizer.at("type") != "Sequence") return false;
  const core::Json& steps = normalizer.at("normalizers");
  return std::any_of(steps.begin(), steps.end(), prepends);
}

}  // namespace

OwnTokenizer load_tokenizer_json(const std::filesystem::path& path, const SideFiles& side) {
  const std::string source = path.string();
  TokenizerJson file = parse_tokenizer_json(core::read_file(path), source);
  Fields fields(file.rest, source);
  // Settings of the last call that the writer made, not properties of the tokenizer.
  for (const char* key : {"version", "truncation", "padding"}) fields.find(key);

  OwnTokenizer made;
  made.source = source;
  made.has_added_list = true;
  made.has_post_processor = true;
  made.tokenizer_class = side.tokenizer_class();
  PipelineParts& parts = made.parts;
  if (const core::Json* json = fields.find("normalizer")) {
    parts.normalizer = normalizer_from_json(*json, source + ": normalizer");
    made.prepends = prepends(*json);
  }
  const core::Json* pre = fields.find("pre_tokenizer");
  // Only BPE works on bytes; the others see them written in the byte-level alphabet.
  const bool raw_bytes = pre != nullptr && file.has_merges && ends_with_byte_level(*pre);
  if (pre != nullptr)
    parts.pre_tokenizer = pre_tokenizer_from_json(*pre, source + ": pre_tokenizer", raw_bytes);
  check_insertions(fields.find("normalizer"), pre, source);
  made.note = note_of_class(made.tokenizer_class, side.flag("add_prefix_space").value_or(false),
                            fields.find("normalizer"), pre, source);
  const core::Json* model = fields.find("model");
  if (model == nullptr) fields.fail("the key 'model' is missing");
  parts.model = model_from_json(file, *model, source + ": model", raw_bytes);
  made.added = added_tokens_from_json(fields);
  check_ids(made.added, parts.model->vocabulary(), source);
  if (const core::Json* json = fields.find("post_processor")) {
    Surroundings around = post_processor_from_json(*json, source + ": post_processor");
    parts.prefix = std::move(around.prefix);
    parts.suffix = std::move(around.suffix);
  }
  if (const core::Json* json = fields.find("decoder"))
    parts.decoder = decoder_from_json(*json, source + ": decoder");
  fields.done();
  return made;
}

}  // namespace corda::tokenizer
