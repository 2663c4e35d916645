// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The settings that every verb reading samples has, and the words they may hold.
#pragma once

#include <string>
#include <vector>

#include "corda/core/settings.h"

namespace corda::data {

// auto, messages, sharegpt, alpaca, prompt-completion, qa, text: in the order of detection.
std::vector<std::string> format_names();

// auto, chat, plain, alpaca, chatml, llama-2, llama-3, mistral, gemma, phi-3, vicuna. Beside these,
// the path of a file that ends in ".jinja". `auto`: the model's own chat template; where it has
// none, alpaca for instruction formats. `chat`: the model's own or an error.
std::vector<std::string> template_names();

// The settings `template`, `system`, `date` and `skip_bad`, their names beginning with `prefix`.
void add_template_settings(core::SettingsList& list, const std::string& prefix,
                           std::string& template_name, std::string& system, std::string& date,
                           bool& skip_bad);

}  // namespace corda::data
