// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the rest of the program sees of data: token ids with a loss mask.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "corda/tokenizer/tokenizer.h"

namespace corda::data {

namespace fs = std::filesystem;
using tokenizer::TokenId;

// One file of data and how to read it.
struct DataFile {
  fs::path path;  // .jsonl, .json, .csv, .tsv, .txt, each optionally .gz or .zst; .parquet, .arrow
  // auto | messages | sharegpt | alpaca | prompt-completion | qa | text
  std::string format = "auto";
  std::map<std::string, std::string> columns = {};  // field of the format -> column of the file
  std::int64_t first = 0;                           // records before this one are skipped
  std::int64_t count = -1;                          // at most so many records; -1: all
  // The file's share of an epoch's samples, in proportion to the other files'; 0: there is no
  // mixture.
  double weight = 0;
  std::string source = {};  // files of one source share one weight; "": this file alone
};

// One training sample. `supervised[t]` is 1 where token t is a target of the loss.
struct Sample {
  std::vector<TokenId> ids;
  std::vector<std::uint8_t> supervised;
};

// A question with every answer that counts as right.
struct QaRecord {
  std::string question;
  std::vector<std::string> answers;
};

}  // namespace corda::data
