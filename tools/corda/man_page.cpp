// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "command_table.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/train/settings.h"

namespace corda::tools {

using core::concat;

namespace {

// A text as roff has it: no line begins with a dot or quote of ours, dashes stay dashes.
std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
  }
  return result.starts_with('.') || result.starts_with('\'') ? "\\&" + result : result;
}

std::string item(const std::string& head, const std::string& help) {
  return concat(".TP\n", head, "\n", roff(help), "\n");
}

std::string flag_head(const FlagRow& flag) {
  std::vector<std::string> names;
  for (const auto& name : flag.names) names.push_back(concat("\\fB", roff(name), "\\fR"));
  std::string head = core::join(names, ", ");
  if (!flag.positional && !flag.value.empty()) head += concat(" \\fI", roff(flag.value), "\\fR");
  return head;
}

std::string training_settings() {
  train::TrainSettings settings;
  const core::SettingsList list = train::settings_of(settings);
  std::string text =
      ".SH TRAINING SETTINGS\nOf the file of \\fBtrain \\-\\-config\\fR and of "
      "\\fB\\-\\-set\\fR.\n";
  for (const core::Setting& setting : list.items()) {
    const std::string fallback = core::value_text(setting.write());
    const std::string type =
        setting.choices.empty() ? setting.type : core::join(setting.choices, ", ");
    text += item(concat("\\fB", roff(setting.name), "\\fR (", roff(type), ")"),
                 setting.help + (setting.required   ? " (required)"
                                 : fallback.empty() ? ""
                                                    : concat(" [", fallback, "]")));
  }
  return text;
}

}  // namespace

std::string man_page(const CommandTable& table) {
  std::string page = concat(
      ".TH CORDA 1 \"\" \"corda ", roff(table.version), "\" \"User Commands\"\n",
      ".SH NAME\ncorda \\- fine\\-tune a language model and keep what it knows\n",
      ".SH SYNOPSIS\n\\fBcorda\\fR \\fIverb\\fR [\\fIflags\\fR]\n",
      ".SH DESCRIPTION\nContext\\-oriented decomposition adaptation (CorDA) of Hugging Face "
      "language models, and LoRA, DoRA, PiSSA and full fine\\-tuning. Every verb reads and writes "
      "files; results go to stdout, progress and warnings to stderr.\n");
  for (const VerbRow& verb : table.verbs) {
    page += concat(".SH ", core::to_lower_ascii(verb.name), "\n", roff(verb.help), "\n");
    for (const FlagRow& flag : verb.flags) page += item(flag_head(flag), flag.help);
  }
  page += training_settings();
  page += ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] : {std::pair{"0", "done"},
                                      {"2", "wrong usage or settings"},
                                      {"3", "a bad input file"},
                                      {"4", "a numerical failure"},
                                      {"5", "no device, memory or disk space"},
                                      {"70", "an error of corda's own"},
                                      {"130", "interrupted"}})
    page += item(concat("\\fB", code, "\\fR"), meaning);
  page += ".SH ENVIRONMENT\n";
  page += item("\\fBHF_HUB_CACHE\\fR, \\fBHF_HOME\\fR",
               "where the Hugging Face cache is, in which org/name and hf:// are looked up; "
               "nothing is downloaded");
  page += item("\\fBXDG_CACHE_HOME\\fR", "where the fastest algorithms found are kept");
  page += item("\\fBCUDA_VISIBLE_DEVICES\\fR", "the GPUs that may be used");
  return page;
}

}  // namespace corda::tools
