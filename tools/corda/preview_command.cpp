// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/data/preview.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

struct PreviewFlags {
  data::PreviewSettings settings;
  std::string color = "auto";
  std::string html;
};

void run(const PreviewFlags& flags, const CommonFlags& common) {
  ConsoleReporter reporter(common.quiet);
  if (common.json && flags.color == "always")
    throw core::ConfigError("--color is for text; leave it out, or --json");
  if (!flags.html.empty()) data::check_page_path(flags.html, flags.settings);
  const auto tokenizer = tokenizer::load_tokenizer(flags.settings.model);
  const data::Preview preview = data::preview(flags.settings, *tokenizer, reporter);
  if (!flags.html.empty()) core::write_file_atomic(flags.html, data::to_html(preview, *tokenizer));
  const bool color =
      flags.color == "always" || (flags.color == "auto" && ::isatty(STDOUT_FILENO) == 1);
  const std::string text = common.json ? data::to_json(preview, *tokenizer) + "\n"
                                       : data::to_text(preview, *tokenizer, color);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace

void add_preview(CLI::App& app, CommonFlags& common, Action& action) {
  const auto flags = std::make_shared<PreviewFlags>();
  CLI::App& verb =
      add_verb(app, "preview",
               "Show what training samples become: tokens, text, loss mask, totals, mistakes.",
               data::settings_of(flags->settings), action, [flags, &common] {
                 flags->html = user_path(flags->html);
                 run(*flags, common);
               });
  verb.add_option("--color", flags->color, "auto (where stdout is a terminal), always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("TEXT");
  verb.add_option("--html", flags->html,
                  "write a page with the same content; an earlier page may be replaced")
      ->type_name("FILE");
}

}  // namespace corda::tools
