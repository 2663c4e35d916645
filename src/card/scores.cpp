// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The table of scores in a card that is there already.
#include <cstdio>
#include <system_error>

#include "card/markdown.h"
#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/hub_cache.h"
#include "corda/core/text.h"

namespace corda::card {

using core::concat;
using core::ConfigError;

namespace {

// The table stands between these, so that nothing else of a card is ever changed.
constexpr std::string_view kBegin = "<!-- Scores, by corda eval. -->\n";
constexpr std::string_view kEnd = "<!-- End of the scores. -->\n";
constexpr const char* kHead = "\n| task | data | how | metric | value |\n|---|---|---|---|---|\n";

// A card in three parts, the middle one between the marks; where these are missing it is empty and
// `has_table` false.
struct Parts {
  std::string before;
  std::string table;
  std::string after;
  bool has_table = false;
};

Parts parts_of(const std::string& card) {
  const auto end = card.rfind(kEnd);
  const auto begin = end == std::string::npos ? end : card.rfind(kBegin, end);
  if (begin != std::string::npos) {
    const auto from = begin + kBegin.size();
    return {.before = card.substr(0, from),
            .table = card.substr(from, end - from),
            .after = card.substr(end),
            .has_table = true};
  }
  auto place = card.find(concat("\n", kLoading));
  place = place == std::string::npos ? card.size() : place + 1;
  return {.before = card.substr(0, place), .table = "", .after = card.substr(place)};
}

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

// What tells one score from another: the row but for its last cell.
std::string key_of(const std::string& row) {
  const auto last = row.rfind('|');
  const auto before = last == std::string::npos || last == 0 ? last : row.rfind('|', last - 1);
  return before == std::string::npos ? row : row.substr(0, before);
}

std::string row_of(const Score& score) {
  return concat("| ", plain(score.task), " | ", listed(data_at(score.data)), " | ",
                plain(score.conditions), " | ", plain(score.metric), " | ", decimal(score.value),
                score.error ? concat(" ± ", decimal(*score.error)) : "", " |");
}

// The rows of a table, without its head.
std::vector<std::string> rows_of(const std::string& table) {
  std::vector<std::string> rows;
  for (const std::string& line : core::split(table, '\n')) {
    const bool is_row = line.starts_with("| ") && !line.starts_with("| task | data |");
    if (is_row) rows.push_back(line);
  }
  return rows;
}

std::string card_in(const fs::path& directory) {
  const fs::path file = directory / kName;
  std::error_code error;
  if (core::hub_name_of(fs::absolute(directory).lexically_normal().string()) !=
      fs::absolute(directory).lexically_normal().string()) {
    throw ConfigError(concat("'", directory.string(),
                             "' is in the Hugging Face cache, where nothing is changed; copy it to "
                             "a folder of your own, or leave out --card"));
  }
  if (!fs::exists(file, error)) {
    throw ConfigError(concat("'", file.string(),
                             "' is not there; --card puts scores into the card that corda wrote "
                             "beside an adapter or a model"));
  }
  std::string card = core::read_file(file, 1 << 20);
  if (card.find(kMark) == std::string::npos) {
    throw ConfigError(concat("'", file.string(), "' is not a card that corda wrote (it lacks '",
                             kMark, "'), so --card leaves it alone"));
  }
  return card;
}

}  // namespace

void require_own_card(const fs::path& directory) { card_in(directory); }

void add_scores(const fs::path& directory, const std::vector<Score>& scores) {
  const Parts parts = parts_of(card_in(directory));
  std::vector<std::string> rows = rows_of(parts.table);
  for (const Score& score : scores) {
    const std::string added = row_of(score);
    bool known = false;
    for (std::string& row : rows) {
      if (key_of(row) != key_of(added)) continue;
      row = added;
      known = true;
    }
    if (!known) rows.push_back(added);
  }
  const std::string table = concat(kHead, core::join(rows, "\n"), "\n\n");
  core::write_file_atomic(directory / kName, parts.has_table
                                                 ? concat(parts.before, table, parts.after)
                                                 : concat(parts.before, "## Scores\n\n", kBegin,
                                                          table, kEnd, "\n", parts.after));
}

}  // namespace corda::card
