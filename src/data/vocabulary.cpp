// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/vocabulary.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/record_reader.h"
#include "data/sample_pipeline.h"

namespace corda::data {

namespace {

std::optional<TokenId> without_row(std::span<const TokenId> ids, std::int64_t rows) {
  const auto found =
      std::find_if(ids.begin(), ids.end(), [&](TokenId id) { return id < 0 || id >= rows; });
  return found == ids.end() ? std::nullopt : std::optional(*found);
}

[[noreturn]] void fail(const std::string& place, TokenId id, const Vocabulary& vocabulary) {
  throw core::ConfigError(
      core::concat(place, ": token id ", id, " ('", vocabulary.tokenizer.id_to_token(id),
                   "') is beyond the model's vocabulary of ", vocabulary.rows,
                   " tokens; is the tokenizer another model's? Put the model's own beside its "
                   "weights, or take the token out of the data and their template"));
}

bool has(const EncodedRecord& encoded, TokenId id) {
  return std::any_of(encoded.samples.begin(), encoded.samples.end(), [&](const Sample& sample) {
    return std::find(sample.ids.begin(), sample.ids.end(), id) != sample.ids.end();
  });
}

// Where the first record of the file stands that has the id; of a plain text, which is one record,
// the file. "" where none has it.
std::string place_in(const DataFile& file, TokenId id, const Vocabulary& vocabulary,
                     const EncodeSettings& settings) {
  struct Found {
    std::string place;
  };
  core::Reporter silent;
  SamplePipeline pipeline(vocabulary.tokenizer, settings, silent);
  try {
    pipeline.run(
        {file},
        [&](const EncodedRecord& encoded) {
          if (has(encoded, id)) throw Found{encoded.place};
        },
        std::numeric_limits<std::int64_t>::max());
  } catch (const Found& found) {
    const bool text = container_of(file.path, file.format) == Container::kText;
    return text ? file.path.string() : found.place;
  }
  return "";
}

std::string place_of(TokenId id, const Vocabulary& vocabulary, const std::vector<DataFile>& files,
                     const EncodeSettings& settings) {
  std::vector<std::string> names;
  for (const DataFile& file : files) {
    std::string place = place_in(file, id, vocabulary, settings);
    if (!place.empty()) return place;
    names.push_back(file.path.string());
  }
  return core::listed(names);
}

}  // namespace

void require_rows(std::span<const TokenId> ids, const Vocabulary& vocabulary,
                  const std::string& place) {
  if (const auto id = without_row(ids, vocabulary.rows)) fail(place, *id, vocabulary);
}

void require_rows(std::span<const TokenId> ids, const Vocabulary& vocabulary,
                  const std::vector<DataFile>& files, const EncodeSettings& settings) {
  if (const auto id = without_row(ids, vocabulary.rows))
    fail(place_of(*id, vocabulary, files, settings), *id, vocabulary);
}

void require_rows(const SampleStore& samples, const Vocabulary& vocabulary,
                  const std::vector<DataFile>& files, const EncodeSettings& settings) {
  if (vocabulary.tokenizer.vocab_size() <= vocabulary.rows) return;
  for (const Sample& sample : samples) require_rows(sample.ids, vocabulary, files, settings);
}

}  // namespace corda::data
