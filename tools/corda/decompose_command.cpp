// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/decompose/decompose.h"

namespace corda::tools {

namespace {

void print(const decompose::DecomposeSettings& settings, const decompose::DecomposeResult& result,
           bool json) {
  if (json) {
    const nlohmann::ordered_json object = {{"out", settings.out},
                                           {"layers", result.layers},
                                           {"rank", result.rank},
                                           {"smallest_rank", result.smallest_rank},
                                           {"largest_rank", result.largest_rank},
                                           {"layers_without", result.layers_without},
                                           {"energy_share", result.energy_share},
                                           {"layers_skipped", result.layers_skipped},
                                           {"layers_redone", result.layers_redone},
                                           {"worst_bound", result.worst_bound},
                                           {"peak_memory_bytes", result.peak_memory_bytes},
                                           {"seconds", result.seconds}};
    print_json(object);
  } else {
    std::printf("%lld layers at rank %lld, %.3g %% of the energy, in %.1f s: %s\n",
                static_cast<long long>(result.layers), static_cast<long long>(result.rank),
                100 * result.energy_share, result.seconds, settings.out.c_str());
  }
}

}  // namespace

void add_decompose(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<decompose::DecomposeSettings>();
  add_verb(app, "decompose", "Make the adapter that training starts from.",
           decompose::settings_of(*settings), action, [settings, &common] {
             ConsoleReporter reporter(common.quiet, !common.prints);
             const auto result = decompose::decompose(*settings, reporter, *common.world);
             if (common.prints) print(*settings, result, common.json);
           });
}

}  // namespace corda::tools
