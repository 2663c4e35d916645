// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>

#include "command_table.h"
#include "commands.h"

namespace corda::tools {

void add_completion(CLI::App& app, CommonFlags& /*common*/, Action& action) {
  CLI::App* verb = app.add_subcommand(
      "completion", "Print a script that completes corda's verbs and flags, for a shell to read.");
  const auto shell = std::make_shared<std::string>();
  verb->add_option("SHELL", *shell, "bash: source <(corda completion bash); zsh and fish likewise")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->type_name("bash|zsh|fish")
      ->required();
  verb->callback([shell, &app, &action] {
    action = [shell, &app] {
      const CommandTable table = table_of(app);
      const std::string script = *shell == "bash"  ? bash_completion(table)
                                 : *shell == "zsh" ? zsh_completion(table)
                                                   : fish_completion(table);
      std::fwrite(script.data(), 1, script.size(), stdout);
    };
  });
}

void add_man(CLI::App& app, CommonFlags& /*common*/, Action& action) {
  CLI::App* verb = app.add_subcommand("man", "Print the manual page: corda man | man -l -");
  verb->callback([&app, &action] {
    action = [&app] {
      const std::string page = man_page(table_of(app));
      std::fwrite(page.data(), 1, page.size(), stdout);
    };
  });
}

}  // namespace corda::tools
