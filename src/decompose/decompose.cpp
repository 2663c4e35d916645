// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/decompose/decompose.h"

#include <ATen/ATen.h>

#include <array>
#include <chrono>
#include <utility>

#include "adapter/target_modules.h"
#include "corda/adapter/check_fit.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/core/work_directory.h"
#include "corda/covariance/stream.h"
#include "corda/data/load.h"
#include "corda/io/covariance_store.h"
#include "corda/io/tensor.h"
#include "corda/linalg/device.h"
#include "corda/model/config.h"
#include "decompose/finished_sites.h"
#include "decompose/plan.h"
#include "decompose/report.h"
#include "decompose/site_reader.h"
#include "decompose/site_solver.h"

namespace corda::decompose {

using core::concat;
using core::ConfigError;

namespace {

void check_settings(const DecomposeSettings& s) {
  std::vector<std::string> problems;
  const bool streams = !s.data.empty();
  if (s.method == "corda" && s.covariance.empty() && !streams) {
    problems.emplace_back(
        "method corda needs --covariance: a directory made by corda calibrate, or --data: text to "
        "calibrate on");
  }
  if (s.method != "corda" &&
      (!s.covariance.empty() || !s.task_covariance.empty() || streams || !s.task_data.empty())) {
    problems.emplace_back("method " + s.method +
                          " uses no covariance; leave out --covariance, --task-covariance, --data "
                          "and --task-data");
  } else if (streams && !(s.covariance.empty() && s.task_covariance.empty())) {
    problems.emplace_back(
        "--data collects the covariances itself; leave out --covariance and --task-covariance");
  } else if (!streams && !s.task_data.empty()) {
    problems.emplace_back("--task-data goes with --data; give --task-covariance with --covariance");
  }
  if (is_dual(s) && !streams && s.task_covariance.empty()) {
    problems.emplace_back(
        "mode dual needs --task-covariance: the covariance of the task, beside --covariance of the "
        "knowledge");
  }
  if (is_dual(s) && streams && s.task_data.empty())
    problems.emplace_back(
        "mode dual needs --task-data: the task's text, beside --data of the knowledge");
  if (s.method == "corda" && s.mode != "dual" &&
      !(s.task_covariance.empty() && s.task_data.empty())) {
    problems.emplace_back(
        "--task-covariance and --task-data are for mode dual only; give the task's as --covariance "
        "or --data with mode ipa");
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

Covariances open_covariances(const DecomposeSettings& settings, const io::Checkpoint& model,
                             const std::string& fingerprint) {
  Covariances result;
  for (const auto& directory : settings.covariance) result.knowledge.emplace_back(directory);
  if (!settings.task_covariance.empty()) result.task.emplace_back(settings.task_covariance);
  for (const auto* reader : result.all()) check_model(*reader, model, fingerprint);
  return result;
}

// The names that --target-modules stands for in this model.
std::vector<std::string> targets_of(const DecomposeSettings& settings,
                                    const model::ModelDescription& config) {
  return adapter::expand_targets(settings.target_modules, model::layers_of_blocks(config));
}

// Codes of a quantised weight are numbers too, but not its own.
void check_types(const io::Checkpoint& model, const std::vector<PlannedSite>& sites) {
  for (const auto& site : sites) {
    for (const auto& layer : site.layers) {
      const std::string weight = model.stored_name(layer.module + ".weight");
      const io::DType type = model.info(weight).dtype;
      if (io::is_floating(type)) continue;
      throw core::FormatError(concat("'", weight, "' is ", io::to_string(type), " in '",
                                     model.directory().string(),
                                     "', a quantised weight; give the model in bf16, fp16 or "
                                     "fp32"));
    }
  }
}

// The draws of a decomposition that calibrates: knowledge, and for dual the task.
std::vector<covariance::Draw> draw_all(const DecomposeSettings& settings,
                                       const model::ModelDescription& config,
                                       core::Reporter& reporter) {
  std::vector<covariance::Draw> draws;
  for (const auto* files : {&settings.data, &settings.task_data}) {
    if (files->empty()) continue;
    draws.push_back(covariance::draw_samples(settings, *files, settings.model, config, reporter));
  }
  return draws;
}

// Everything the adapters depend on.
core::ConfigNode made_with(DecomposeSettings settings, const std::string& model,
                           const std::vector<std::string>& sources, at::Device device) {
  core::ConfigNode result = settings_of(settings).binding();
  const auto add = [&](const char* name, const std::string& value) {
    result.entries.emplace_back(name, core::ConfigNode::scalar(value));
  };
  add("command", "decompose 4");
  add("model", model);
  if (!settings.data.empty()) add("config.json", model::config_fingerprint(settings.model));
  add(settings.data.empty() ? "covariance" : "data", core::join(sources, ", "));
  add("device", device.is_cuda() ? "cuda" : "cpu");
  return result;
}

// Decomposes from covariance directories (or, for pissa, from none), site after site.
void run_from_directories(const io::Checkpoint& model, const Covariances& covariances,
                          const std::vector<PlannedSite>& sites, const SiteSolver& solver,
                          bool weights, at::Device device, FinishedSites& finished) {
  std::vector<const PlannedSite*> left;
  for (const auto& site : sites) {
    if (!finished.has(site)) left.push_back(&site);
  }
  SiteReader reader(model, covariances, weights, device);
  for (std::size_t i = 0; i < left.size(); ++i) {
    SiteReader::Loaded loaded = reader.take(*left[i], i + 1 < left.size() ? left[i + 1] : nullptr);
    const auto weight = [&](const std::string& module) { return loaded.weights.at(module); };
    finished.add(*left[i], solver.solve(*left[i], std::move(loaded.input), weight));
  }
}

// A block's weight as it is stored, from the device where it was not converted.
at::Tensor stored_weight(const io::Checkpoint& model, const model::Block& block,
                         const std::string& module, at::Device device) {
  const at::Tensor stored = io::view_tensor(model, module + ".weight");
  for (const model::Linear* linear : block.projections()) {
    if (linear->name == module && linear->weight.scalar_type() == stored.scalar_type())
      return linear->weight;
  }
  return stored.to(device);
}

// Calibrates and decomposes, block after block.
void run_from_data(const DecomposeSettings& settings, const io::Checkpoint& model,
                   const model::ModelDescription& config,
                   const std::vector<covariance::Draw>& draws,
                   const std::vector<PlannedSite>& sites, const SiteSolver& solver,
                   at::Device device, FinishedSites& finished, core::Reporter& reporter) {
  std::map<std::string, const PlannedSite*> left;
  for (const auto& site : sites) {
    if (!finished.has(site)) left[site.name] = &site;
  }
  covariance::StreamOptions options = covariance::stream_options(settings, device);
  options.wanted = [&](const std::string& site) { return left.contains(site); };
  covariance::stream_blocks(
      model, config, draws, options,
      [&](std::int64_t, const model::Block& block,
          std::vector<covariance::BlockCovariances>& found) {
        for (std::size_t i = 0; i < found.front().size(); ++i) {
          const PlannedSite& site = *left.at(found.front()[i].site.name);
          SiteInput input;
          input.tokens = found.front()[i].tokens;
          input.knowledge.push_back(std::exchange(found.front()[i].covariance, {}));
          if (found.size() > 1) input.task.push_back(std::exchange(found[1][i].covariance, {}));
          finished.add(site, solver.solve(site, std::move(input), [&](const std::string& module) {
            return stored_weight(model, block, module, device);
          }));
        }
      },
      reporter);
}

void check_tokens(const DecomposeSettings& settings, const std::vector<PlannedSite>& sites,
                  const Covariances& covariances, const std::vector<covariance::Draw>& draws,
                  core::Reporter& reporter) {
  const std::array<const char*, 2> names = {"the covariances", "the task's covariances"};
  const std::array<const std::deque<io::CovarianceReader>*, 2> read = {&covariances.knowledge,
                                                                       &covariances.task};
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!read[i]->empty()) {
      warn_of_few_tokens(
          sites, names[i],
          [&](const PlannedSite& site) { return Covariances::tokens(*read[i], site.name); },
          "calibrate on more text", reporter);
    } else if (i < draws.size()) {
      warn_of_few_tokens(
          sites, names[i], [&](const PlannedSite&) { return draws[i].tokens; },
          covariance::advice_for_more_tokens(draws[i], settings), reporter);
    }
  }
}

// Says what begins; gives the number of layers.
std::int64_t announce(const DecomposeSettings& settings, const std::vector<PlannedSite>& sites,
                      const FinishedSites& finished, at::Device device, core::Reporter& reporter) {
  std::int64_t layers = 0;
  for (const auto& site : sites) layers += static_cast<std::int64_t>(site.layers.size());
  reporter.info(concat("decomposing ", layers, " layers on ", linalg::describe(device), ", rank ",
                       settings.rank));
  if (finished.layers_taken() > 0) {
    reporter.info(concat("going on after ", finished.layers_taken(), " of ", layers,
                         " layers that an earlier process finished"));
  }
  reporter.begin("decompose", layers, "layer", finished.layers_taken());
  return layers;
}

adapter::Adapter empty_adapter(const DecomposeSettings& settings, const std::string& fingerprint,
                               std::vector<std::string> sources) {
  adapter::Adapter result;
  result.method = settings.method;
  result.mode = settings.method == "corda" ? settings.mode : "";
  result.rank = settings.rank;
  result.alpha = settings.alpha > 0 ? settings.alpha : static_cast<double>(settings.rank);
  result.train_a = !is_dual(settings);
  result.base_fingerprint = fingerprint;
  result.base_name = settings.model;
  result.covariance_fingerprints = std::move(sources);
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
  const double share = total > 0 ? kept / total : 0;
  // Rounding: a covariance summed in fp32 may have eigenvalues below zero.
  return share > 1 ? 1 : share;
}

// Everything of the result but time, memory and what was skipped.
DecomposeResult summarise(const DecomposeSettings& settings, const adapter::Adapter& result,
                          std::int64_t layers) {
  DecomposeResult summary;
  summary.layers = layers;
  summary.rank = settings.rank;
  summary.energy_share = energy_share(settings, result.reports);
  summary.reports = result.reports;
  for (const auto& [module, report] : result.reports) {
    if (!report.refused.empty()) ++summary.layers_redone;
  }
  summary.worst_bound = worst_bound(result.reports);
  return summary;
}

void write_result(const DecomposeSettings& settings, const adapter::Adapter& result,
                  FinishedSites& finished, core::AtomicDirectory& directory) {
  std::vector<std::string> modules;
  for (const auto& [module, report] : result.reports) modules.push_back(module);
  adapter::write_adapter_notes(directory.staging(), result, modules, !is_dual(settings));
  DecomposeSettings resolved = settings;
  resolved.alpha = result.alpha;
  core::write_settings(directory.staging(), settings_of(resolved));
  finished.finish(directory.staging());
  directory.commit();
}

}  // namespace

core::SettingsList settings_of(DecomposeSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required().free();
  model::add_assume_family(list, s.assume_family);
  list.add("covariance", s.covariance,
           "covariance directory of `corda calibrate`; several are mixed with equal weight")
      .path()
      .free();
  list.add("task_covariance", s.task_covariance, "mode dual: covariance directory of the task")
      .path()
      .free();
  list.add("data", s.data,
           "calibrate on this file in the same pass, instead of --covariance; may be given several "
           "times")
      .path(core::PathKind::kData)
      .free();
  list.add("task_data", s.task_data, "mode dual with --data: the task's file, likewise")
      .path(core::PathKind::kData)
      .free();
  list.add("method", s.method, "corda, or pissa (singular vectors of the weight alone)",
           {"corda", "pissa"});
  list.add("mode", s.mode,
           "kpa keeps knowledge (adapts the components it uses least; PEFT's kpm), ipa learns the "
           "task best (PEFT's ipm), dual does both "
           "from two covariances",
           {"kpa", "ipa", "dual"});
  list.add("rank", s.rank, "rank of the adapter", {1, 65536});
  list.add("alpha", s.alpha, "the adapter is scaled by alpha / rank; 0 means the rank", {0, 1e6});
  list.add("target_modules", s.target_modules,
           "last name parts of the layers to adapt; all-linear: every linear layer of the blocks")
      .split_at_commas();
  list.add("damping", s.damping, "c of C + c mean(diag C) I", {1e-12, 1e6});
  list.add("exact", s.exact, "take the exact fp64 route for every layer, slower by 3 to 20 times");
  covariance::add_draw_settings(list, s);
  list.add("device", s.device, "auto, cpu, cuda or cuda:N").free();
  list.add("out", s.out, "adapter directory to write").path().required().free();
  return list;
}

DecomposeResult decompose(const DecomposeSettings& given, core::Reporter& reporter) {
  DecomposeSettings settings = given;
  settings_of(settings).check_values();
  if (!settings.data.empty() && settings.date.empty()) settings.date = data::today();
  const auto begin = std::chrono::steady_clock::now();
  check_settings(settings);
  core::AtomicDirectory directory(settings.out);  // first: a refused --out should not cost minutes
  core::refuse_foreign_work(settings.out);
  linalg::set_threads(settings.threads);
  const at::Device device = linalg::device_of(settings.device);
  const io::Checkpoint model = io::open_model(settings.model, reporter);
  const std::string fingerprint = model.fingerprint();
  const model::ModelDescription config =
      model::describe_model(model, reporter, settings.assume_family);
  const Covariances covariances = open_covariances(settings, model, fingerprint);
  std::vector<std::string> sources;
  for (const auto* reader : covariances.all()) sources.push_back(reader->fingerprint());
  std::vector<covariance::Draw> draws;
  std::vector<PlannedSite> sites;
  settings.target_modules = targets_of(settings, config);
  if (settings.data.empty()) {
    sites = plan_layers(config, settings.target_modules, settings.rank, covariances.all());
    check_types(model, sites);
  } else {
    settings.seq_len = model::window_tokens(config, settings.seq_len, reporter);
    sites = plan_layers(config, settings.target_modules, settings.rank);
    check_types(model, sites);
    draws = draw_all(settings, config, reporter);
    for (const auto& draw : draws) sources.push_back("draw:" + draw.fingerprint());
  }
  // Another draw of the same files, with another --samples or --seed, is no other data.
  core::WorkDirectory work(settings.out, made_with(settings, fingerprint, sources, device),
                           reporter, /*derived=*/{"data"});
  adapter::Adapter result = empty_adapter(settings, fingerprint, sources);
  result.base_blocks = adapter::count_blocks(model);
  FinishedSites finished(work, sites, is_dual(settings) ? settings.rank : 2 * settings.rank,
                         result.reports);
  check_tokens(settings, sites, covariances, draws, reporter);
  const std::int64_t layers = announce(settings, sites, finished, device, reporter);
  const SiteSolver solver(settings, result.scale(), reporter);
  if (draws.empty()) {
    run_from_directories(model, covariances, sites, solver, !is_dual(settings), device, finished);
  } else {
    run_from_data(settings, model, config, draws, sites, solver, device, finished, reporter);
  }
  reporter.end();
  write_result(settings, result, finished, directory);
  work.remove();
  report_layers(result.reports, reporter);
  DecomposeResult summary = summarise(settings, result, layers);
  summary.layers_skipped = finished.layers_taken();
  summary.peak_memory_bytes = linalg::peak_memory_bytes(device);
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return summary;
}

}  // namespace corda::decompose
