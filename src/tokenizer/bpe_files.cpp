// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <utility>

#include "bpe.h"
#include "class_pipeline.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "load.h"
#include "vocabulary_json.h"

namespace corda::tokenizer {

namespace {

Bpe::MergeList parse_merges(std::string_view text, const std::string& source) {
  Bpe::MergeList merges;
  std::int64_t line_number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    merges.push_back(split_merge(line, core::concat(source, ":", line_number)));
  }
  return merges;
}

// These files say nothing about how words are cut; the tokenizer's class does.
bool is_qwen2(const SideFiles& side, const std::filesystem::path& vocab) {
  const std::string name = side.hub_class();
  if (name == "Qwen2Tokenizer") return true;
  if (name == "GPT2Tokenizer") return false;
  const std::string type = side.model_type();
  if (name.empty()) {
    if (type.starts_with("qwen2") || type.starts_with("qwen3")) return true;
    if (type.empty() || type == "gpt2") return false;
  }
  throw core::FormatError(core::concat(vocab.string(), ": the tokenizer class '", name,
                                       "' (model_type '", type,
                                       "') is not implemented for vocab.json and merges.txt; a "
                                       "tokenizer.json would say all that is needed"));
}

}  // namespace

OwnTokenizer load_bpe_files(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                            const SideFiles& side) {
  const bool qwen2 = is_qwen2(side, vocab);
  OwnTokenizer made;
  made.tokenizer_class = qwen2 ? "Qwen2Tokenizer" : "GPT2Tokenizer";
  PipelineParts& parts = made.parts;
  BpeOptions options;
  options.raw_bytes = true;
  const std::string source = vocab.string();
  made.source = source;
  Vocabulary vocabulary(parse_vocabulary_json(core::read_file(vocab), source), source);
  parts.model = std::make_unique<Bpe>(std::move(vocabulary),
                                      parse_merges(core::read_file(merges), merges.string()),
                                      options, source);
  ByteLevelOptions byte_level;
  byte_level.keep_bytes = true;
  byte_level.add_prefix_space = side.flag("add_prefix_space").value_or(false);
  byte_level.use_regex = !qwen2;
  std::vector<PreTokenizerPtr> steps;
  if (qwen2) {
    parts.normalizer = make_unicode_normalizer(NormalForm::kNfc);
    steps.push_back(make_split(Regex(kQwen2Pattern, source), SplitBehavior::kIsolated, false));
  }
  steps.push_back(make_byte_level(byte_level));
  parts.pre_tokenizer = make_pre_tokenizer_sequence(std::move(steps));
  parts.decoder = make_byte_level_decoder();
  return made;
}

}  // namespace corda::tokenizer
