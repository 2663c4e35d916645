// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/inspect/inspect.h"

#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/model/config.h"
#include "inspect/facts.h"

namespace corda::inspect {

using core::concat;
using core::Json;

core::SettingsList settings_of(InspectSettings& s) {
  core::SettingsList list;
  list.add("path", s.path, "directory to look into: a model, adapter, covariance or run")
      .path(core::PathKind::kModel)
      .required();
  list.add("model", s.model,
           "a base, to say whether the directory belongs to it: a directory, or org/name in the "
           "Hugging Face cache")
      .path(core::PathKind::kModel);
  model::add_assume_family(list, s.assume_family);
  list.add("spectra", s.spectra,
           "of an adapter: the singular values of every layer's update, which takes its size");
  list.add(
          "covariance", s.covariance,
          "covariance directory of `corda calibrate` over what is to be kept: the forgetting gauge "
          "of an adapter, or of a trained model with its base as --model")
      .path();
  return list;
}

Kind kind_of(const fs::path& directory) {
  const auto holds = [&](const char* name) { return fs::exists(directory / name); };
  if (!fs::is_directory(directory)) {
    throw core::IoError(concat("'", directory.string(), "' is ",
                               fs::exists(directory) ? "a file" : "not there",
                               "; the directory of a model, adapter, covariance or run was "
                               "expected"));
  }
  if (holds("adapter_config.json")) return Kind::kAdapter;
  if (holds("manifest.json")) return Kind::kCovariance;
  if (holds("config.resolved.yaml")) return Kind::kRun;
  if (holds("config.json")) return Kind::kModel;
  if (holds("made-with")) {
    throw core::IoError(concat("'", directory.string(),
                               "' holds the finished part of a "
                               "calibration or decomposition; the same command as before goes on "
                               "with it"));
  }
  if (holds("state.safetensors")) {
    throw core::IoError(concat("'", directory.string(),
                               "' is a checkpoint; look at its run, two "
                               "folders above"));
  }
  throw core::IoError(concat("'", directory.string(),
                             "' is no model (config.json), adapter "
                             "(adapter_config.json), covariance (manifest.json) or run "
                             "(config.resolved.yaml)"));
}

void refuse_unused(const InspectSettings& settings, Kind kind) {
  if (kind != Kind::kModel && kind != Kind::kCovariance) return;
  core::refuse_changed(
      settings, settings_of, {"spectra"},
      concat("of an adapter, and a ", kind == Kind::kModel ? "model" : "covariance", " is in '",
             settings.path, "'"));
}

std::string inspect_json(const InspectSettings& given, core::Reporter& reporter) {
  InspectSettings settings = given;
  settings_of(settings).check_values();
  Json facts;
  const Kind kind = kind_of(settings.path);
  refuse_unused(settings, kind);
  if (!settings.covariance.empty() && kind == Kind::kCovariance) {
    throw core::ConfigError(concat("--covariance is for an adapter or a trained model; '",
                                   settings.path, "' is a covariance itself"));
  }
  switch (kind) {
    case Kind::kModel:
      facts = model_facts(settings, reporter);
      break;
    case Kind::kAdapter:
      facts = adapter_facts(settings, reporter);
      break;
    case Kind::kCovariance:
      facts = covariance_facts(settings, reporter);
      break;
    case Kind::kRun:
      facts = run_facts(settings, reporter);
      break;
  }
  return core::json_line(facts);
}

void add_size(Json& facts, const io::Checkpoint& checkpoint) {
  std::int64_t parameters = 0;
  std::int64_t bytes = 0;
  Json dtypes = Json::object();
  for (const auto& name : checkpoint.names()) {
    const io::TensorInfo& info = checkpoint.info(name);
    const std::int64_t count = info.bytes / io::size_of(info.dtype);
    const std::string dtype = io::to_string(info.dtype);
    parameters += count;
    bytes += info.bytes;
    dtypes[dtype] = dtypes.value(dtype, std::int64_t{0}) + count;
  }
  facts["parameters"] = parameters;
  facts["bytes"] = bytes;
  facts["dtypes"] = std::move(dtypes);
  facts["files"] = checkpoint.files().size();
}

}  // namespace corda::inspect
