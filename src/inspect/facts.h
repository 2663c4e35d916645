// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The facts of each kind of directory, as the JSON object that `corda inspect` prints.
#pragma once

#include <string>

#include "corda/adapter/adapter_reader.h"
#include "corda/adapter/forgetting.h"
#include "corda/core/error.h"
#include "corda/inspect/inspect.h"
#include "corda/io/safetensors.h"
#include "core/json.h"

namespace corda::inspect {

// Throws ConfigError where a setting was given at which nothing looks in a directory of that kind.
void refuse_unused(const InspectSettings& settings, Kind kind);

core::Json model_facts(const InspectSettings& settings, core::Reporter& reporter);
core::Json adapter_facts(const InspectSettings& settings, core::Reporter& reporter);
core::Json covariance_facts(const InspectSettings& settings, core::Reporter& reporter);
core::Json run_facts(const InspectSettings& settings, core::Reporter& reporter);

using adapter::Forgettings;
// How far the adapter's layers are from the base. Throws ConfigError for a DoRA without a
// `settings.model`.
Forgettings forgetting_of_adapter(const InspectSettings& settings,
                                  const adapter::AdapterReader& reader,
                                  adapter::KnowledgeInputs& inputs, core::Reporter& reporter);
// How far the layers of a trained model are from those of `settings.model`, by
// `settings.covariance`. Throws ConfigError where either is not that of the base.
Forgettings forgetting_of_model(const InspectSettings& settings, adapter::KnowledgeInputs& inputs,
                                core::Reporter& reporter);
// `in_all`, and by kind of layer.
core::Json forgetting_facts(const adapter::KnowledgeInputs& inputs, const Forgettings& found);

// `parameters`, `bytes`, `dtypes` (elements by type) and `files` of a checkpoint.
void add_size(core::Json& facts, const io::Checkpoint& checkpoint);

// {"fits": true}, or with the reason why not: what `check` throws of what a user can cause.
template <typename Check>
core::Json fit_of(const std::string& model, const Check& check) {
  core::Json fit = {{"model", model}, {"fits", true}};
  try {
    check();
  } catch (const core::InternalError&) {
    throw;
  } catch (const core::Error& error) {
    fit["fits"] = false;
    fit["reason"] = error.what();
  }
  return fit;
}

}  // namespace corda::inspect
