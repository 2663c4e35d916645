// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <string>
#include <vector>

#include "components_json.h"
#include "corda/core/error.h"

namespace corda::tokenizer {

namespace {

// The steps of a component that has been read, its sequences laid out.
void list_steps(const core::Json& json, const char* members, std::vector<core::Json>& steps) {
  if (json.at("type") != "Sequence") {
    steps.push_back(json);
    return;
  }
  for (const core::Json& part : json.at(members)) list_steps(part, members, steps);
}

bool inserts(const core::Json& step, const std::string& source) {
  if (step.at("type") != "Replace" || !step.at("pattern").contains("Regex")) return false;
  return Regex(step.at("pattern").at("Regex").get<std::string>(), source).may_match_empty();
}

}  // namespace

void check_insertions(const core::Json* normalizer, const core::Json* pre_tokenizer,
                      const std::string& source) {
  if (normalizer == nullptr) return;
  std::vector<core::Json> steps;
  list_steps(*normalizer, "normalizers", steps);
  if (pre_tokenizer != nullptr) list_steps(*pre_tokenizer, "pretokenizers", steps);
  bool inserted = false;
  for (const core::Json& step : steps) {
    const std::string type = step.at("type").get<std::string>();
    if (inserted && rewrites_characters(type)) {
      throw core::FormatError(core::concat(
          source, ": a Replace whose pattern matches empty text stands before '", type,
          "', which rewrites what it inserted; Hugging Face tokenizers repeats the insertion or "
          "fails there, so that there are no ids to be equal to"));
    }
    inserted = inserted || inserts(step, source);
  }
}

}  // namespace corda::tokenizer
