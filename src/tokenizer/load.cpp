// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "load.h"

#include "corda/core/error.h"

namespace corda::tokenizer {

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  if (!fs::is_directory(directory)) {
    throw core::IoError(core::concat(
        "'", directory.string(), "' is not a model directory: ", core::why_absent(directory, "")));
  }
  const SideFiles side(directory);
  if (side.flag("split_special_tokens").value_or(false)) {
    throw core::FormatError(core::concat(
        (directory / "tokenizer_config.json").string(),
        ": 'split_special_tokens: true', with which special tokens are read as text, is not ",
        "implemented; remove it, so that the special tokens of the tokenizer are found in texts"));
  }
  if (fs::exists(directory / "tokenizer.json"))
    return assemble(load_tokenizer_json(directory / "tokenizer.json", side), side);
  if (fs::exists(directory / "tokenizer.model"))
    return assemble(load_sentencepiece(directory / "tokenizer.model", side), side);
  if (fs::exists(directory / "vocab.json") && fs::exists(directory / "merges.txt")) {
    return assemble(load_bpe_files(directory / "vocab.json", directory / "merges.txt", side), side);
  }
  throw core::IoError(
      core::concat("no tokenizer in '", directory.string(),
                   "'; expected tokenizer.json, tokenizer.model, or vocab.json with merges.txt"));
}

}  // namespace corda::tokenizer
