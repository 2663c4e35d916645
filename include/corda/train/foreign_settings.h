// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What takes the place of other programs' settings here.
#pragma once

#include <string>
#include <string_view>

namespace corda::train {

// A sentence about what is used here in place of a setting of Hugging Face's Trainer, PEFT, TRL,
// axolotl, LLaMA-Factory or Unsloth, such as "gradient_accumulation_steps"; "" for a name that is
// none. Of a dotted name the last part counts, and '-' is '_'.
std::string foreign_setting(std::string_view name);

}  // namespace corda::train
