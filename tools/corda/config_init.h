// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A commented train.yaml for a user's own model and data: `corda config init`.
#pragma once

#include <string>
#include <vector>

#include "corda/core/reporter.h"

namespace corda::tools {

struct InitSettings {
  std::string method = "lora";  // of `init_methods`
  std::string model;            // as the user wrote it; "": a place to fill in
  std::vector<std::string> data, eval_data;
  std::string knowledge;  // kpa, dual: data that say what is to be kept
  std::string out;        // file to write; "": stdout
};

// lora, dora, pissa, full, kpa, ipa, dual.
std::vector<std::string> init_methods();

// The file's text. Looks at the model's config.json and at the first records of the data, so that
// rank, format, template, max_length and batch_size fit them; each line says why it stands there.
// Throws as the readers of these do.
std::string initial_config(const InitSettings& settings, core::Reporter& reporter);

}  // namespace corda::tools
