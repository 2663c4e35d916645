// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/card/card.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <system_error>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::card {

using core::concat;
using core::ConfigNode;

namespace {

constexpr const char* kName = "README.md";
constexpr const char* kNameOfBase = "README-of-base.md";
// A comment in every card that corda writes.
constexpr const char* kMark = "<!-- Written by corda. -->";

// A text as a YAML scalar; JSON's form, which YAML reads too, where the bare word means another
// thing ("no", "1.0") or might.
std::string yaml(const std::string& text) {
  static const std::set<std::string> kWords = {"y",   "n",    "yes",   "no",  "on",
                                               "off", "true", "false", "null"};
  const bool plain = !text.empty() && std::isalpha(static_cast<unsigned char>(text[0])) != 0 &&
                     std::all_of(text.begin(), text.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == '/';
                     });
  return plain && !kWords.contains(text) ? text : core::json_line(core::Json(text));
}

// A text in a sentence or a cell of a table: what Markdown reads as a mark gets a backslash.
std::string plain(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (std::string_view("\\`*_[]<>|#").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

struct Data {
  std::string name;     // "org/name" on the hub, else a file's name
  bool on_hub = false;  // a data set of the hub
};

// Snapshots of data sets stand in the cache as datasets--ORG--NAME/snapshots/COMMIT/...
Data data_of(const fs::path& path) {
  constexpr std::string_view kFolder = "datasets--";
  for (auto part = path.begin(); part != path.end(); ++part) {
    std::string name = part->string();
    const auto next = std::next(part);
    if (!name.starts_with(kFolder) || next == path.end() || *next != "snapshots") continue;
    name.erase(0, kFolder.size());
    if (const auto separator = name.find("--"); separator != std::string::npos)
      name.replace(separator, 2, "/");
    return {.name = name, .on_hub = true};
  }
  return {.name = path.filename().string(), .on_hub = false};
}

std::string setting(const Run& run, std::string_view name) {
  const ConfigNode* node = &run.settings;
  for (const auto& part : core::split(std::string(name), '.')) {
    node = node->find(part);
    if (node == nullptr) return "";
  }
  return node->kind == ConfigNode::Kind::kScalar ? node->text : "";
}

// The data of a list of files, each once, in the order of the settings.
std::vector<Data> data_at(const Run& run, std::string_view key) {
  std::vector<Data> result;
  const ConfigNode* data = run.settings.find("data");
  const ConfigNode* files = data == nullptr ? nullptr : data->find(key);
  if (files == nullptr) return result;
  for (const ConfigNode& item : files->items) {
    const ConfigNode* path = item.kind == ConfigNode::Kind::kMap ? item.find("path") : &item;
    if (path == nullptr || path->text.empty()) continue;
    const Data found = data_of(path->text);
    const bool known = std::any_of(result.begin(), result.end(),
                                   [&](const Data& other) { return other.name == found.name; });
    if (!known) result.push_back(found);
  }
  return result;
}

std::string listed(const std::vector<Data>& data) {
  std::vector<std::string> names;
  for (const Data& one : data) {
    names.push_back(one.on_hub ? concat("[", plain(one.name), "](https://huggingface.co/datasets/",
                                        one.name, ")")
                               : concat("`", one.name, "`"));
  }
  return core::join(names, ", ");
}

// Whether its start is one of CorDA's, whatever verb made it.
bool is_corda(const Tuning& tuning) {
  return tuning.method == "corda" && (tuning.mode.empty() || tuning.mode == "kpa" ||
                                      tuning.mode == "ipa" || tuning.mode == "dual");
}

std::string method_name(const Tuning& tuning) {
  static const std::map<std::string, std::string> kOthers = {{"null", "LoRA-Null"},
                                                             {"sc", "SC-LoRA"},
                                                             {"eva", "EVA"},
                                                             {"milora", "MiLoRA"},
                                                             {"mica", "MiCA"}};
  if (const auto other = kOthers.find(tuning.mode); other != kOthers.end()) return other->second;
  if (tuning.method == "corda") {
    std::string mode = tuning.mode;
    if (mode == "kpa" || mode == "ipa")
      std::transform(mode.begin(), mode.end(), mode.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return concat("CorDA", mode.empty() ? "" : " ", mode);
  }
  if (tuning.method == "lora") return "LoRA";
  if (tuning.method == "dora") return "DoRA";
  if (tuning.method == "pissa") return "PiSSA";
  return tuning.method == "full" ? "full fine-tuning" : tuning.method;
}

// A link that is relative means a file of the base's repository, which is not copied everywhere.
std::string license_link(const Base& base) {
  const std::string& link = base.license_link;
  if (link.empty() || !base.on_hub || link.find("://") != std::string::npos) return link;
  return concat("https://huggingface.co/", base.name, "/blob/main/", link);
}

std::string front_matter(Artifact artifact, const Base& base, const Tuning& tuning,
                         const std::optional<Run>& run) {
  const bool adapter = artifact == Artifact::kAdapter;
  std::string text = "---\n";
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) text += concat(key, ": ", yaml(value), "\n");
  };
  const auto add_list = [&](const char* key, const std::vector<std::string>& values) {
    if (values.empty()) return;
    text += concat(key, ":\n");
    for (const auto& value : values) text += concat("- ", yaml(value), "\n");
  };
  if (base.on_hub) {
    add("base_model", base.name);
    add("base_model_relation", adapter ? "adapter" : "finetune");
  }
  add("library_name", adapter ? "peft" : "transformers");
  add("pipeline_tag", "text-generation");
  add("license", base.license);
  add("license_name", base.license_name);
  add("license_link", license_link(base));
  add_list("language", base.languages);
  std::vector<std::string> datasets;
  if (run) {
    for (const Data& data : data_at(*run, "train"))
      if (data.on_hub) datasets.push_back(data.name);
  }
  add_list("datasets", datasets);
  std::vector<std::string> tags = {"corda"};
  if (tuning.method != "full") tags.emplace_back("lora");
  if (tuning.method == "dora" || tuning.method == "pissa") tags.push_back(tuning.method);
  add_list("tags", tags);
  return text + "---\n";
}

// The last parts of the adapted layers' names, each once.
std::string targets(const Tuning& tuning) {
  std::set<std::string> names;
  for (const auto& module : tuning.modules) names.insert(concat("`", core::last_part(module), "`"));
  return core::join({names.begin(), names.end()}, ", ");
}

std::string settings_table(const Tuning& tuning, const std::optional<Run>& run) {
  std::string text = "## How it was made\n\n| | |\n|---|---|\n";
  const auto row = [&](const char* name, const std::string& value) {
    if (!value.empty()) text += concat("| ", name, " | ", value, " |\n");
  };
  row("method", method_name(tuning));
  if (tuning.rank > 0) {
    row("rank", tuning.stored_rank > tuning.rank
                    ? concat(tuning.rank, " (", tuning.stored_rank, " in the files, which hold ",
                             "the difference from the start)")
                    : concat(tuning.rank));
    row("alpha", concat(tuning.alpha));
  }
  row("layers", targets(tuning));
  if (!run) return text;
  row("training data", listed(data_at(*run, "train")));
  row("template", plain(data_of(setting(*run, "data.template")).name));
  row("learning rate", concat(setting(*run, "optim.lr"), ", ", setting(*run, "optim.schedule")));
  if (run->steps > 0) row("steps", concat(run->steps));
  row("epochs asked for", setting(*run, "optim.epochs"));
  row("samples a step", setting(*run, "optim.batch_size"));
  row("longest sample", concat(setting(*run, "data.max_length"), " tokens"));
  row("precision", setting(*run, "precision"));
  row("seed", setting(*run, "seed"));
  if (run->evaluation) {
    const auto data = data_at(*run, "eval");
    row("evaluation loss", concat(run->evaluation->loss, " after step ", run->evaluation->step,
                                  data.empty() ? "" : " on ", listed(data)));
  }
  return text;
}

std::string loading(Artifact artifact, const Base& base) {
  const std::string name = base.on_hub ? base.name : concat("path/to/", base.name);
  if (artifact == Artifact::kModel) {
    return "## Loading it\n\n```python\n"
           "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
           "model = AutoModelForCausalLM.from_pretrained(\".\", dtype=\"auto\")\n"
           "tokenizer = AutoTokenizer.from_pretrained(\".\")\n```\n";
  }
  return concat(
      "## Loading it\n\n```python\n"
      "from peft import PeftModel\n"
      "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
      "base = AutoModelForCausalLM.from_pretrained(",
      core::json_line(core::Json(name)),
      ", dtype=\"auto\")\nmodel = PeftModel.from_pretrained(base, \".\")\n",
      "tokenizer = AutoTokenizer.from_pretrained(", core::json_line(core::Json(name)),
      ")\n```\n\nThe base is the unmodified one.\n");
}

std::string licence(const Base& base) {
  std::string text = "## Licence\n\n";
  if (base.license.empty()) {
    return text +
           "The files of the base do not say under which licence it stands. Its terms hold for "
           "what "
           "was made from it: look them up, and name them above (`license:`) before you publish "
           "this.\n";
  }
  text += concat("That of the base: ", plain(base.license));
  if (!base.license_name.empty()) text += concat(" (", plain(base.license_name), ")");
  return text + ".\n";
}

}  // namespace

std::string text_of(Artifact artifact, const Base& base, const Tuning& tuning,
                    const std::optional<Run>& run) {
  const std::string of =
      base.name.empty() ? "a base that is not named"
      : base.on_hub     ? concat("[", plain(base.name), "](https://huggingface.co/", base.name, ")")
                        : concat("`", base.name, "`");
  const std::string method = method_name(tuning);
  const bool is_full = tuning.method == "full";
  const std::string title = concat(base.name.empty() ? "A language model" : plain(base.name),
                                   ", fine-tuned with ", is_full ? "corda" : method);
  std::string what;
  if (artifact == Artifact::kAdapter) {
    what = concat("A low-rank adapter (", method, ") of ", of, ".");
  } else if (is_full) {
    what = concat(of, ", with all of its weights trained.");
  } else {
    what = concat(of, " with a low-rank adapter (", method, ") merged into its weights.");
  }
  if (is_corda(tuning)) {
    what +=
        " CorDA starts an adapter in directions that the covariance of the layers' inputs chooses "
        "([Yang et al., 2024](https://arxiv.org/abs/2406.05223)).";
  }
  return concat(front_matter(artifact, base, tuning, run), "\n", kMark, "\n# ", title, "\n\n", what,
                " Made by corda ", CORDA_VERSION,
                ", which wrote this card and will not touch it again.\n\n",
                settings_table(tuning, run), "\n", loading(artifact, base), "\n", licence(base));
}

void write(const fs::path& directory, const std::string& text) {
  std::error_code error;
  const bool is_there = fs::exists(directory / kName, error);
  if (is_there && core::read_file(directory / kName).find(kMark) == std::string::npos) {
    fs::rename(directory / kName, directory / kNameOfBase, error);
    if (error) core::throw_output_error("create", directory / kNameOfBase, error.value());
  }
  core::write_file_atomic(directory / kName, text);
}

}  // namespace corda::card
