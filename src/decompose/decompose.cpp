// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/decompose/decompose.h"

#include <ATen/ATen.h>

#include <chrono>
#include <deque>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/covariance_store.h"
#include "corda/io/tensor.h"
#include "corda/linalg/device.h"
#include "corda/linalg/spectrum.h"
#include "decompose/plan.h"

namespace corda::decompose {

using core::concat;
using core::ConfigError;

namespace {

constexpr const char* kSettingsFile = "settings.resolved.yaml";

bool is_dual(const DecomposeSettings& s) { return s.method == "corda" && s.mode == "dual"; }

void check_settings(const DecomposeSettings& s) {
  std::vector<std::string> problems;
  if (s.method == "corda" && s.covariance.empty()) {
    problems.emplace_back("method corda needs --covariance: a directory made by corda calibrate");
  }
  if (s.method != "corda" && (!s.covariance.empty() || !s.task_covariance.empty())) {
    problems.emplace_back("method " + s.method +
                          " uses no covariance; leave out --covariance and --task-covariance");
  }
  if (is_dual(s) && s.task_covariance.empty()) {
    problems.emplace_back(
        "mode dual needs --task-covariance: the covariance of the task, beside --covariance of the "
        "knowledge");
  }
  if (s.method == "corda" && s.mode != "dual" && !s.task_covariance.empty()) {
    problems.emplace_back(
        "--task-covariance is for mode dual only; give the task's covariance as --covariance with "
        "mode ipa");
  }
  if (s.target_modules.empty()) problems.emplace_back("--target-modules names no layer");
  if (!problems.empty()) throw ConfigError(core::join(problems, "\n"));
}

void check_model(const io::CovarianceReader& covariance, const io::Checkpoint& model,
                 const std::string& fingerprint) {
  if (covariance.manifest().model == fingerprint) return;
  throw ConfigError(concat("the covariance '", covariance.directory().string(),
                           "' was collected on another model: '", covariance.manifest().model_name,
                           "' (", covariance.manifest().model, "), but '",
                           model.directory().string(), "' is ", fingerprint,
                           "; give that model with --model, or run corda calibrate on this one"));
}

// The covariances that one decomposition uses.
struct Covariances {
  std::deque<io::CovarianceReader> knowledge;
  std::deque<io::CovarianceReader> task;  // none or one

  std::vector<const io::CovarianceReader*> all() const {
    std::vector<const io::CovarianceReader*> result;
    for (const auto& reader : knowledge) result.push_back(&reader);
    for (const auto& reader : task) result.push_back(&reader);
    return result;
  }
};

Covariances open_covariances(const DecomposeSettings& settings, const io::Checkpoint& model,
                             const std::string& fingerprint) {
  Covariances result;
  for (const auto& directory : settings.covariance) result.knowledge.emplace_back(directory);
  if (!settings.task_covariance.empty()) result.task.emplace_back(settings.task_covariance);
  for (const auto* reader : result.all()) check_model(*reader, model, fingerprint);
  return result;
}

std::int64_t tokens_of(const std::deque<io::CovarianceReader>& readers, const std::string& site) {
  std::int64_t tokens = 0;
  for (const auto& reader : readers) tokens += reader.manifest().sites.at(site).tokens;
  return tokens;
}

// The (mixed) covariance of a site, fp64 on the device.
at::Tensor load_mixed(const std::deque<io::CovarianceReader>& readers, const std::string& site,
                      at::Device device) {
  if (readers.size() == 1) return readers.front().load(site).to(device, at::kDouble);
  at::Tensor sum;
  double traces = 0;
  for (const auto& reader : readers) {
    at::Tensor c = reader.load(site).to(device, at::kDouble);
    const double trace = c.diagonal().sum().item<double>();
    if (!(trace > 0)) {
      throw core::NumericalError(concat("'", reader.directory().string(), "': the covariance of '",
                                        site, "' cannot be mixed: its trace is ", trace));
    }
    traces += trace;
    c.div_(trace);
    sum = sum.defined() ? sum.add_(c) : c;
  }
  const auto count = static_cast<double>(readers.size());
  return sum.mul_(traces / (count * count));
}

class Decomposer {
 public:
  Decomposer(const DecomposeSettings& settings, const io::Checkpoint& model,
             const Covariances& covariances, at::Device device, core::Reporter& reporter)
      : settings_(settings),
        model_(model),
        covariances_(covariances),
        device_(device),
        reporter_(reporter) {}

  // Adds the site's layers to `result`.
  void run(const PlannedSite& site, adapter::Adapter& result) {
    at::Tensor damped;
    linalg::Spectrum directions;
    std::int64_t tokens = 0;
    if (!site.name.empty()) {
      tokens = warn_of_few_tokens(site);
      damped =
          linalg::damp(load_mixed(covariances_.knowledge, site.name, device_), settings_.damping);
    }
    if (is_dual(settings_)) {
      const at::Tensor task = load_mixed(covariances_.task, site.name, device_);
      directions = linalg::generalised_top(task, damped, settings_.rank);
    }
    for (const auto& layer : site.layers) {
      core::throw_if_stopped(reporter_, "decomposing");
      const linalg::Spectrum found = run_layer(layer, damped, directions, result);
      adapter::LayerReport report{.rank = settings_.rank,
                                  .energy = energy_of(found),
                                  .total_energy = found.total,
                                  .damping = settings_.method == "corda" ? settings_.damping : 0.0,
                                  .tokens = tokens};
      say(layer, report, found);
      result.reports[layer.module] = report;
      reporter_.advance(1, layer.module);
    }
  }

 private:
  double energy_of(const linalg::Spectrum& found) const {
    return is_dual(settings_) ? found.values.sum().item<double>()
                              : at::linalg_norm(found.values).item<double>();
  }

  linalg::Spectrum run_layer(const PlannedLayer& layer, const at::Tensor& damped,
                             const linalg::Spectrum& directions, adapter::Adapter& result) {
    if (is_dual(settings_)) {
      result.layers[layer.module] = adapter::initialise_dual(directions, layer.out_features);
      return directions;
    }
    const at::Tensor weight =
        io::view_tensor(model_, layer.module + ".weight").to(device_, at::kDouble);
    const auto which = settings_.mode == "kpa" ? linalg::Which::kSmallest : linalg::Which::kLargest;
    const linalg::Spectrum found =
        settings_.method == "pissa"
            ? linalg::svd_top(weight, settings_.rank)
            : linalg::left_singular_subspace(weight, damped, settings_.rank, which);
    result.layers[layer.module] = adapter::initialise_from_subspace(weight, found, result.scale());
    const auto zero = adapter::vanishing_components(found, layer.out_features, layer.in_features);
    if (zero > 0) {
      reporter_.warn(concat(layer.module, ": ", zero, " of the ", settings_.rank,
                            " components have no weight (the matrix is rank-deficient); their rows "
                            "start at zero and cannot learn"));
    }
    return found;
  }

  std::int64_t warn_of_few_tokens(const PlannedSite& site) {
    const std::int64_t width = site.layers.front().in_features;
    const auto check = [&](std::int64_t tokens, const char* what) {
      if (tokens >= width) return;
      reporter_.warn(concat(site.name, ": ", what, " saw ", tokens, " tokens, fewer than its ",
                            width,
                            " features, so directions it never saw are told apart by the damping "
                            "alone; calibrate on more samples"));
    };
    const std::int64_t tokens = tokens_of(covariances_.knowledge, site.name);
    check(tokens, "the covariance");
    if (!covariances_.task.empty())
      check(tokens_of(covariances_.task, site.name), "the task covariance");
    return tokens;
  }

  void say(const PlannedLayer& layer, const adapter::LayerReport& report,
           const linalg::Spectrum& found) {
    reporter_.info(concat(layer.module, " [", layer.out_features, ", ", layer.in_features,
                          "]: rank ", report.rank, ", energy ", report.energy, " of ",
                          report.total_energy, ", damping ", report.damping, " (", found.route,
                          ")"));
  }

  const DecomposeSettings& settings_;
  const io::Checkpoint& model_;
  const Covariances& covariances_;
  at::Device device_;
  core::Reporter& reporter_;
};

adapter::Adapter empty_adapter(const DecomposeSettings& settings, const std::string& fingerprint,
                               const Covariances& covariances) {
  adapter::Adapter result;
  result.method = settings.method;
  result.mode = settings.method == "corda" ? settings.mode : "";
  result.rank = settings.rank;
  result.alpha = settings.alpha > 0 ? settings.alpha : static_cast<double>(settings.rank);
  result.train_a = !is_dual(settings);
  result.base_fingerprint = fingerprint;
  result.base_name = settings.model;
  for (const auto* reader : covariances.all())
    result.covariance_fingerprints.push_back(reader->fingerprint());
  return result;
}

double energy_share(const DecomposeSettings& settings,
                    const std::map<std::string, adapter::LayerReport>& reports) {
  double kept = 0;
  double total = 0;
  for (const auto& [module, report] : reports) {
    kept += is_dual(settings) ? report.energy : report.energy * report.energy;
    total += is_dual(settings) ? report.total_energy : report.total_energy * report.total_energy;
  }
  return total > 0 ? kept / total : 0;
}

void write_result(const DecomposeSettings& settings, const adapter::Adapter& result,
                  core::AtomicDirectory& directory) {
  adapter::write_adapter(directory.staging(), result);
  DecomposeSettings resolved = settings;
  resolved.alpha = result.alpha;
  core::write_file_atomic(directory.staging() / kSettingsFile,
                          core::to_yaml(settings_of(resolved).resolved()));
  directory.commit();
}

}  // namespace

core::SettingsList settings_of(DecomposeSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, "base model directory").required();
  list.add("covariance", s.covariance,
           "covariance directory of `corda calibrate`; several are mixed with equal weight");
  list.add("task_covariance", s.task_covariance, "mode dual: covariance directory of the task");
  list.add("method", s.method, "corda, or pissa (singular vectors of the weight alone)",
           {"corda", "pissa"});
  list.add("mode", s.mode,
           "kpa keeps knowledge (adapts the components it uses least; PEFT's kpm), ipa learns the "
           "task best (PEFT's ipm), dual does both "
           "from two covariances",
           {"kpa", "ipa", "dual"});
  list.add("rank", s.rank, "rank of the adapter", {1, 65536});
  list.add("alpha", s.alpha, "the adapter is scaled by alpha / rank; 0 means the rank", {0, 1e6});
  list.add("target_modules", s.target_modules, "last name parts of the layers to adapt");
  list.add("damping", s.damping, "c of C + c mean(diag C) I", {1e-12, 1e6});
  list.add("device", s.device, "auto, cpu, cuda or cuda:N");
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  list.add("out", s.out, "adapter directory to write").required();
  return list;
}

DecomposeResult decompose(const DecomposeSettings& settings, core::Reporter& reporter) {
  const auto begin = std::chrono::steady_clock::now();
  check_settings(settings);
  core::AtomicDirectory directory(settings.out);  // first: a refused --out should not cost minutes
  linalg::set_threads(settings.threads);
  const at::Device device = linalg::device_of(settings.device);
  const io::Checkpoint model(settings.model);
  const std::string fingerprint = model.fingerprint();
  const Covariances covariances = open_covariances(settings, model, fingerprint);
  const auto sites = plan_layers(model, settings.target_modules, settings.rank, covariances.all());
  adapter::Adapter result = empty_adapter(settings, fingerprint, covariances);
  std::int64_t layers = 0;
  for (const auto& site : sites) layers += static_cast<std::int64_t>(site.layers.size());
  reporter.info(concat("decomposing ", layers, " layers on ", linalg::describe(device), ", rank ",
                       settings.rank));
  reporter.begin("decompose", layers, "layer");
  Decomposer decomposer(settings, model, covariances, device, reporter);
  for (const auto& site : sites) {
    try {
      decomposer.run(site, result);
    } catch (const core::NumericalError& error) {
      throw core::NumericalError(
          concat(site.name.empty() ? site.layers.front().module : site.name, ": ", error.what()));
    }
  }
  reporter.end();
  write_result(settings, result, directory);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {.layers = layers,
          .rank = settings.rank,
          .energy_share = energy_share(settings, result.reports),
          .seconds = elapsed.count(),
          .reports = result.reports};
}

}  // namespace corda::decompose
