// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "study/compare_plan.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/quantity.h"
#include "corda/core/text.h"
#include "corda/covariance/draw.h"
#include "corda/train/train.h"
#include "decompose/centring.h"
#include "decompose/mode_of.h"
#include "study/named_settings.h"

namespace corda::study {

using core::concat;
using core::ConfigNode;

namespace {

using Kind = ConfigNode::Kind;

std::vector<double> numbers_of(const std::string& name, const ConfigNode& node) {
  std::vector<double> numbers;
  core::SettingsList list;
  list.add(name, numbers, "", {0, 1e15});
  list.set(name, node);
  return numbers;
}

// One method of the study.
struct Method {
  std::string name;
  ConfigNode train;
  std::optional<ConfigNode> decompose;
  std::vector<double> rates;
  std::vector<double> ranks;
  std::vector<double> decays;
};

Method method_of(const CompareSettings& s, const std::string& name, const ConfigNode& node) {
  Method method{.name = name,
                .train = {},
                .decompose = {},
                .rates = s.rates,
                .ranks = s.ranks,
                .decays = s.decays};
  const std::vector<std::string> known = {"train", "decompose", "rates", "ranks", "decays"};
  for (const auto& [key, value] : node.entries) {
    if (key == "train") {
      method.train = value;
    } else if (key == "decompose") {
      method.decompose = value;
    } else if (key == "rates") {
      method.rates = numbers_of(key, value);
    } else if (key == "ranks") {
      method.ranks = numbers_of(key, value);
    } else if (key == "decays") {
      method.decays = numbers_of(key, value);
    } else {
      throw core::ConfigError(concat(value.place(), "method '", name, "' has no '", key, "'",
                                     core::suggestion(key, known), "; it may have ",
                                     core::join(known, ", ")));
    }
  }
  return method;
}

void require_whole(const char* name, const std::vector<double>& values) {
  for (const double value : values) {
    if (value != std::floor(value))
      throw core::ConfigError(concat("'", name, "' must be whole numbers; one is ", value));
  }
}

// What a run is called beside its method: its value on each axis that has several.
struct Axes {
  bool ranks = false;
  bool modules = false;
  bool decays = false;

  std::string group(const PlannedRun& run) const {
    std::string name = run.method;
    if (ranks && run.rank > 0) name += concat("-r", run.rank);
    if (modules && !run.modules.empty()) name += "-" + run.modules;
    if (decays) name += concat("-wd", core::short_number(run.decay));
    return name;
  }
  // The name of the adapter of a run, which does not depend on the decay.
  std::string adapter(PlannedRun run) const {
    Axes axes = *this;
    axes.decays = false;
    return axes.group(run);
  }
};

class Planner {
 public:
  Planner(const CompareSettings& settings, const ExpandPaths& expand)
      : s_(settings), expand_(expand) {}

  ComparePlan plan() {
    read_methods();
    for (const auto& [name, node] : s_.evaluate.entries)
      tolerantly(concat("evaluate.", name), [&] { add_evaluation(name, node); });
    for (const double seed : s_.seeds) {
      for (const Method& method : methods_)
        tolerantly(concat("methods.", method.name), [&] { add_runs(method, seed); });
    }
    for (const std::string& name : wanted_)
      tolerantly(concat("calibrations.", name), [&] { add_calibration(name); });
    for (const auto& [adapter, settings] : plan_.adapters)
      tolerantly(concat("methods: adapter '", adapter, "'"), [&] { check_inputs(adapter); });
    std::set<std::string> known;
    std::erase_if(problems_, [&](const auto& problem) { return !known.insert(problem).second; });
    if (plan_.runs.empty() && problems_.empty())
      problems_.emplace_back("'methods' names no method");
    if (!problems_.empty()) throw core::ConfigError(core::join(problems_, "\n"));
    return std::move(plan_);
  }

 private:
  template <typename Work>
  void tolerantly(const std::string& where, const Work& work) {
    collect(problems_, where, work);
  }

  void expand(const core::SettingsList& list) const {
    if (expand_) expand_(list);
  }

  void read_methods() {
    for (const auto& [name, node] : s_.methods.entries) {
      tolerantly("methods", [&] {
        if (!core::can_name_file(name))
          throw core::ConfigError(concat(node.place(), "'", name, "' cannot name a folder"));
        methods_.push_back(method_of(s_, name, node));
      });
    }
    for (const Method& method : methods_) {
      axes_.ranks = axes_.ranks || method.ranks.size() > 1;
      axes_.decays = axes_.decays || method.decays.size() > 1;
    }
    axes_.modules = s_.modules.entries.size() > 1;
  }

  void add_evaluation(const std::string& name, const ConfigNode& node) {
    if (!core::can_name_file(name))
      throw core::ConfigError(concat(node.place(), "'", name, "' cannot name a file"));
    eval::EvalSettings settings;
    read_named(eval::settings_of(settings), node, {{"model", s_.model}, {"adapter", ""}}, expand_);
    settings.device = s_.device;
    settings.threads = s_.threads;
    plan_.evaluations.emplace_back(name, settings);
  }

  void add_runs(const Method& method, double seed) {
    const train::TrainSettings base = base_settings(method);
    const bool is_full = base.method == "full";
    std::vector<double> ranks = method.ranks;
    if (ranks.empty()) ranks = {static_cast<double>(base.lora.rank)};
    if (is_full) ranks = {0};
    require_whole("ranks", ranks);
    require_whole("seeds", {seed});
    std::vector<std::pair<std::string, ConfigNode>> modules = s_.modules.entries;
    if (modules.empty() || is_full) modules.assign(1, {});
    const auto or_base = [](std::vector<double> values, double usual) {
      return values.empty() ? std::vector<double>{usual} : values;
    };
    for (const double rank : ranks) {
      for (const auto& [name, targets] : modules) {
        for (const double decay : or_base(method.decays, base.optim.weight_decay)) {
          for (const double rate : or_base(method.rates, base.optim.lr)) {
            PlannedRun run{.name = "",
                           .group = "",
                           .method = method.name,
                           .modules = name,
                           .rate = rate,
                           .decay = decay,
                           .rank = static_cast<std::int64_t>(rank),
                           .seed = static_cast<std::int64_t>(seed),
                           .train = base};
            add_run(method, targets, std::move(run));
          }
        }
      }
    }
  }

  // The settings of a method before the axes change them.
  train::TrainSettings base_settings(const Method& method) const {
    train::TrainSettings settings;
    settings.method = method.decompose ? "corda" : method.name;
    const core::SettingsList list = train::settings_of(settings);
    list.read(s_.train);
    if (s_.train.find("method") == nullptr && method.train.find("method") == nullptr)
      settings.method = method.decompose ? "corda" : method.name;
    list.read(method.train);
    for (const char* own : {"model", "out", "adapter"}) {
      for (const ConfigNode* node : {&s_.train, &method.train}) {
        if (node->find(own) != nullptr)
          throw core::ConfigError(concat(node->find(own)->place(), "'", own,
                                         "' is each run's own; leave it out of 'train'"));
      }
    }
    return settings;
  }

  void add_run(const Method& method, const ConfigNode& targets, PlannedRun run) {
    run.group = axes_.group(run);
    run.name = concat(run.group, "-lr", core::short_number(run.rate), "-s", run.seed);
    train::TrainSettings& t = run.train;
    const core::SettingsList list = train::settings_of(t);
    t.model = s_.model;
    expand(list);  // what is set from here on is made by the study
    t.out = (fs::path(s_.out) / "runs" / run.name).string();
    t.device = s_.device;
    t.threads = s_.threads;
    t.tuning_cache = s_.tuning_cache;
    t.seed = run.seed;
    t.optim.lr = run.rate;
    t.optim.weight_decay = run.decay;
    if (method.decompose) {
      run.adapter = axes_.adapter(run);
      t.adapter = (fs::path(s_.out) / "adapters" / run.adapter).string();
      add_adapter(method, targets, run);
      // The adapter itself says its rank.
      t.lora.rank = 0;
      t.lora.alpha = 0;
      t.lora.target_modules.clear();
    } else if (t.method == "full") {
      t.lora = {};  // of the methods beside it
    } else {
      t.lora.rank = run.rank;
      if (targets.kind != Kind::kNull) list.set("lora.target_modules", targets);
    }
    list.check_values();
    train::check(t);
    plan_.runs.push_back(std::move(run));
  }

  void add_adapter(const Method& method, const ConfigNode& targets, const PlannedRun& run) {
    if (plan_.adapters.contains(run.adapter)) return;
    decompose::DecomposeSettings settings;
    const core::SettingsList list = decompose::settings_of(settings);
    list.read(*method.decompose);
    if (run.rank > 0) settings.rank = run.rank;
    if (targets.kind != Kind::kNull) list.set("target_modules", targets);
    settings.model = s_.model;
    settings.device = s_.device;
    settings.threads = s_.threads;
    settings.out = (fs::path(s_.out) / "adapters" / run.adapter).string();
    expand(list);
    // Paths that are names of calibrations, as the file has them.
    std::vector<std::string>& used = plan_.calibrations_of[run.adapter];
    const auto place = [&](const ConfigNode& name) {
      if (s_.calibrations.find(name.text) == nullptr) return name.text;
      used.push_back(name.text);
      wanted_.insert(name.text);
      return (fs::path(s_.out) / "covariance" / name.text).string();
    };
    if (const ConfigNode* names = method.decompose->find("covariance"); names != nullptr) {
      settings.covariance.clear();
      if (names->kind == Kind::kScalar) settings.covariance.push_back(place(*names));
      for (const ConfigNode& name : names->items) settings.covariance.push_back(place(name));
    }
    if (const ConfigNode* name = method.decompose->find("task_covariance"); name != nullptr)
      settings.task_covariance = place(*name);
    list.check_values();
    decompose::check(settings);
    plan_.adapters.emplace(run.adapter, settings);
  }

  void add_calibration(const std::string& name) {
    if (!core::can_name_file(name))
      throw core::ConfigError(concat("'", name, "' cannot name a folder"));
    calibrate::CalibrateSettings settings;
    read_named(calibrate::settings_of(settings), *s_.calibrations.find(name),
               {{"model", s_.model}, {"out", (fs::path(s_.out) / "covariance" / name).string()}},
               expand_);
    settings.device = s_.device;
    settings.threads = s_.threads;
    plan_.calibrations.emplace(name, settings);
  }

  // What decompose would refuse once its covariances are made.
  void check_inputs(const std::string& adapter) const {
    std::string centred;
    std::string whole;
    const decompose::DecomposeSettings& settings = plan_.adapters.at(adapter);
    const decompose::Mode& mode = decompose::mode_of(settings);
    for (const std::string& name : plan_.calibrations_of.at(adapter)) {
      const auto found = plan_.calibrations.find(name);
      if (found == plan_.calibrations.end()) continue;  // which is a problem of its own
      if (found->second.of == "gradients") {
        const bool is_task = settings.task_covariance == found->second.out;
        if (is_task && mode.takes_gradients) continue;
        throw core::ConfigError(concat("the calibration '", name,
                                       "' has 'of: gradients', which mode dual alone takes, as "
                                       "task_covariance; give one of inputs"));
      }
      (found->second.center ? centred : whole) = name;
    }
    if (centred.empty()) return;
    if (!mode.centres) {
      throw core::ConfigError(concat("the calibration '", centred, "' has 'center: true', and for ",
                                     decompose::title_of(mode),
                                     " the mean of the inputs counts; give one without it"));
    }
    if (!whole.empty()) {
      throw core::ConfigError(concat("the calibration '", centred, "' has 'center: true' and '",
                                     whole, "' has not; give calibrations that are alike"));
    }
  }

  const CompareSettings& s_;
  const ExpandPaths& expand_;
  std::vector<Method> methods_;
  Axes axes_;
  std::set<std::string> wanted_;  // calibrations
  std::vector<std::string> problems_;
  ComparePlan plan_;
};

// Where and how something is computed, not what: a study may be moved to another machine.
bool is_place(const std::string& name) {
  static const std::set<std::string> kPlaces = {
      "out",           "device",     "threads",    "tuning_cache",   "log",
      "shard",         "checkpoint", "graphs",     "recompute",      "offload",
      "hidden_states", "adapter",    "covariance", "task_covariance"};
  return kPlaces.contains(name);
}

ConfigNode without_places(ConfigNode node) {
  std::erase_if(node.entries, [](const auto& entry) { return is_place(entry.first); });
  return node;
}

// Without places, and without choices at what was done before there was one, as in studies that
// were begun then.
ConfigNode binding_in(const core::SettingsList& list) {
  static const std::set<std::string> kLater = {"center", "of", "gradient_batch"};
  ConfigNode node = without_places(list.resolved());
  std::erase_if(node.entries, [&](const auto& entry) {
    return kLater.contains(entry.first) && list.find(entry.first)->free();
  });
  return node;
}

ConfigNode map_of(std::vector<std::pair<std::string, ConfigNode>> entries) {
  ConfigNode node;
  node.kind = Kind::kMap;
  node.entries = std::move(entries);
  return node;
}

}  // namespace

core::SettingsList settings_of(CompareSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  list.add(
      node_setting("train", s.train,
                   "settings of corda train that all runs share, without model, out, adapter"));
  list.add(node_setting("calibrations", s.calibrations,
                        "name: settings of corda calibrate; the names stand for covariances in "
                        "'decompose' of a method"));
  list.add(node_setting("methods", s.methods,
                        "name: {train: settings of its own, decompose: settings of corda "
                        "decompose, rates, ranks, decays: of its own}; a method without "
                        "train.method is called what it is"));
  list.add("rates", s.rates, "learning rates; none: that of 'train'", {0, 1e6});
  list.add("ranks", s.ranks, "ranks of the adapters; none: that of 'train' or 'decompose'",
           {0, 65536});
  list.add("decays", s.decays, "weight decays; none: that of 'train'", {0, 1e6});
  list.add("seeds", s.seeds, "seeds", {0, 9e15});
  list.add(node_setting("modules", s.modules, "name: target modules; none: all-linear"));
  list.add(node_setting("evaluate", s.evaluate,
                        "name: settings of corda eval, of every run and of the base, without "
                        "model and adapter"));
  list.add("task", s.task,
           "the evaluation that says what was learnt; the others say what was kept");
  list.add("keep_models", s.keep_models, "keep the weights of method full once they are evaluated");
  list.add("device", s.device, "auto, cpu, cuda or cuda:N");
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  list.add("out", s.out, "folder of the study").path().required();
  return list;
}

ComparePlan plan_of(const CompareSettings& settings, const ExpandPaths& expand) {
  return Planner(settings, expand).plan();
}

ConfigNode binding_of(const calibrate::CalibrateSettings& settings) {
  calibrate::CalibrateSettings copy = settings;
  covariance::settle_scaling(copy, copy.center || copy.of == "gradients");
  return binding_in(calibrate::settings_of(copy));
}

ConfigNode binding_of_adapter(const ComparePlan& plan, const std::string& adapter) {
  decompose::DecomposeSettings copy = plan.adapters.at(adapter);
  decompose::settle_inputs(copy);
  ConfigNode node = map_of({{"decompose", binding_in(decompose::settings_of(copy))}});
  // Folders of this study by their names: the whole of it may be moved.
  std::vector<std::string> used;
  for (const std::string& path : copy.covariance) used.push_back(fs::path(path).filename());
  node.entries.emplace_back("covariance", ConfigNode::list(used));
  node.entries.emplace_back("task_covariance",
                            ConfigNode::scalar(fs::path(copy.task_covariance).filename().string()));
  for (const std::string& name : plan.calibrations_of.at(adapter))
    node.entries.emplace_back("calibration " + name, binding_of(plan.calibrations.at(name)));
  return node;
}

ConfigNode binding_of(const eval::EvalSettings& settings) {
  eval::EvalSettings copy = settings;
  return without_places(eval::settings_of(copy).resolved());
}

ConfigNode binding_of(const ComparePlan& plan, const PlannedRun& run) {
  train::TrainSettings copy = run.train;
  ConfigNode node = map_of({{"train", without_places(train::settings_of(copy).resolved())}});
  if (!run.adapter.empty())
    node.entries.emplace_back("adapter", binding_of_adapter(plan, run.adapter));
  return node;
}

}  // namespace corda::study
