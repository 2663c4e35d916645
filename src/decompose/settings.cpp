// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The settings of a decomposition, and which of them go together.
#include <algorithm>
#include <string>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/text.h"
#include "corda/decompose/decompose.h"
#include "corda/model/config.h"
#include "decompose/mode_of.h"

namespace corda::decompose {

using core::concat;

namespace {

// The modes that --mode can name.
std::vector<std::string> names_of_modes() {
  std::vector<std::string> names;
  for (const Mode& mode : modes())
    if (!mode.name.empty()) names.emplace_back(mode.name);
  return names;
}

// "dual and sc": the modes of which `is_so` holds.
template <typename Predicate>
std::string modes_that(Predicate is_so) {
  std::vector<std::string> names;
  for (const Mode& mode : modes())
    if (is_so(mode)) names.push_back(mode.name.empty() ? title_of(mode) : std::string(mode.name));
  const std::string last = names.back();
  names.pop_back();
  return names.empty() ? last : concat(core::join(names, ", "), " and ", last);
}

std::string help_of_modes() {
  std::vector<std::string> lines;
  for (const Mode& mode : modes())
    if (!mode.name.empty()) lines.push_back(concat(mode.name, " ", mode.what));
  return concat("of what the adapter is made: ", core::join(lines, "; "));
}

// Compares the covariances that are given with those that the mode needs.
void check_covariances(const DecomposeSettings& s, const Mode& mode,
                       std::vector<std::string>& problems) {
  const bool streams = !s.data.empty();
  const std::string title = title_of(mode);
  const bool wants_none = mode.input == Input::kWeight;
  const bool wants_both = mode.input == Input::kBoth;
  const bool has_task = !(s.task_covariance.empty() && s.task_data.empty());
  if (!wants_none && s.covariance.empty() && !streams) {
    problems.push_back(concat(title,
                              " needs --covariance: a directory made by corda calibrate, or "
                              "--data: text to calibrate on"));
  }
  if (wants_none && (!s.covariance.empty() || streams || has_task)) {
    problems.push_back(
        concat(title,
               " uses no covariance; leave out --covariance, --task-covariance, --data and "
               "--task-data"));
  } else if (streams && !(s.covariance.empty() && s.task_covariance.empty())) {
    problems.emplace_back(
        "--data collects the covariances itself; leave out --covariance and --task-covariance");
  } else if (!streams && !s.task_data.empty()) {
    problems.emplace_back("--task-data goes with --data; give --task-covariance with --covariance");
  }
  if (wants_both && !streams && s.task_covariance.empty()) {
    problems.push_back(concat(title,
                              " needs --task-covariance: the covariance of the task, beside "
                              "--covariance of the knowledge"));
  }
  if (wants_both && streams && s.task_data.empty()) {
    problems.push_back(
        concat(title, " needs --task-data: the task's text, beside --data of the knowledge"));
  }
  if (!wants_none && !wants_both && has_task) {
    problems.push_back(
        concat("--task-covariance and --task-data are for modes ",
               modes_that([](const Mode& other) { return other.input == Input::kBoth; }), "; ",
               title, " takes one covariance, of the ",
               mode.input == Input::kTask ? "task" : "knowledge", ", as --covariance or --data"));
  }
}

void check_choices(const DecomposeSettings& s, const Mode& mode,
                   std::vector<std::string>& problems) {
  const std::string ranks = ranks_of(s);
  const std::string title = title_of(mode);
  const auto of_product = [](const Mode& other) { return other.is_of_product; };
  if (ranks == "explained" && !mode.takes_largest) {
    problems.push_back(
        concat("--ranks explained goes by how much a layer's largest components explain, but ",
               title, " takes others; it is for ",
               modes_that([](const Mode& other) { return other.takes_largest; })));
  }
  if (ranks == "compact" && !mode.is_of_product)
    problems.push_back(
        concat("--ranks compact is for modes ", modes_that(of_product), ", not ", title));
  if (s.covariance_choice != "compact") return;
  if (!mode.is_of_product) {
    problems.push_back(concat("--covariance-choice compact is for modes ", modes_that(of_product),
                              ", not ", title));
  } else if (s.covariance.size() < 2) {
    problems.push_back(concat("--covariance-choice compact chooses among several --covariance; ",
                              s.covariance.size(), s.covariance.size() == 1 ? " is" : " are",
                              " given"));
  }
}

}  // namespace

core::SettingsList settings_of(DecomposeSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required().free();
  model::add_assume_family(list, s.assume_family);
  list.add("covariance", s.covariance,
           "covariance directory of `corda calibrate`; several: see --covariance-choice")
      .path()
      .free();
  list.add("covariance_choice", s.covariance_choice,
           "what becomes of several: mix them with equal weight, or compact: every layer takes the "
           "one that it is most compact under (CorDA++; modes kpa and ipa)",
           {"mix", "compact"});
  list.add("task_covariance", s.task_covariance,
           "modes dual and sc: covariance directory of the task")
      .path()
      .free();
  list.add("data", s.data,
           "calibrate on this file in the same pass, instead of --covariance; may be given several "
           "times")
      .path(core::PathKind::kData)
      .free();
  list.add("task_data", s.task_data, "modes dual and sc with --data: the task's file, likewise")
      .path(core::PathKind::kData)
      .free();
  list.add("center", s.center,
           "mode eva with --data: take the mean off the inputs, as PEFT does; auto: true (of the "
           "other modes none does)",
           {"auto", "true", "false"})
      .free([&s] { return s.center != "true"; });  // as in work that was begun before it was one
  list.add("method", s.method, "corda, or pissa (singular vectors of the weight alone)",
           {"corda", "pissa"});
  list.add("mode", s.mode, help_of_modes(), names_of_modes());
  list.add("beta", s.beta,
           "mode sc: weight of the knowledge's outputs against the task's, which have 1 - beta",
           {0, 1});
  list.add("base", s.base,
           "mode cloq: how training will hold the base, whose loss in these codes the start makes "
           "good",
           {"nf4", "fp8"});
  list.add("rank", s.rank, "rank of the adapter", {1, 65536});
  list.add(
      "ranks", s.ranks,
      "how layers come to their ranks: equal; explained, the largest shares of all layers' "
      "energies win (EVA); compact (CorDA++; modes kpa and ipa); auto: explained for mode eva, "
      "else equal. The scale stays alpha / rank for all",
      {"auto", "equal", "explained", "compact"});
  list.add("rho", s.rho, "where ranks are not equal: the largest of a layer, in units of the rank",
           {1, 64});
  list.add("alpha", s.alpha, "the adapter is scaled by alpha / rank; 0 means the rank", {0, 1e6});
  list.add("target_modules", s.target_modules,
           "last parts of the names of the layers to adapt, or whole names; all-linear: every "
           "linear "
           "layer of the blocks")
      .split_at_commas();
  list.add("damping", s.damping, "c of C + c mean(diag C) I (modes kpa, ipa, dual, cloq)",
           {1e-12, 1e6});
  list.add("exact", s.exact, "take the exact fp64 route for every layer, slower by 3 to 20 times");
  covariance::add_draw_settings(list, s);
  list.add("device", s.device, "auto, cpu, cuda or cuda:N").free();
  list.add("out", s.out, "adapter directory to write").path().required().free();
  return list;
}

namespace {

// What is said of drawing samples has no meaning where none are drawn.
void check_draw(const DecomposeSettings& settings) {
  if (!settings.data.empty()) return;
  core::refuse_changed(
      settings, settings_of,
      {"format", "columns", "template", "system", "date", "skip_bad", "qa_text", "samples",
       "seq_len", "seed", "batch_tokens", "activation_scaling", "hidden_states", "dtype", "center"},
      "for --data, which is not given");
}

bool looks_at(const Mode& mode, std::string_view name) {
  return std::ranges::find(mode.own_settings, name) != mode.own_settings.end();
}

// Refuses what other methods, modes and ranks look at.
void check_own_settings(const DecomposeSettings& settings, const Mode& mode) {
  const auto refuse = [&](std::string_view name, const std::string& why) {
    core::refuse_changed(settings, settings_of, {std::string(name)}, why);
  };
  if (settings.method != "corda")
    refuse("mode", concat("for method corda, not method ", settings.method));
  for (const Mode& other : modes()) {
    for (const std::string_view name : other.own_settings) {
      if (name.empty() || looks_at(mode, name)) continue;
      const auto looks = [&](const Mode& each) { return looks_at(each, name); };
      refuse(name, concat(std::ranges::count_if(modes(), looks) == 1 ? "for mode " : "for modes ",
                          modes_that(looks), ", not ", title_of(mode)));
    }
  }
  if (ranks_of(settings) == "equal")
    refuse("rho", "for --ranks explained and compact; all layers have the rank");
}

}  // namespace

void check(const DecomposeSettings& settings) {
  std::vector<std::string> problems;
  const Mode& mode = mode_of(settings);
  check_covariances(settings, mode, problems);
  check_choices(settings, mode, problems);
  if (settings.target_modules.empty()) problems.emplace_back("--target-modules names no layer");
  if (!problems.empty()) throw core::ConfigError(core::join(problems, "\n"));
  // What is done anyway may be asked for.
  DecomposeSettings asked = settings;
  if (asked.center == "false") asked.center = "auto";
  if (asked.activation_scaling == "reference") asked.activation_scaling = "auto";
  check_draw(asked);
  check_own_settings(asked, mode);
}

}  // namespace corda::decompose
