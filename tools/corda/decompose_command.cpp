// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/decompose/decompose.h"
#include "flags.h"

namespace corda::tools {

void add_decompose(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb = app.add_subcommand("decompose", "Make the adapter that training starts from.");
  const auto settings = std::make_shared<decompose::DecomposeSettings>();
  const auto list = decompose::settings_of(*settings);
  add_flags(*verb, list);
  verb->callback([settings, list, &common, &action] {
    action = [settings, list, &common] {
      list.check_required();
      ConsoleReporter reporter(common.quiet);
      const auto result = decompose::decompose(*settings, reporter);
      if (common.json) {
        const nlohmann::ordered_json object = {{"out", settings->out},
                                               {"layers", result.layers},
                                               {"rank", result.rank},
                                               {"energy_share", result.energy_share},
                                               {"layers_skipped", result.layers_skipped},
                                               {"layers_redone", result.layers_redone},
                                               {"worst_bound", result.worst_bound},
                                               {"peak_memory_bytes", result.peak_memory_bytes},
                                               {"seconds", result.seconds}};
        std::printf("%s\n", object.dump().c_str());
      } else {
        std::printf("%lld layers at rank %lld, %.3g %% of the energy, in %.1f s: %s\n",
                    static_cast<long long>(result.layers), static_cast<long long>(result.rank),
                    100 * result.energy_share, result.seconds, settings->out.c_str());
      }
    };
  });
}

}  // namespace corda::tools
