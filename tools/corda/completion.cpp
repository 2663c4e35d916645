// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>

#include "command_table.h"
#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::tools {

using core::concat;
using core::join;

namespace {

std::vector<std::string> verb_names(const CommandTable& table) {
  std::vector<std::string> names;
  for (const VerbRow& verb : table.verbs) names.push_back(verb.name);
  return names;
}

std::vector<std::string> flag_names(const VerbRow& verb) {
  std::vector<std::string> names;
  for (const FlagRow& flag : verb.flags) {
    if (!flag.positional) names.insert(names.end(), flag.names.begin(), flag.names.end());
  }
  return names;
}

// Whether the value is the name of a setting of `train`.
bool takes_setting(const FlagRow& flag) {
  return flag.value == "NAME=VALUE" || flag.value == "NAME" || flag.value == "[NAME]";
}

// The text in single quotes, as a shell reads it.
std::string quoted(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return "'" + result + "'";
}

// What a description line has room for.
std::string summary(const std::string& help) {
  const std::string first = help.substr(0, help.find_first_of(";:"));
  return first.size() <= 70 ? first : first.substr(0, first.rfind(' ', 70));
}

}  // namespace

std::string bash_completion(const CommandTable& table) {
  std::string script = concat("# bash completion for corda ", table.version, "\n",
                              "_corda() {\n"
                              "  local current=${COMP_WORDS[COMP_CWORD]} "
                              "previous=${COMP_WORDS[COMP_CWORD-1]} verb='' word\n"
                              "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                              "    case $word in\n"
                              "      ",
                              join(verb_names(table), "|"),
                              ") verb=$word; break ;;\n    esac\n  done\n"
                              "  COMPREPLY=()\n"
                              "  local words='' files=0\n"
                              "  case \"$verb $previous\" in\n");
  for (const VerbRow& verb : table.verbs) {
    for (const FlagRow& flag : verb.flags) {
      if (flag.positional || flag.value.empty()) continue;
      std::vector<std::string> cases;
      for (const auto& name : flag.names) cases.push_back(quoted(verb.name + " " + name));
      std::string then = "return";
      if (flag.takes_path()) then = "files=1";
      if (!flag.choices.empty()) then = "words=" + quoted(join(flag.choices, " "));
      if (takes_setting(flag)) {
        const std::string tail = flag.value == "NAME=VALUE" ? "= " : " ";
        then = "words=" + quoted(join(table.settings, tail) + tail);
      }
      script += concat("    ", join(cases, "|"), ") ", then, " ;;\n");
    }
  }
  script += concat("    *)\n      case $verb in\n        '') words=",
                   quoted(join(verb_names(table), " ") + " --help --version"), " ;;\n");
  for (const VerbRow& verb : table.verbs) {
    std::vector<std::string> words = flag_names(verb);
    bool files = false;
    for (const FlagRow& flag : verb.flags) {
      if (!flag.positional) continue;
      words.insert(words.end(), flag.choices.begin(), flag.choices.end());
      files = files || flag.takes_path();
    }
    script += concat("        ", verb.name, ") words=", quoted(join(words, " ")),
                     files ? "; [[ $current == -* ]] || files=1" : "", " ;;\n");
  }
  return script +
         "      esac ;;\n"
         "  esac\n"
         "  if [ \"$files\" = 1 ]; then\n"
         "    compopt -o filenames 2>/dev/null\n"
         "    mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
         "  else\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null\n"
         "  fi\n"
         "  return 0\n"
         "}\n"
         "complete -F _corda corda\n";
}

namespace {

// Text within the quotes and brackets of a zsh _arguments specification.
std::string zsh_text(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_action(const FlagRow& flag, const CommandTable& table) {
  if (flag.value.empty()) return "";
  const std::string message =
      concat(":", zsh_text(core::to_lower_ascii(flag.choices.empty() ? flag.value : "word")), ":");
  if (flag.takes_path()) return message + "_files";
  if (!flag.choices.empty()) return concat(message, "(", join(flag.choices, " "), ")");
  if (takes_setting(flag)) return concat(message, "(", join(table.settings, " "), ")");
  return message + " ";
}

}  // namespace

std::string zsh_completion(const CommandTable& table) {
  std::string script = "#compdef corda\n# zsh completion for corda " + table.version +
                       "\n_corda() {\n  local -a verbs=(\n";
  for (const VerbRow& verb : table.verbs)
    script += concat("    ", quoted(verb.name + ":" + zsh_text(verb.help)), "\n");
  script +=
      "  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe 'verb' verbs\n"
      "    return\n"
      "  fi\n"
      "  local verb=$words[2]\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $verb in\n";
  for (const VerbRow& verb : table.verbs) {
    script += concat("    ", verb.name, ")\n      _arguments");
    for (const FlagRow& flag : verb.flags) {
      if (flag.positional) {
        script += concat(" \\\n        ", quoted("*" + zsh_action(flag, table)));
        continue;
      }
      for (const auto& name : flag.names) {
        script += concat(" \\\n        ", quoted(concat(flag.value.empty() ? "" : "*", name, "[",
                                                        zsh_text(summary(flag.help)), "]",
                                                        zsh_action(flag, table))));
      }
    }
    script += "\n      ;;\n";
  }
  return script +
         "  esac\n"
         "}\n"
         "if [ \"${funcstack[1]}\" = _corda ]; then _corda \"$@\"; else compdef _corda corda; fi\n";
}

std::string fish_completion(const CommandTable& table) {
  std::string script =
      concat("# fish completion for corda ", table.version, "\ncomplete -c corda -f\n");
  const std::string none =
      quoted("not __fish_seen_subcommand_from " + join(verb_names(table), " "));
  for (const VerbRow& verb : table.verbs) {
    script +=
        concat("complete -c corda -n ", none, " -a ", verb.name, " -d ", quoted(verb.help), "\n");
    const std::string seen = quoted("__fish_seen_subcommand_from " + verb.name);
    for (const FlagRow& flag : verb.flags) {
      std::string line = concat("complete -c corda -n ", seen);
      for (const auto& name : flag.names) {
        if (name.starts_with("--")) {
          line += " -l " + name.substr(2);
        } else if (name.starts_with("-")) {
          line += " -s " + name.substr(1);
        }
      }
      if (flag.takes_path()) {
        line += flag.positional ? " -F" : " -rF";
      } else if (!flag.choices.empty()) {
        line += concat(flag.positional ? " -a " : " -xa ", quoted(join(flag.choices, " ")));
      } else if (takes_setting(flag)) {
        line += concat(" -xa ", quoted(join(table.settings, " ")));
      } else if (!flag.value.empty()) {
        line += flag.positional ? "" : " -x";
      }
      script += concat(line, " -d ", quoted(summary(flag.help)), "\n");
    }
  }
  return script;
}

}  // namespace corda::tools
