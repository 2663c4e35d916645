// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "report/run.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "corda/core/config_node.h"
#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "core/fields.h"
#include "report/metrics.h"

namespace corda::report {

using core::concat;
using core::ConfigNode;
using core::Json;

namespace {

constexpr std::size_t kHashed = std::size_t{64} << 20;  // files up to here are hashed whole
constexpr const char* kConfig = "config.resolved.yaml";

// Does `read`; what it finds wrong becomes a problem of the run.
template <typename Read>
void tolerantly(std::vector<std::string>& problems, const Read& read) {
  try {
    read();
  } catch (const core::InternalError&) {
    throw;
  } catch (const core::Error& error) {
    problems.push_back(concat(error.what(), "; it is left out"));
  }
}

void flatten(const ConfigNode& node, const std::string& name,
             std::vector<std::pair<std::string, std::string>>& settings) {
  if (node.kind != ConfigNode::Kind::kMap) {
    std::string text = node.text;
    if (node.kind == ConfigNode::Kind::kList) {
      std::vector<std::string> lines;
      for (const auto& line : core::split(core::to_yaml(node), '\n'))
        if (!line.empty()) lines.push_back(line);
      text = core::join(lines, " ");
    }
    settings.emplace_back(name, text);
    return;
  }
  for (const auto& [key, value] : node.entries)
    flatten(value, name.empty() ? key : name + "." + key, settings);
}

std::string setting(const Run& run, std::string_view name) {
  for (const auto& [key, value] : run.settings)
    if (key == name) return value;
  return "";
}

// The hash of a file, or of parts of it where it is large.
std::string hash_of(const fs::path& path) {
  const core::MappedFile file(path);
  core::Sha256 hash;
  if (file.bytes().size() <= kHashed) return "sha256:" + hash.update(file.bytes()).hex_digest();
  hash.update(concat(file.bytes().size(), "\n"));
  core::hash_sample(hash, file.bytes());
  return "sha256-sampled:" + hash.hex_digest();
}

void read_layers(const Json& notes, const std::string& where, Run& run) {
  if (!notes.contains("layers")) return;
  const core::Fields root(notes, where);
  for (const auto& [module, entry] : root.object("layers").items()) {
    const core::Fields fields(entry, concat(where, ": layer '", module, "'"));
    Layer layer{.module = module};
    if (fields.has("energy") && fields.has("total_energy")) {
      layer.energy = fields.number("energy");
      layer.total_energy = fields.number("total_energy");
    }
    run.layers.push_back(std::move(layer));
  }
}

Layer& layer_of(std::vector<Layer>& layers, const std::string& module) {
  const auto found = std::ranges::find(layers, module, &Layer::module);
  if (found != layers.end()) return *found;
  layers.push_back({.module = module});
  return layers.back();
}

// The list `layers` of inspect's facts, or of what training wrote down.
void add_layers(const Json& facts, const std::string& where, Run& run) {
  if (!facts.contains("layers")) return;
  if (!facts["layers"].is_array())
    throw core::FormatError(concat(where, ": 'layers' must be a list"));
  std::vector<Layer> layers = run.layers;  // all of the list or nothing
  for (const Json& entry : facts["layers"]) {
    const core::Fields fields(entry, concat(where, ": a layer"));
    Layer& layer = layer_of(layers, fields.text("module"));
    if (fields.has("update_norm")) layer.update_norm = fields.number("update_norm");
    if (fields.has("forgetting")) layer.forgetting = fields.number("forgetting");
    if (fields.has("singular_values")) layer.singular_values = fields.numbers("singular_values");
  }
  run.layers = std::move(layers);
}

void read_gauges(const fs::path& path, Run& run) {
  const Json json = core::read_json(path);
  const std::string where = concat("'", path.string(), "'");
  const std::int64_t step = core::Fields(json, where).integer("step");
  add_layers(json, where, run);
  run.gauged_after = step;
}

void read_notes(const fs::path& path, Run& run) {
  const Json notes = core::read_json(path);
  const std::string where = concat("'", path.string(), "'");
  const core::Fields fields(notes, where);
  if (fields.has("mode") && !fields.text("mode").empty()) run.method += " " + fields.text("mode");
  if (fields.has("base")) {
    const core::Fields base(fields.object("base"), concat(where, ": 'base'"));
    if (base.has("fingerprint")) run.origins.emplace_back("base", base.text("fingerprint"));
  }
  if (fields.has("covariances")) {
    for (const std::string& fingerprint : fields.texts("covariances"))
      run.origins.emplace_back("covariance", fingerprint);
  }
  read_layers(notes, where, run);
}

void read_study(const fs::path& path, Run& run) {
  const Json study = core::read_json(path);
  const core::Fields fields(study, concat("'", path.string(), "'"));
  if (fields.has("state")) {
    // A study may remove the result of method full, so its state counts as well.
    run.finished = run.finished || fields.text("state") == "done";
    run.failed = fields.text("state") == "failed";
  }
  if (fields.has("group")) run.group = fields.text("group");
  if (fields.has("rate")) run.rate = fields.number("rate");
  if (fields.has("seed")) run.seed = std::to_string(fields.integer("seed"));
}

// Reads the lines that processes left, one each.
void read_versions(const fs::path& path, Run& run) {
  for (const std::string& line : core::split(core::read_file(path), '\n')) {
    if (core::trim(line).empty()) continue;
    const Json session = core::parse_json(line, path.string());
    const core::Fields fields(session, concat("'", path.string(), "'"));
    std::vector<std::string> parts;
    for (const auto& [key, value] : session.items()) {
      if (key == "after_step") continue;
      parts.push_back(
          concat(key, " ", value.is_string() ? value.get<std::string>() : value.dump()));
    }
    const std::int64_t after = fields.has("after_step") ? fields.integer("after_step") : 0;
    if (after > 0) run.resumed.push_back(static_cast<double>(after));
    run.origins.emplace_back(after > 0 ? concat("after step ", after) : "made with",
                             core::join(parts, ", "));
  }
}

Measure measure_of(const fs::path& path) {
  const Json json = core::read_json(path);
  const core::Fields fields(json, concat("'", path.string(), "'"));
  Measure measure{.task = fields.text("task"),
                  .score_name = fields.has("score_name") ? fields.text("score_name") : "score",
                  .score = {},
                  .nll = {}};
  if (fields.has("score")) measure.score = fields.number("score");
  if (fields.has("nll")) measure.nll = fields.number("nll");
  if (fields.has("samples")) measure.samples = fields.integer("samples");
  return measure;
}

}  // namespace

std::map<std::string, Measure> read_measures(const fs::path& folder,
                                             std::vector<std::string>& problems) {
  std::map<std::string, Measure> measures;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder / "evaluations", none)) {
    if (entry.path().extension() != ".json") continue;
    tolerantly(problems,
               [&] { measures.emplace(entry.path().stem().string(), measure_of(entry.path())); });
  }
  return measures;
}

Run read_run(const fs::path& path) {
  Run run;
  run.path = path;
  if (!fs::exists(path / kConfig)) {
    throw core::IoError(concat("'", path.string(),
                               "' is no run of corda train: ", core::why_absent(path, kConfig)));
  }
  flatten(core::parse_yaml(core::read_file(path / kConfig), (path / kConfig).string()), "",
          run.settings);
  run.method = setting(run, "method");
  run.rate = core::parse_double(setting(run, "optim.lr"));
  run.seed = setting(run, "seed");
  const fs::path result = path / (run.method == "full" ? "model" : "adapter");
  run.finished = fs::exists(result);
  const auto if_there = [&](const fs::path& file, void (*read)(const fs::path&, Run&)) {
    if (fs::exists(file)) tolerantly(run.problems, [&] { read(file, run); });
  };
  if_there(path / "versions.jsonl", read_versions);
  if_there(path / "metrics.jsonl", read_metrics);
  if_there(result / "corda.json", read_notes);
  if_there(path / "forgetting.json", read_gauges);
  if_there(path / "study.json", read_study);
  for (const fs::path& file : {path / kConfig, result / "adapter_model.safetensors"}) {
    if (fs::exists(file)) {
      tolerantly(run.problems, [&] {
        run.origins.emplace_back(file.lexically_relative(path).string(), hash_of(file));
      });
    }
  }
  run.measures = read_measures(path, run.problems);
  std::sort(run.resumed.begin(), run.resumed.end());
  run.resumed.erase(std::unique(run.resumed.begin(), run.resumed.end()), run.resumed.end());
  return run;
}

void add_inspected(const std::string& json, Run& run) {
  const Json facts = core::parse_json(json, "inspect");
  add_layers(facts.contains("result") ? facts["result"] : facts, "inspect", run);
}

std::optional<double> last_of(const Run& run, const std::string& key) {
  const auto found = run.metrics.find(key);
  if (found == run.metrics.end()) return std::nullopt;
  const auto& values = found->second.y;
  const auto last = std::find_if(values.rbegin(), values.rend(),
                                 [](double value) { return std::isfinite(value); });
  return last == values.rend() ? std::nullopt : std::optional<double>(*last);
}

}  // namespace corda::report
