// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/study/compare.h"

#include <chrono>
#include <cmath>
#include <optional>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/eval/result_json.h"
#include "corda/report/report.h"
#include "corda/train/train.h"
#include "core/json.h"
#include "study/compare_plan.h"
#include "train/checkpoint.h"
#include "train/run_directory.h"

namespace corda::study {

using core::concat;
using core::ConfigNode;
using core::Json;

namespace {

constexpr const char* kState = "study.json";  // of a run: what it is of the study, and how far

class Study {
 public:
  Study(const CompareSettings& settings, ComparePlan plan, core::Reporter& reporter)
      : s_(settings), plan_(std::move(plan)), reporter_(reporter), out_(settings.out) {}

  CompareResult run() {
    bind_all();
    CompareSettings copy = s_;
    core::write_settings(out_, settings_of(copy));
    result_.runs = static_cast<std::int64_t>(plan_.runs.size());
    for (const auto& [name, settings] : plan_.calibrations) calibrate(name, settings);
    evaluate_all(out_ / "base", "the base", [](eval::EvalSettings&) {});
    for (std::size_t i = 0; i < plan_.runs.size(); ++i) {
      core::throw_if_stopped(reporter_, "the study");
      const PlannedRun& run = plan_.runs[i];
      if (state_of(run) != "begun") {
        ++(state_of(run) == "failed" ? result_.failed : result_.skipped);
        if (state_of(run) == "done") evaluate(run);  // what was added since
        continue;
      }
      reporter_.info(concat("run ", i + 1, " of ", plan_.runs.size(), ": ", run.name));
      finish(run);
      write_results();
    }
    write_results();
    return result_;
  }

 private:
  fs::path directory_of(const PlannedRun& run) const { return run.train.out; }

  // Holds every part to the settings that it was made with.
  void bind_all() const {
    for (const auto& [name, settings] : plan_.calibrations)
      bind("calibrate-" + name, binding_of(settings), out_ / "covariance" / name);
    for (const auto& [name, settings] : plan_.adapters)
      bind("decompose-" + name, binding_of_adapter(plan_, name), settings.out);
    for (const auto& [name, settings] : plan_.evaluations) {
      bind("evaluate-" + name, binding_of(settings),
           out_ / "base" / "evaluations" / (name + ".json"));
    }
    for (const PlannedRun& run : plan_.runs)
      bind("train-" + run.name, binding_of(plan_, run), directory_of(run));
  }

  // Throws ConfigError where `made` is there and was made with others.
  void bind(const std::string& part, const ConfigNode& settings, const fs::path& made) const {
    const fs::path saved = out_ / "settings" / (part + ".yaml");
    if (fs::exists(saved) && fs::exists(made)) {
      const ConfigNode before = core::parse_yaml(core::read_file(saved), saved.string());
      const auto changed = core::differences(before, settings);
      if (changed.empty()) return;
      throw core::ConfigError(concat("'", made.string(),
                                     "' was made with other settings: ", core::listed(changed),
                                     "; take them back, give the method or evaluation another "
                                     "name, choose another 'out', or remove what was made"));
    }
    fs::create_directories(saved.parent_path());
    core::write_file_atomic(saved, core::to_yaml(settings));
  }

  void calibrate(const std::string& name, const calibrate::CalibrateSettings& settings) {
    if (fs::exists(fs::path(settings.out) / "manifest.json")) return;
    reporter_.info(concat("calibrating on ", name));
    calibrate::calibrate(settings, reporter_);
  }

  void decompose(const std::string& name) {
    const decompose::DecomposeSettings& settings = plan_.adapters.at(name);
    if (fs::exists(fs::path(settings.out) / "corda.json")) return;
    reporter_.info(concat("decomposing ", name));
    decompose::decompose(settings, reporter_);
  }

  // The state of a run; "begun" also where it has not begun.
  std::string state_of(const PlannedRun& run) const {
    const fs::path state = directory_of(run) / kState;
    if (!fs::exists(state)) return "begun";
    return core::require_key(core::read_json(state), "state", state.string()).get<std::string>();
  }

  void write_state(const PlannedRun& run, const std::string& state,
                   std::optional<double> seconds = {}) const {
    Json json = {{"state", state},   {"group", run.group},     {"method", run.method},
                 {"rank", run.rank}, {"modules", run.modules}, {"weight_decay", run.decay},
                 {"rate", run.rate}, {"seed", run.seed}};
    if (seconds) json["train_seconds"] = *seconds;
    core::write_json(directory_of(run) / kState, json);
  }

  void finish(const PlannedRun& run) {
    fs::create_directories(directory_of(run));
    write_state(run, "begun");
    double seconds = 0;
    if (!fs::exists(train::result_of(run.train))) {
      forget_lost_steps(directory_of(run));
      try {
        if (!run.adapter.empty()) decompose(run.adapter);
        const bool resume = train::latest_checkpoint(directory_of(run)).has_value();
        seconds = train::train(run.train, resume, reporter_).seconds;
      } catch (const core::NumericalError& error) {
        reporter_.warn(concat(run.name, " failed: ", error.what()));
        write_state(run, "failed");
        ++result_.failed;
        return;
      }
    }
    evaluate(run);
    write_state(run, "done", seconds);
    if (run.train.method == "full" && !s_.keep_models) fs::remove_all(directory_of(run) / "model");
    ++result_.done;
  }

  // A run that was killed before its first checkpoint begins anew.
  static void forget_lost_steps(const fs::path& run) {
    if (train::latest_checkpoint(run)) return;
    for (const char* name : {train::kMetricsName, train::kGaugesName, "versions.jsonl"})
      fs::remove(run / name);
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(run, none)) {
      if (entry.path().filename().string().starts_with("events.out.tfevents."))
        fs::remove(entry.path());
    }
  }

  void evaluate(const PlannedRun& run) {
    if (!fs::exists(train::result_of(run.train))) {
      reporter_.info(concat(run.name, ": its weights were not kept, so what was evaluated stays"));
      return;
    }
    evaluate_all(directory_of(run), run.name, [&](eval::EvalSettings& settings) {
      const fs::path result = train::result_of(run.train);
      (run.train.method == "full" ? settings.model : settings.adapter) = result.string();
    });
  }

  template <typename Choose>
  void evaluate_all(const fs::path& directory, const std::string& who, const Choose& choose) {
    for (const auto& [name, planned] : plan_.evaluations) {
      const fs::path file = directory / "evaluations" / (name + ".json");
      if (fs::exists(file)) continue;
      eval::EvalSettings settings = planned;
      choose(settings);
      reporter_.info(concat("evaluating ", who, ": ", name));
      const std::string json = eval::result_json(eval::evaluate(settings, reporter_));
      fs::create_directories(file.parent_path());
      core::write_file_atomic(file, json + "\n");
    }
  }

  // Writes a line for each run that has begun, and the report on all of them.
  void write_results() {
    std::string lines;
    report::ReportSettings page{.base = (out_ / "base").string(), .task = s_.task};
    for (const PlannedRun& run : plan_.runs) {
      const fs::path directory = directory_of(run);
      if (!fs::exists(directory / kState)) continue;
      Json line = {{"name", run.name}};
      line.update(core::read_json(directory / kState));
      for (const auto& [name, settings] : plan_.evaluations) {
        const fs::path file = directory / "evaluations" / (name + ".json");
        if (fs::exists(file)) line["evaluations"][name] = core::read_json(file);
      }
      lines += core::json_line(line) + "\n";
      if (fs::exists(directory / "config.resolved.yaml")) page.runs.push_back(directory.string());
    }
    result_.results = (out_ / "results.jsonl").string();
    core::write_file_atomic(result_.results, lines);
    if (page.runs.empty()) return;
    page.title = out_.filename().string();
    core::Reporter silent;
    for (const char* name : {"report.html", "report.md"}) {
      page.out = (out_ / name).string();
      report::report(page, silent);
    }
    result_.report = (out_ / "report.html").string();
  }

  const CompareSettings& s_;
  const ComparePlan plan_;
  core::Reporter& reporter_;
  const fs::path out_;
  CompareResult result_;
};

}  // namespace

namespace {

ComparePlan checked_plan(CompareSettings& settings, const ExpandPaths& expand) {
  const core::SettingsList list = settings_of(settings);
  list.check_required();
  list.check_values();
  if (!settings.evaluate.entries.empty() && settings.evaluate.find(settings.task) == nullptr) {
    throw core::ConfigError(concat("'task' is '", settings.task,
                                   "', which 'evaluate' does not have; name the evaluation that "
                                   "says what was learnt"));
  }
  return plan_of(settings, expand);
}

}  // namespace

std::vector<std::string> run_names(const CompareSettings& given, const ExpandPaths& expand) {
  CompareSettings settings = given;
  std::vector<std::string> names;
  for (const PlannedRun& run : checked_plan(settings, expand).runs) names.push_back(run.name);
  return names;
}

CompareResult compare(const CompareSettings& given, core::Reporter& reporter,
                      const ExpandPaths& expand) {
  CompareSettings settings = given;
  ComparePlan plan = checked_plan(settings, expand);
  const core::DirectoryLock lock(settings.out, settings.out);
  return Study(settings, std::move(plan), reporter).run();
}

}  // namespace corda::study
