// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Command-line flags made from a settings list.
#pragma once

#include <CLI/CLI.hpp>

#include "corda/core/settings.h"

namespace corda::tools {

// Adds "--batch-tokens" for the setting "batch_tokens", and so on for every setting of `list`; help
// text, default and choices come from the list. The values are set while the command line is
// parsed.
void add_flags(CLI::App& app, const core::SettingsList& list);

}  // namespace corda::tools
