// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The facts of each kind of directory, as the JSON object that `corda inspect` prints.
#pragma once

#include "corda/core/error.h"
#include "corda/inspect/inspect.h"
#include "corda/io/safetensors.h"
#include "core/json.h"

namespace corda::inspect {

core::Json model_facts(const InspectSettings& settings, core::Reporter& reporter);
core::Json adapter_facts(const InspectSettings& settings, core::Reporter& reporter);
core::Json covariance_facts(const InspectSettings& settings, core::Reporter& reporter);
core::Json run_facts(const InspectSettings& settings, core::Reporter& reporter);

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
