// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a directory is that corda reads or writes.
#pragma once

#include <filesystem>
#include <string>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::inspect {

namespace fs = std::filesystem;

struct InspectSettings {
  std::string path;
  std::string model;  // a base that the directory may belong to; "": none is looked at
  std::string assume_family = {};
  bool spectra = false;         // of adapters: the singular values of every layer's update
  std::string covariance = {};  // of the base over knowledge, for the forgetting gauge; "": none
};

core::SettingsList settings_of(InspectSettings& settings);

enum class Kind { kModel, kAdapter, kCovariance, kRun };

// Tells the kind by the files in the directory. Throws IoError where it is of no kind, and says
// what it is if corda knows that (a dataset, a folder of finished work).
Kind kind_of(const fs::path& directory);

// One JSON object. `kind` is "model", "adapter", "covariance" or "run". Of all that carry weights
// `parameters` and `bytes`; with `model` an object `fit`: `fits`, and where not `reason`. Of an
// adapter, or of a model with a `model` it was trained from, with a `covariance`: `forgetting`, the
// gauge of adapter::Forgetting `in_all` and by kind of layer, and that of every layer. Of an
// adapter with a `model`, `peft` and `vllm`: `loads`, `reason` or `remarks`, `flags`. Throws as the
// readers of these directories do.
std::string inspect_json(const InspectSettings& settings, core::Reporter& reporter);

// The same for people: a line a fact, lists of layers as tables.
std::string to_text(const std::string& json);

}  // namespace corda::inspect
