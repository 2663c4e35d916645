// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/calibrate/calibrate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <utility>

#include "calibrate/gradients.h"
#include "calibrate/job.h"
#include "corda/core/background.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/room.h"
#include "corda/core/work_directory.h"
#include "corda/covariance/estimate.h"
#include "corda/covariance/stream.h"
#include "corda/data/load.h"
#include "corda/dist/watchful_reporter.h"
#include "corda/io/covariance_store.h"
#include "corda/kernels/pack_lower.h"
#include "corda/linalg/device.h"
#include "corda/linalg/download.h"
#include "corda/linalg/warm_up.h"
#include "corda/model/config.h"
#include "corda/model/sites.h"
#include "corda/quant/model_weights.h"

namespace corda::calibrate {

using core::concat;

namespace {

void warn_of_few_tokens(const std::vector<model::Site>& sites, const covariance::Draw& draw,
                        const CalibrateSettings& settings, core::Reporter& reporter) {
  std::int64_t widest = 0;
  for (const auto& site : sites) widest = std::max(widest, site.in_features);
  if (draw.tokens >= widest) return;
  reporter.warn(concat("only ", draw.tokens, " tokens for inputs of up to ", widest,
                       " features, whose covariance has no full rank then; ",
                       covariance::advice_for_more_tokens(draw, settings)));
}

// Takes the sites that an earlier process finished; gives their number.
std::int64_t adopt_finished(const std::vector<model::Site>& sites, std::int64_t tokens,
                            io::CovarianceWriter& writer, core::Reporter& reporter) {
  std::int64_t count = 0;
  for (const auto& site : sites) {
    if (!writer.has(site.name)) continue;
    writer.adopt(site.name, site.modules, tokens);
    ++count;
  }
  if (count > 0) {
    reporter.info(concat("going on after ", count, " of ", sites.size(),
                         " sites that an earlier process finished"));
  }
  return count;
}

// Writes a block's covariances while the next block is run.
void write_later(covariance::BlockCovariances block, io::CovarianceWriter& writer,
                 core::Background& background) {
  background.wait_for_room();  // one block's covariances on the host are enough
  const bool packed = writer.storage() == io::CovarianceStorage::kPacked;
  std::vector<at::Tensor> stored;
  for (auto& site : block) {
    stored.push_back(std::exchange(site.covariance, {}));
    if (packed) stored.back() = kernels::pack_lower(stored.back());
  }
  background.add([&writer, block = std::move(block),
                  download = linalg::Download(std::move(stored))]() mutable {
    const auto& host = download.wait();
    for (std::size_t i = 0; i < block.size(); ++i)
      writer.add(block[i].site.name, block[i].site.modules, block[i].tokens, host[i]);
  });
}

// Pins the memory into which a block's covariances are copied, beside what comes before the first
// block. What fails here fails again, and is told, where it is needed.
void pin_later(const model::ModelDescription& config, bool packed, at::Device device,
               core::Background& background) {
  std::vector<std::int64_t> bytes;
  for (const auto& site : model::sites_of_block(config, 0))
    bytes.push_back(covariance::bytes_on_disk(site.in_features, packed));
  background.add([device, bytes = std::move(bytes)] { linalg::reserve_pinned(device, bytes); });
}

// Throws where the disk has no room for the sites that are not `finished`.
void require_disk(const CalibrateSettings& settings, const std::vector<model::Site>& sites,
                  const io::CovarianceWriter& finished) {
  std::int64_t bytes = 0;
  std::int64_t count = 0;
  for (const auto& site : sites) {
    if (finished.has(site.name)) continue;
    bytes += covariance::bytes_on_disk(site.in_features, is_packed(settings));
    ++count;
  }
  core::require_disk_space(settings.out, bytes, concat("the covariances of ", count, " sites"));
}

// Collects the sites that are not `finished`; `writer` is rank 0's.
void collect(const quant::ModelWeights& weights, const model::ModelDescription& config,
             const covariance::Draw& draw, covariance::StreamOptions options,
             const std::set<std::string>& finished, io::CovarianceWriter* writer,
             core::Reporter& reporter) {
  std::set<std::string> wanted;
  std::set<std::int64_t> blocks;
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    for (const auto& site : model::sites_of_block(config, layer)) {
      if (finished.contains(site.name)) continue;
      wanted.insert(site.name);
      blocks.insert(layer);
    }
  }
  options.wanted = [&](const std::string& site) { return wanted.contains(site); };
  core::Background background(/*waiting=*/0);
  reporter.begin("calibrate", config.num_layers(), "block",
                 config.num_layers() - static_cast<std::int64_t>(blocks.size()));
  covariance::stream_blocks(
      weights, config, {draw}, options,
      [&](std::int64_t layer, const model::Block&,
          std::vector<covariance::BlockCovariances>& draws) {
        if (writer != nullptr) write_later(std::move(draws.front()), *writer, background);
        reporter.advance(1, concat("block ", layer));
      },
      reporter);
  background.finish();
  reporter.end();
}

}  // namespace

core::SettingsList settings_of(CalibrateSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required().free();
  model::add_assume_family(list, s.assume_family);
  list.add("data", s.data, core::kDataHelp).path(core::PathKind::kData).required().free();
  covariance::add_draw_settings(list, s);
  list.add("of", s.of,
           "what is collected: covariances of inputs, or of what a task's gradient asks of them, "
           "for decompose --mode dual --task-covariance",
           {"inputs", "gradients"})
      .free([&s] { return s.of == "inputs"; });  // as work that was begun before there was a choice
  list.add("gradient_batch", s.gradient_batch, "samples that one gradient is of", {1, 1 << 20})
      .free([&s] { return s.of == "inputs"; });
  list.add("center", s.center,
           "take the mean off the inputs, as PEFT's EVA does: for decompose --mode eva, and for "
           "nothing else")
      .free([&s] { return !s.center; });  // as work that was begun before there was a choice
  list.add("storage", s.storage, "of the covariances on disk: the lower triangle or the whole",
           {"packed", "full"});
  list.add("device", s.device, "auto, cpu, cuda or cuda:N").free();
  list.add("out", s.out, "covariance directory to write").path().required().free();
  return list;
}

namespace {

// The files that rank 0 writes.
struct Output {
  Output(const CalibrateSettings& settings, core::ConfigNode made_with, core::Reporter& reporter)
      // Another draw of the same files, with another --samples or --seed, is no other data.
      : work(settings.out, std::move(made_with), reporter, /*derived=*/{"data"}),
        writer(settings.out, io::covariance_storage_of(settings.storage), work.path()) {}

  core::WorkDirectory work;
  io::CovarianceWriter writer;
};

// The sites that rank 0 has finished, on every rank.
std::set<std::string> finished_sites(const std::vector<model::Site>& sites, const Output* output,
                                     dist::World& world) {
  std::vector<std::string> names;
  for (const auto& site : sites)
    if (output != nullptr && output->writer.has(site.name)) names.push_back(site.name);
  const auto all = dist::shared_names(world, names);
  return {all.begin(), all.end()};
}

}  // namespace

bool is_packed(const CalibrateSettings& settings) {
  return io::covariance_storage_of(settings.storage) == io::CovarianceStorage::kPacked;
}

core::ConfigNode made_with(const Job& job, const std::string& data) {
  CalibrateSettings settings = job.settings;
  core::ConfigNode result = settings_of(settings).binding();
  const auto add = [&](const char* name, const std::string& value) {
    result.entries.emplace_back(name, core::ConfigNode::scalar(value));
  };
  add("command", "calibrate 3");
  add("model", job.fingerprint);
  add("config.json", model::config_fingerprint(settings.model));
  add("data", data);
  add("device", job.device.is_cuda() ? "cuda" : "cpu");
  add("computed in", at::toString(job.dtype));
  return result;
}

void finish(const Job& job, std::int64_t samples, std::int64_t tokens,
            io::CovarianceWriter& writer) {
  CalibrateSettings settings = job.settings;
  const core::SettingsList resolved = settings_of(settings);
  core::write_settings(writer.staging(), resolved);
  writer.finish({.model = job.fingerprint,
                 .model_name = settings.model,
                 .tokens = tokens,
                 .samples = samples,
                 .activation_scaling = settings.activation_scaling,
                 .centered = settings.center,
                 .of_gradients = settings.of == "gradients",
                 .settings = resolved.resolved(),
                 .sites = {}});
}

namespace {

// Refuses what is not looked at, and puts what `activation_scaling: auto` means in its place.
void settle(CalibrateSettings& settings) {
  if (settings.of == "gradients") {
    refuse_settings_of_inputs(settings);
    settings.activation_scaling = "none";
    return;
  }
  core::refuse_changed(settings, settings_of, {"gradient_batch"}, "for --of gradients");
  covariance::settle_scaling(settings, settings.center);
}

// Time and memory are left to the caller.
CalibrateResult calibrate_inputs(const Job& job, core::Reporter& reporter, dist::World& world) {
  const CalibrateSettings& settings = job.settings;
  core::Background pinning(/*waiting=*/0);
  if (world.is_first()) pin_later(job.config, is_packed(settings), job.device, pinning);
  const auto draw =
      covariance::draw_samples(settings, settings.data, settings.model, job.config, reporter);
  const auto sites = model::sites_of(job.config);
  warn_of_few_tokens(sites, draw, settings, reporter);
  const core::ConfigNode made = made_with(job, draw.fingerprint());
  dist::require_same_job(world, made);
  std::unique_ptr<Output> output;
  std::int64_t skipped = 0;
  if (world.is_first()) {
    output = std::make_unique<Output>(settings, made, reporter);
    require_disk(settings, sites, output->writer);
    skipped = adopt_finished(sites, draw.tokens, output->writer, reporter);
  }
  covariance::StreamOptions options = covariance::stream_options(settings, job.device, world);
  options.center = settings.center;
  collect(job.weights, job.config, draw, std::move(options),
          finished_sites(sites, output.get(), world), output ? &output->writer : nullptr, reporter);
  if (output) {
    finish(job, draw.samples, draw.tokens, output->writer);
    output->work.remove();
  }
  return {.samples = draw.samples,
          .tokens = draw.tokens,
          .sites = static_cast<std::int64_t>(sites.size()),
          .sites_skipped = skipped};
}

}  // namespace

CalibrateResult calibrate(const CalibrateSettings& given, core::Reporter& told,
                          dist::World& world) {
  dist::WatchfulReporter reporter(told, world);
  CalibrateSettings settings = given;
  settings_of(settings).check_values();
  settle(settings);
  if (settings.date.empty()) settings.date = world.shared(data::today());
  const auto begin = std::chrono::steady_clock::now();
  settings.threads = world.threads(settings.threads);
  linalg::set_threads(settings.threads);
  if (world.is_first()) {
    core::AtomicDirectory(settings.out);  // fails at once where the output cannot be written
    core::refuse_foreign_work(settings.out);
  }
  const at::Device device = world.device_of(settings.device);
  world.connect();
  const linalg::WarmUp warm_up(device, linalg::WarmUpOf::kProducts);
  const at::ScalarType dtype = linalg::dtype_of(settings.dtype, device);
  const quant::ModelWeights weights = quant::open_model(settings.model, reporter);
  const model::ModelDescription config =
      model::describe_model(weights, reporter, settings.assume_family);
  settings.seq_len = model::window_tokens(config, settings.seq_len, reporter);
  const Job job{.settings = settings,
                .weights = weights,
                .config = config,
                .fingerprint = weights.fingerprint(),
                .device = device,
                .dtype = dtype};
  CalibrateResult result = settings.of == "gradients" ? calibrate_gradients(job, reporter, world)
                                                      : calibrate_inputs(job, reporter, world);
  world.barrier();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  result.seconds = elapsed.count();
  result.peak_memory_bytes = linalg::peak_memory_bytes(device);
  return result;
}

}  // namespace corda::calibrate
