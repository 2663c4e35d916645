// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/export/export.h"

namespace corda::tools {

namespace {

void print(const exports::ExportSettings& settings, const exports::ExportResult& result,
           bool json) {
  if (json) {
    print_json({{"out", settings.out},
                {"layers", result.layers},
                {"rank", result.rank},
                {"bytes", result.bytes},
                {"relative_error", result.relative_error},
                {"largest_error", result.largest_error},
                {"worst_layer", result.worst_layer}});
    return;
  }
  std::printf("%lld layers of rank %lld, %.1f MB, relative error of the update %.2e",
              static_cast<long long>(result.layers), static_cast<long long>(result.rank),
              static_cast<double>(result.bytes) * 1e-6, result.relative_error);
  if (!result.worst_layer.empty())
    std::printf(" (largest %.2e, %s)", result.largest_error, result.worst_layer.c_str());
  std::printf(": %s\n", settings.out.c_str());
}

}  // namespace

void add_export(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<exports::ExportSettings>();
  add_verb(app, "export",
           "Write an adapter with a lower rank, in 16 bits, or for llama.cpp; say what was lost.",
           exports::settings_of(*settings), action, [settings, &common] {
             ConsoleReporter reporter(common.quiet);
             print(*settings, exports::export_adapter(*settings, reporter), common.json);
           });
}

}  // namespace corda::tools
