// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/decompose/decompose.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "adapter/target_modules.h"
#include "corda/adapter/check_fit.h"
#include "corda/adapter/tuning.h"
#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/core/work_directory.h"
#include "corda/covariance/stream.h"
#include "corda/data/load.h"
#include "corda/dist/watchful_reporter.h"
#include "corda/io/covariance_store.h"
#include "corda/io/tensor.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "corda/linalg/warm_up.h"
#include "corda/model/config.h"
#include "corda/quant/model_weights.h"
#include "decompose/centring.h"
#include "decompose/finished_sites.h"
#include "decompose/mode_of.h"
#include "decompose/plan.h"
#include "decompose/ranks.h"
#include "decompose/rehearsal.h"
#include "decompose/report.h"
#include "decompose/site_exchange.h"
#include "decompose/site_reader.h"
#include "decompose/site_solver.h"

namespace corda::decompose {

using core::concat;
using core::ConfigError;

namespace {

void check_model(const io::CovarianceReader& covariance, const quant::ModelWeights& model,
                 const std::string& fingerprint) {
  if (covariance.manifest().model == fingerprint) return;
  throw ConfigError(concat("the covariance '", covariance.directory().string(),
                           "' was collected on another model: '", covariance.manifest().model_name,
                           "' (", covariance.manifest().model, "), but '",
                           model.directory().string(), "' is ", fingerprint,
                           "; give that model with --model, or run corda calibrate on this one"));
}

Covariances open_covariances(const DecomposeSettings& settings, const quant::ModelWeights& model,
                             const std::string& fingerprint) {
  Covariances result;
  for (const auto& directory : settings.covariance) result.knowledge.emplace_back(directory);
  if (!settings.task_covariance.empty()) result.task.emplace_back(settings.task_covariance);
  for (const auto* reader : result.all()) check_model(*reader, model, fingerprint);
  return result;
}

// Refuses a base of which nobody knows what its codes lost, where the mode makes that good.
void check_precise(const DecomposeSettings& settings, const quant::ModelWeights& model) {
  const Mode& mode = mode_of(settings);
  if (!mode.corrects_base || model.quantised_layers() == 0) return;
  throw ConfigError(concat(title_of(mode), " makes good what ", settings.base,
                           " loses of the weights, but '", model.directory().string(),
                           "' is quantised already (", model.format(),
                           "); give the model in 16 bits that it was made from"));
}

// The names that --target-modules stands for in this model.
std::vector<std::string> targets_of(const DecomposeSettings& settings,
                                    const model::ModelDescription& config) {
  return adapter::expand_targets("--target-modules", settings.target_modules,
                                 model::layers_of_blocks(config));
}

// Refuses layers whose file holds codes that no reader understands. This comes before anything else
// is read, for codes are numbers too and would be decomposed as if they were weights.
void check_types(const quant::ModelWeights& model, const std::vector<PlannedSite>& sites) {
  for (const auto& site : sites) {
    for (const auto& layer : site.layers) model.require_values(layer.module + ".weight");
  }
}

// Draws the samples of a decomposition that calibrates: those of the knowledge, and for modes with
// two covariances those of the task.
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

// Everything the adapters depend on. A work directory that was made with the same may be taken up.
core::ConfigNode made_with(DecomposeSettings settings, const std::string& model,
                           const std::vector<std::string>& sources, at::Device device) {
  core::ConfigNode result = settings_of(settings).binding();
  const auto add = [&](const char* name, const std::string& value) {
    result.entries.emplace_back(name, core::ConfigNode::scalar(value));
  };
  add("command", "decompose 5");
  add("model", model);
  if (!settings.data.empty()) add("config.json", model::config_fingerprint(settings.model));
  add(settings.data.empty() ? "covariance" : "data", core::join(sources, ", "));
  add("device", device.is_cuda() ? "cuda" : "cpu");
  return result;
}

// What a rank needs for its part of the work.
struct Work {
  const quant::ModelWeights& model;
  const SiteSolver& solver;
  SiteExchange& exchange;
  dist::World& world;
  at::Device device;
  const std::vector<const PlannedSite*>& left;  // sites that no earlier process finished
};

// Throws where a site's covariances, and the layers that share them, have no room.
void require_memory(const Work& work, const Covariances& covariances, bool weights) {
  const std::int64_t sets =
      (covariances.knowledge.empty() ? 0 : 1) + (covariances.task.empty() ? 0 : 1);
  std::int64_t most = 0;
  for (const PlannedSite* site : work.left) {
    const std::int64_t in = site->layers.front().in_features;
    std::int64_t bytes = sets * static_cast<std::int64_t>(sizeof(float)) * in * in;
    for (const PlannedLayer& layer : site->layers) {
      const at::ScalarType type =
          io::to_scalar_type(work.model.info(layer.module + ".weight").dtype);
      if (weights)
        bytes += static_cast<std::int64_t>(c10::elementSize(type)) * in * layer.out_features;
    }
    most = std::max(most, bytes);
  }
  linalg::require_memory(work.device, "the largest site, covariances and weights", most,
                         "use a device with more free memory (--device)");
}

// Decomposes from covariance directories, or from none, site after site.
void run_from_directories(const Work& work, const Covariances& covariances, bool weights) {
  require_memory(work, covariances, weights);
  SiteReader reader(work.model, covariances, weights, work.device);
  work.exchange.expect(work.left.size());
  const PlannedSite* site = work.exchange.take();
  while (site != nullptr) {
    const PlannedSite* next = work.exchange.take_ahead();  // is read while this one is solved
    SiteReader::Loaded loaded = reader.take(*site, next);
    const auto weight = [&](const std::string& module) { return loaded.weights.at(module); };
    work.exchange.add(*site, work.solver.solve(*site, std::move(loaded.input), weight));
    site = next != nullptr ? next : work.exchange.take();
  }
  work.exchange.finish();
}

// A block's weight as it is stored, from the device where it was not converted.
at::Tensor stored_weight(const quant::ModelWeights& model, const model::Block& block,
                         const std::string& module, at::Device device) {
  const std::string name = module + ".weight";
  const at::ScalarType stored = io::to_scalar_type(model.info(name).dtype);
  for (const model::Linear* linear : block.linear_layers()) {
    if (linear->name == module && linear->weight.scalar_type() == stored) return linear->weight;
  }
  return model.view(name).to(device);
}

// Whether this rank solves the site: the others have no covariance of it.
bool is_here(const covariance::SiteCovariance& site) { return site.covariance.defined(); }

// Calibrates and decomposes, block after block.
void run_from_data(const Work& work, const DecomposeSettings& settings,
                   const model::ModelDescription& config,
                   const std::vector<covariance::Draw>& draws, core::Reporter& reporter) {
  std::map<std::string, const PlannedSite*> left;
  for (const auto* site : work.left) left[site->name] = site;
  std::map<std::string, int> owner;
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    std::vector<const PlannedSite*> sites;
    for (const auto& site : model::sites_of_block(config, layer))
      if (left.contains(site.name)) sites.push_back(left.at(site.name));
    owner.merge(owners_of(sites, work.world.size()));
  }
  covariance::StreamOptions options = covariance::stream_options(settings, work.device, work.world);
  options.center = settings.center == "true";
  options.wanted = [&](const std::string& site) { return left.contains(site); };
  options.owner = [&](const std::string& site) { return owner.at(site); };
  covariance::stream_blocks(
      work.model, config, draws, options,
      [&](std::int64_t, const model::Block& block,
          std::vector<covariance::BlockCovariances>& found) {
        work.exchange.expect(found.front().size());
        for (std::size_t i = 0; i < found.front().size(); ++i) {
          covariance::SiteCovariance& knowledge = found.front()[i];
          if (!is_here(knowledge)) continue;
          SiteInput input;
          input.tokens = knowledge.tokens;
          input.knowledge.push_back(std::exchange(knowledge.covariance, {}));
          if (found.size() > 1) input.task.push_back(std::exchange(found[1][i].covariance, {}));
          const PlannedSite& site = *left.at(knowledge.site.name);
          const auto weight = [&](const std::string& module) {
            return stored_weight(work.model, block, module, work.device);
          };
          work.exchange.add(site, work.solver.solve(site, std::move(input), weight));
        }
        work.exchange.finish();
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
      if (read[i]->front().manifest().of_gradients) continue;  // their rank is not that of tokens
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
                      std::int64_t taken, at::Device device, core::Reporter& reporter) {
  std::int64_t layers = 0;
  for (const auto& site : sites) layers += static_cast<std::int64_t>(site.layers.size());
  reporter.info(concat("decomposing ", layers, " layers on ", linalg::describe(device), ", rank ",
                       settings.rank));
  if (taken > 0) {
    reporter.info(concat("going on after ", taken, " of ", layers,
                         " layers that an earlier process finished"));
  }
  reporter.begin("decompose", layers, "layer", taken);
  return layers;
}

adapter::Adapter empty_adapter(const DecomposeSettings& settings, const std::string& fingerprint,
                               std::vector<std::string> sources) {
  const Mode& mode = mode_of(settings);
  adapter::Adapter result;
  result.method = mode.method;
  result.mode = mode.name;
  result.rank = settings.rank;
  result.alpha = settings.alpha > 0 ? settings.alpha : static_cast<double>(settings.rank);
  result.train_a = mode.trains_a;
  result.train_b = mode.trains_b;
  result.corrects_base = mode.corrects_base;
  if (mode.corrects_base) result.base_format = settings.base;
  result.base_fingerprint = fingerprint;
  result.base_name = settings.model;
  result.covariance_fingerprints = std::move(sources);
  return result;
}

double energy_share(const Mode& mode, const std::map<std::string, adapter::LayerReport>& reports) {
  double kept = 0;
  double total = 0;
  for (const auto& [module, report] : reports) {
    kept += mode.has_singular_values ? report.energy * report.energy : report.energy;
    total +=
        mode.has_singular_values ? report.total_energy * report.total_energy : report.total_energy;
  }
  const double share = total > 0 ? kept / total : 0;
  // The share may lie outside 0 to 1: rounding gives a covariance that is summed in fp32
  // eigenvalues below zero, and sc has energies below zero.
  return std::clamp(share, 0.0, 1.0);
}

// Fills in the result but for time, memory and what was skipped.
DecomposeResult summarise(const DecomposeSettings& settings, const adapter::Adapter& result,
                          std::int64_t layers) {
  DecomposeResult summary;
  summary.layers = layers;
  summary.rank = settings.rank;
  summary.energy_share = energy_share(mode_of(settings), result.reports);
  summary.reports = result.reports;
  for (const auto& [module, report] : result.reports) {
    if (!report.refused.empty()) ++summary.layers_redone;
    summary.largest_rank = std::max(summary.largest_rank, report.rank);
    const bool is_first = summary.smallest_rank == 0;
    if (is_first || report.rank < summary.smallest_rank) summary.smallest_rank = report.rank;
  }
  // Only rank 0 of several processes knows the layers.
  if (!result.reports.empty())
    summary.layers_without = layers - static_cast<std::int64_t>(result.reports.size());
  summary.worst_bound = worst_bound(result.reports);
  return summary;
}

// The reports of the layers that get a rank. Where `ranks` is empty these are all layers, with the
// rank that they were solved for.
std::map<std::string, adapter::LayerReport> reports_of(
    const Mode& mode, const std::map<std::string, LayerNote>& notes,
    const std::map<std::string, std::int64_t>& ranks) {
  std::map<std::string, adapter::LayerReport> reports;
  for (const auto& [module, note] : notes) {
    adapter::LayerReport report = note.report;
    if (!ranks.empty()) {
      const std::int64_t dropped = report.rank - ranks.at(module);
      report.rank = ranks.at(module);
      if (report.rank == 0) continue;
      // Components without weight are the smallest ones, so they are dropped first where the
      // largest are taken, and last where the smallest are.
      report.without_weight = mode.takes_largest
                                  ? std::max<std::int64_t>(report.without_weight - dropped, 0)
                                  : std::min(report.without_weight, report.rank);
      report.energy = energy_of(note.values, report.rank, mode.has_singular_values);
    }
    reports[module] = std::move(report);
  }
  return reports;
}

void write_result(const DecomposeSettings& settings, adapter::Adapter& result,
                  const std::vector<PlannedSite>& sites, FinishedSites& finished,
                  core::AtomicDirectory& directory) {
  const Mode& mode = mode_of(settings);
  const auto& notes = finished.finish();
  const auto ranks = share_out_ranks(settings, sites, notes);
  result.reports = reports_of(mode, notes, ranks);
  std::map<std::string, adapter::LayerScale> layers;
  for (const auto& [module, report] : result.reports) {
    // alpha follows the rank, so that every layer has the same scale.
    layers[module] = {.rank = report.rank,
                      .alpha = result.alpha * static_cast<double>(report.rank) /
                               static_cast<double>(result.rank)};
  }
  adapter::write_adapter_notes(directory.staging(), result, layers, mode.subtracts_start);
  DecomposeSettings resolved = settings;
  resolved.alpha = result.alpha;
  resolved.ranks = ranks_of(settings);
  core::write_settings(directory.staging(), settings_of(resolved));
  card::write(directory.staging(),
              card::text_of_start(card::base_of(settings.model),
                                  adapter::tuning_of(result, layers, mode.subtracts_start),
                                  card::start_of(directory.staging())));
  finished.write(directory.staging(), ranks);
  directory.commit();
}

// The files that rank 0 writes.
struct Output {
  Output(const DecomposeSettings& settings, core::ConfigNode made_with,
         const std::vector<PlannedSite>& sites, core::Reporter& reporter)
      // Another draw of the same files, with another --samples or --seed, is no other data.
      : work(settings.out, std::move(made_with), reporter, /*derived=*/{"data"}),
        finished(
            work, sites, [&](const PlannedLayer& layer) { return components_of(settings, layer); },
            mode_of(settings).subtracts_start) {}

  core::WorkDirectory work;
  FinishedSites finished;
};

// The sites that rank 0 has not finished, on every rank.
std::vector<const PlannedSite*> sites_left(const std::vector<PlannedSite>& sites,
                                           const Output* output, dist::World& world) {
  std::vector<std::string> taken;
  for (const auto& site : sites) {
    if (output != nullptr && output->finished.has(site))
      taken.push_back(site.layers.front().module);
  }
  taken = dist::shared_names(world, taken);
  const std::set<std::string> done(taken.begin(), taken.end());
  std::vector<const PlannedSite*> left;
  for (const auto& site : sites)
    if (!done.contains(site.layers.front().module)) left.push_back(&site);
  return left;
}

}  // namespace

DecomposeResult decompose(const DecomposeSettings& given, core::Reporter& told,
                          dist::World& world) {
  dist::WatchfulReporter reporter(told, world);
  DecomposeSettings settings = given;
  settings_of(settings).check_values();
  if (!settings.data.empty() && settings.date.empty()) settings.date = world.shared(data::today());
  const auto begin = std::chrono::steady_clock::now();
  check(settings);
  settle_inputs(settings);
  std::optional<core::AtomicDirectory> directory;
  if (world.is_first()) {
    directory.emplace(settings.out);  // first: a refused --out should not cost minutes
    core::refuse_foreign_work(settings.out);
  }
  settings.threads = world.threads(settings.threads);
  linalg::set_threads(settings.threads);
  const at::Device device = world.device_of(settings.device);
  if (!settings.data.empty()) world.connect();  // for the sums of covariances
  using enum linalg::WarmUpOf;
  linalg::WarmUp warm_up(device, settings.data.empty() ? kContext : kProducts);
  warm_up.then([settings, device] {
    settings.exact ? rehearse(settings, device, /*inputs=*/256) : rehearse(settings, device);
  });
  const quant::ModelWeights model = quant::open_model(settings.model, reporter);
  check_precise(settings, model);
  const std::string fingerprint = model.fingerprint();
  const model::ModelDescription config =
      model::describe_model(model, reporter, settings.assume_family);
  const Covariances covariances = open_covariances(settings, model, fingerprint);
  check_centring(mode_of(settings), covariances, reporter);
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
  const core::ConfigNode job = made_with(settings, fingerprint, sources, device);
  dist::require_same_job(world, job);
  adapter::Adapter result = empty_adapter(settings, fingerprint, sources);
  result.base_blocks = adapter::count_blocks(model);
  std::unique_ptr<Output> output;
  if (world.is_first()) output = std::make_unique<Output>(settings, job, sites, reporter);
  const std::int64_t taken = output ? output->finished.layers_taken() : 0;
  check_tokens(settings, sites, covariances, draws, reporter);
  const std::int64_t layers = announce(settings, sites, taken, device, reporter);
  const SiteSolver solver(settings, result.scale(), reporter);
  const Mode& mode = mode_of(settings);
  const auto stored_rank = [&](const PlannedLayer& layer) {
    return components_of(settings, layer) * (mode.subtracts_start ? 2 : 1);
  };
  const auto keep = [&](const PlannedSite& site, const SolvedSite& solved) {
    output->finished.add(site, solved);
  };
  const std::vector<const PlannedSite*> left = sites_left(sites, output.get(), world);
  SiteExchange exchange(world, left, {.stored_rank = stored_rank, .keep = keep}, reporter);
  const Work work{.model = model,
                  .solver = solver,
                  .exchange = exchange,
                  .world = world,
                  .device = device,
                  .left = left};
  linalg::load_decompositions(device);  // the warm-up may be at it
  if (draws.empty()) {
    run_from_directories(work, covariances, mode.reads_weight);
  } else {
    run_from_data(work, settings, config, draws, reporter);
  }
  reporter.end();
  if (output) {
    write_result(settings, result, sites, output->finished, *directory);
    output->work.remove();
    report_layers(result.reports, layers, reporter);
  }
  world.barrier();
  DecomposeResult summary = summarise(settings, result, layers);
  summary.layers_skipped = taken;
  summary.peak_memory_bytes = linalg::peak_memory_bytes(device);
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return summary;
}

}  // namespace corda::decompose
