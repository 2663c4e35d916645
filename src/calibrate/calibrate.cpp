// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/calibrate/calibrate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "corda/core/background.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/work_directory.h"
#include "corda/covariance/stream.h"
#include "corda/data/load.h"
#include "corda/io/covariance_store.h"
#include "corda/linalg/device.h"
#include "corda/linalg/download.h"
#include "corda/model/config.h"
#include "corda/model/sites.h"

namespace corda::calibrate {

using core::concat;

namespace {

// Everything the covariances depend on.
core::ConfigNode made_with(CalibrateSettings settings, const std::string& model,
                           const covariance::Draw& draw, at::Device device, at::ScalarType dtype) {
  core::ConfigNode result = settings_of(settings).binding();
  const auto add = [&](const char* name, const std::string& value) {
    result.entries.emplace_back(name, core::ConfigNode::scalar(value));
  };
  add("command", "calibrate 3");
  add("model", model);
  add("config.json", model::config_fingerprint(settings.model));
  add("data", draw.fingerprint());
  add("device", device.is_cuda() ? "cuda" : "cpu");
  add("computed in", at::toString(dtype));
  return result;
}

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
  std::vector<at::Tensor> covariances;
  for (auto& site : block) covariances.push_back(std::exchange(site.covariance, {}));
  background.add(
      [&writer, block = std::move(block), download = linalg::Download(std::move(covariances))] {
        const auto& host = download.wait();
        for (std::size_t i = 0; i < block.size(); ++i)
          writer.add(block[i].site.name, block[i].site.modules, block[i].tokens, host[i]);
      });
}

void collect(const io::Checkpoint& checkpoint, const model::ModelDescription& config,
             const covariance::Draw& draw, covariance::StreamOptions options,
             io::CovarianceWriter& writer, core::Reporter& reporter) {
  std::set<std::string> wanted;
  std::set<std::int64_t> blocks;
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    for (const auto& site : model::sites_of_block(config, layer)) {
      if (writer.has(site.name)) continue;
      wanted.insert(site.name);
      blocks.insert(layer);
    }
  }
  options.wanted = [&](const std::string& site) { return wanted.contains(site); };
  core::Background background(/*waiting=*/0);
  reporter.begin("calibrate", config.num_layers(), "block",
                 config.num_layers() - static_cast<std::int64_t>(blocks.size()));
  covariance::stream_blocks(
      checkpoint, config, {draw}, options,
      [&](std::int64_t layer, const model::Block&,
          std::vector<covariance::BlockCovariances>& draws) {
        write_later(std::move(draws.front()), writer, background);
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
  list.add("storage", s.storage, "of the covariances on disk: the lower triangle or the whole",
           {"packed", "full"});
  list.add("device", s.device, "auto, cpu, cuda or cuda:N").free();
  list.add("out", s.out, "covariance directory to write").path().required().free();
  return list;
}

CalibrateResult calibrate(const CalibrateSettings& given, core::Reporter& reporter) {
  CalibrateSettings settings = given;
  settings_of(settings).check_values();
  if (settings.date.empty()) settings.date = data::today();
  const auto begin = std::chrono::steady_clock::now();
  linalg::set_threads(settings.threads);
  const at::Device device = linalg::device_of(settings.device);
  const at::ScalarType dtype = linalg::dtype_of(settings.dtype, device);
  core::AtomicDirectory(settings.out);  // an output that cannot be written is known at once
  core::refuse_foreign_work(settings.out);
  const io::Checkpoint checkpoint = io::open_model(settings.model, reporter);
  const model::ModelDescription config =
      model::describe_model(checkpoint, reporter, settings.assume_family);
  settings.seq_len = model::window_tokens(config, settings.seq_len, reporter);
  const auto draw =
      covariance::draw_samples(settings, settings.data, settings.model, config, reporter);
  const auto sites = model::sites_of(config);
  warn_of_few_tokens(sites, draw, settings, reporter);
  const std::string fingerprint = checkpoint.fingerprint();
  // Another draw of the same files, with another --samples or --seed, is no other data.
  core::WorkDirectory work(settings.out, made_with(settings, fingerprint, draw, device, dtype),
                           reporter, /*derived=*/{"data"});
  io::CovarianceWriter writer(settings.out, io::covariance_storage_of(settings.storage),
                              work.path());
  const std::int64_t skipped = adopt_finished(sites, draw.tokens, writer, reporter);
  collect(checkpoint, config, draw, covariance::stream_options(settings, device), writer, reporter);
  CalibrateSettings copy = settings;
  const core::SettingsList resolved = settings_of(copy);
  core::write_settings(writer.staging(), resolved);
  writer.finish({.model = fingerprint,
                 .model_name = settings.model,
                 .tokens = draw.tokens,
                 .samples = draw.samples,
                 .activation_scaling = settings.activation_scaling,
                 .settings = resolved.resolved(),
                 .sites = {}});
  work.remove();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {.samples = draw.samples,
          .tokens = draw.tokens,
          .sites = static_cast<std::int64_t>(sites.size()),
          .sites_skipped = skipped,
          .seconds = elapsed.count(),
          .peak_memory_bytes = linalg::peak_memory_bytes(device)};
}

}  // namespace corda::calibrate
