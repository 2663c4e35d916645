// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <map>
#include <set>

#include "corda/core/error.h"
#include "corda/core/quantity.h"
#include "corda/core/text.h"
#include "corda/study/truncation.h"
#include "core/json.h"
#include "study/named_settings.h"

namespace corda::study {

using core::concat;

core::SettingsList settings_of(TruncationSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  list.add(node_setting("calibrations", s.calibrations,
                        "name: settings of corda calibrate, for asvd and co-svd"));
  list.add(node_setting("tests", s.tests, "name: settings of corda eval, task perplexity"));
  list.add("ranks", s.ranks,
           "how many of the smallest components are dropped; 0: the model as it is", {0, 65536});
  list.add("methods", s.methods,
           "svd (of W), asvd (inputs scaled by a power of their mean magnitude), co-svd (CorDA's)");
  list.add("target_modules", s.target_modules,
           "layers that are truncated, as corda decompose names them");
  list.add("head", s.head, "truncate the output head too, as in the paper");
  list.add("damping", s.damping, "of co-svd: c of C + c mean(diag C) I", {0, 1e6});
  list.add("asvd_alpha", s.asvd_alpha, "of asvd: the power", {0, 10});
  list.add("dtype", s.dtype, "of weights and activations", {"auto", "bf16", "fp32"});
  list.add("device", s.device, "auto, cpu, cuda or cuda:N");
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  list.add("out", s.out, "JSONL file of the results; none: they are only printed").path();
  return list;
}

std::string to_text(const std::vector<TruncationRow>& rows) {
  std::vector<std::string> columns;
  std::map<std::int64_t, std::map<std::string, double>> table;
  std::set<std::string> tests;
  for (const auto& row : rows) tests.insert(row.test);
  const auto column_of = [&](const TruncationRow& row, const std::string& method) {
    std::string name = method;
    if (row.calibration != "-") name += " (" + row.calibration + ")";
    return tests.size() > 1 ? name + " on " + row.test : name;
  };
  for (const auto& row : rows) {
    if (row.method == "-") continue;
    const std::string name = column_of(row, row.method);
    if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
    table[row.dropped][name] = row.perplexity;
  }
  // What is not truncated is the same in every column of its test.
  for (const auto& row : rows) {
    if (row.method != "-") continue;
    for (const auto& name : columns) {
      if (tests.size() == 1 || name.ends_with(" on " + row.test)) table[0][name] = row.perplexity;
    }
  }
  std::string text = concat("| dropped | ", core::join(columns, " | "), " |\n|---:|");
  for (std::size_t i = 0; i < columns.size(); ++i) text += "---:|";
  text += "\n";
  for (const auto& [dropped, values] : table) {
    text += concat("| ", dropped, " |");
    for (const auto& name : columns)
      text += concat(" ", values.contains(name) ? core::four_digits(values.at(name)) : "-", " |");
    text += "\n";
  }
  return text;
}

std::string to_jsonl(const std::vector<TruncationRow>& rows) {
  std::string text;
  for (const auto& row : rows) {
    text += core::json_line({{"method", row.method},
                             {"calibration", row.calibration},
                             {"test", row.test},
                             {"dropped", row.dropped},
                             {"nll", row.nll},
                             {"perplexity", row.perplexity}}) +
            "\n";
  }
  return text;
}

}  // namespace corda::study
