// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What llama.cpp calls the families and layers that corda adapts.
#pragma once

#include <string>

#include "corda/model/description.h"

namespace corda::exports {

struct GgufFamily {
  std::string model_type;
  std::string architecture;  // general.architecture
  // Whether the rows of q_proj and k_proj stand in the order of the original Llama: the two halves
  // of a head that are turned together are interleaved.
  bool interleaves = false;
};

// Throws ConfigError for a family that llama.cpp is not known to have.
GgufFamily gguf_family(const std::string& model_type);

// "blk.3.attn_q.weight" of "model.layers.3.self_attn.q_proj", "output.weight" of "lm_head". Throws
// ConfigError for a module that has no name there.
std::string gguf_name(const std::string& module, const model::ModelDescription& model);

}  // namespace corda::exports
