// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "core/unfinished_file.h"
#include "train/metrics.h"
#include "train/run_directory.h"

namespace corda::train {

using core::concat;
using core::ConfigNode;

namespace {

constexpr const char* kPrefix = "step-";
constexpr int kVersion = 1;
// Older checkpoints do not have these keys, so they are compared only where they are there.
constexpr std::array kAddedLater = {"config.json", "template"};

std::optional<std::int64_t> step_of(const fs::path& checkpoint) {
  const std::string name = checkpoint.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  return core::parse_int(name.substr(std::string_view(kPrefix).size()));
}

std::vector<std::pair<std::int64_t, fs::path>> complete_checkpoints(const fs::path& run) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", error)) {
    const auto step = step_of(entry.path());
    if (step && fs::exists(entry.path() / "state.json")) found.emplace_back(*step, entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Older runs recorded `precision: auto`, which does not say what it became. Such a run goes on in
// the precision that it would get now.
ConfigNode with_known_precision(ConfigNode saved, const ConfigNode& now) {
  const ConfigNode* precision = now.find("precision");
  for (auto& [name, value] : saved.entries) {
    if (name == "precision" && value.text == "auto" && precision != nullptr)
      value.text = precision->text;
  }
  return saved;
}

ConfigNode comparable(ConfigNode now, const ConfigNode& saved) {
  std::erase_if(now.entries, [&](const auto& entry) {
    return std::find(kAddedLater.begin(), kAddedLater.end(), entry.first) != kAddedLater.end() &&
           saved.find(entry.first) == nullptr;
  });
  // What it becomes is found out with the model in memory.
  const ConfigNode* gradients = saved.find("gradients");
  for (auto& [name, value] : now.entries) {
    if (name == "gradients" && value.text == "auto" && gradients != nullptr)
      value.text = gradients->text;
  }
  return now;
}

// One tensor at a time.
void write_state(const fs::path& path, const StateTensors& state) {
  io::SafetensorsWriter writer(path);
  for (const StateEntry& entry : state.entries)
    writer.declare(entry.name, io::DType::kF32, entry.sizes);
  core::require_disk_space(path, writer.data_bytes());
  for (std::size_t i = 0; i < state.entries.size(); ++i)
    writer.write(state.entries[i].name, io::tensor_bytes(state.value(i).cpu().contiguous()));
  writer.finish();
}

}  // namespace

void save_checkpoint(const fs::path& run, const Progress& progress, const StateTensors& state,
                     const ConfigNode& settings, std::int64_t keep) {
  const fs::path metrics = run / kMetricsName;
  if (fs::exists(metrics)) core::sync_path(metrics);
  core::AtomicDirectory directory(run / "checkpoints" / concat(kPrefix, progress.steps),
                                  /*replace=*/true);
  write_state(directory.staging() / "state.safetensors", state);
  core::Json json = {
      {"version", kVersion}, {"step", progress.steps}, {"settings", core::to_yaml(settings)}};
  if (progress.unevaluated) json["unevaluated"] = to_json(*progress.unevaluated);
  if (progress.best) json["best"] = to_json(*progress.best);
  core::write_json(directory.staging() / "state.json", json);
  directory.commit();
  const auto found = complete_checkpoints(run);
  const auto surplus = static_cast<std::int64_t>(found.size()) - keep;
  for (std::int64_t i = 0; i < surplus; ++i) {
    const fs::path& oldest = found[static_cast<std::size_t>(i)].second;
    std::error_code ignored;
    fs::remove(oldest / "state.json", ignored);  // first, so that a part of it is no checkpoint
    fs::remove_all(oldest, ignored);
  }
}

void remove_leftovers(const fs::path& run) {
  const auto each = [](const fs::path& directory, const auto& is_leftover) {
    std::error_code error;
    std::vector<fs::path> leftovers;
    for (const auto& entry : fs::directory_iterator(directory, error))
      if (is_leftover(entry.path())) leftovers.push_back(entry.path());
    for (const fs::path& path : leftovers) fs::remove_all(path, error);
  };
  each(run / "checkpoints", [](const fs::path& path) {
    return path.filename().string().starts_with(kPrefix) &&
           (!step_of(path) || !fs::exists(path / "state.json"));
  });
  each(run, [](const fs::path& path) {
    return core::is_unfinished(path, kMetricsName) || core::is_unfinished(path, kResolvedName) ||
           core::is_unfinished(path, kGaugesName);
  });
}

std::optional<fs::path> latest_checkpoint(const fs::path& run) {
  const auto found = complete_checkpoints(run);
  if (found.empty()) return std::nullopt;
  return found.back().second;
}

namespace {

std::string place_of(const fs::path& checkpoint) {
  return concat("'", (checkpoint / "state.json").string(), "'");
}

core::Json read_state(const fs::path& checkpoint) {
  core::Json json = core::read_json(checkpoint / "state.json");
  const core::Fields state(json, place_of(checkpoint));
  if (state.integer("version") != kVersion) state.fail("no checkpoint of this version of corda");
  return json;
}

void check_settings(const fs::path& checkpoint, const core::Fields& state,
                    const ConfigNode& settings) {
  const ConfigNode saved =
      with_known_precision(core::parse_yaml(state.text("settings"), state.where()), settings);
  const std::string changed =
      core::join(core::differences(saved, comparable(settings, saved)), ", ");
  if (changed.empty()) return;
  throw core::ConfigError(concat(
      "--resume: the settings differ from those of '", checkpoint.string(), "': ", changed,
      "; continue with the earlier values (--set NAME=VALUE), the same model, adapter and data, "
      "or choose another --out"));
}

std::int64_t read_step(const fs::path& checkpoint, const core::Fields& state) {
  const std::int64_t step = state.integer("step", 1);
  if (step == step_of(checkpoint)) return step;
  state.fail(concat("'step' is ", step, ", which is not the directory's"));
}

Progress restored(const fs::path& checkpoint, TrainedState& trained, const ConfigNode& settings) {
  const core::Json json = read_state(checkpoint);
  const core::Fields state(json, place_of(checkpoint));
  check_settings(checkpoint, state, settings);
  const io::SafetensorsFile file(checkpoint / "state.safetensors");
  if (const std::size_t wanted = trained.tensors().entries.size(); wanted != file.tensors().size())
    throw core::FormatError(concat("'", file.path().string(), "' holds ", file.tensors().size(),
                                   " tensors, this run has ", wanted));
  trained.restore([&](const StateEntry& entry) {
    at::Tensor stored = io::view_tensor(file, entry.name);
    if (stored.sizes().vec() == entry.sizes) return stored;
    throw core::ShapeError(
        concat("'", file.path().string(), "': '", entry.name, "' has another shape"));
  });
  Progress progress{.steps = read_step(checkpoint, state)};
  if (state.has("unevaluated")) {
    progress.unevaluated =
        metrics_from_json({state.object("unevaluated"), concat(state.where(), ": 'unevaluated'")});
  }
  if (state.has("best")) {
    progress.best = best_from_json({state.object("best"), concat(state.where(), ": 'best'")});
  }
  return progress;
}

// What a message calls the place to go on from without this checkpoint: the newest complete one
// before it, or "the beginning".
std::string checkpoint_before(const fs::path& checkpoint) {
  std::string before = "the beginning";
  for (const auto& [step, path] : complete_checkpoints(checkpoint.parent_path().parent_path()))
    if (step < step_of(checkpoint)) before = concat("'", path.string(), "'");
  return before;
}

// What `read` reads of a checkpoint; what is wrong with that is said with the way out.
template <typename Read>
auto or_damaged(const fs::path& checkpoint, const Read& read) {
  try {
    return read();
  } catch (const core::ConfigError&) {
    throw;
  } catch (const dist::PeerLost&) {
    throw;
  } catch (const core::Error& error) {
    throw core::FormatError(concat("--resume: the checkpoint '", checkpoint.string(),
                                   "' is damaged; delete it to go on from ",
                                   checkpoint_before(checkpoint), " (", error.what(), ")"));
  }
}

}  // namespace

std::int64_t check_same_run(const fs::path& checkpoint, const ConfigNode& settings) {
  return or_damaged(checkpoint, [&] {
    const core::Json json = read_state(checkpoint);
    const core::Fields state(json, place_of(checkpoint));
    check_settings(checkpoint, state, settings);
    return read_step(checkpoint, state);
  });
}

void check_not_behind_end(const fs::path& checkpoint, std::int64_t step, std::int64_t total) {
  if (step <= total) return;
  throw core::ConfigError(concat("--resume: '", checkpoint.string(), "' is of step ", step,
                                 ", and the settings end the run after step ", total,
                                 "; raise optim.epochs or optim.max_steps"));
}

Progress restore_checkpoint(const fs::path& checkpoint, TrainedState& state,
                            const ConfigNode& settings) {
  return or_damaged(checkpoint, [&] { return restored(checkpoint, state, settings); });
}

}  // namespace corda::train
