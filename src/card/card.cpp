// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/card/card.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <system_error>

#include "card/markdown.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::card {

using core::concat;
using core::ConfigNode;

namespace {

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

// What a dotted name stands for in the settings of a run, or nullptr.
const ConfigNode* node_at(const Run& run, std::string_view name) {
  const ConfigNode* node = &run.settings;
  for (const auto& part : core::split(name, '.')) {
    node = node->find(part);
    if (node == nullptr) return nullptr;
  }
  return node;
}

std::string setting(const Run& run, std::string_view name) {
  const ConfigNode* node = node_at(run, name);
  return node != nullptr && node->kind == ConfigNode::Kind::kScalar ? node->text : "";
}

// The data of a list of files, each once, in the order of the settings.
std::vector<Data> files_at(const Run& run, std::string_view name) {
  std::vector<std::string> paths;
  if (const ConfigNode* files = node_at(run, name)) {
    for (const ConfigNode& item : files->items) {
      const ConfigNode* path = item.kind == ConfigNode::Kind::kMap ? item.find("path") : &item;
      if (path != nullptr) paths.push_back(path->text);
    }
  }
  return data_at(paths);
}

// Whether its start is one of CorDA's, whatever verb made it.
bool is_corda(const Tuning& tuning) {
  return tuning.method == "corda" && (tuning.mode.empty() || tuning.mode == "kpa" ||
                                      tuning.mode == "ipa" || tuning.mode == "dual");
}

std::string method_name(const Tuning& tuning) {
  static const std::map<std::string, std::string> kOthers = {
      {"null", "LoRA-Null"}, {"sc", "SC-LoRA"}, {"eva", "EVA"},
      {"milora", "MiLoRA"},  {"mica", "MiCA"},  {"cloq", "CLoQ"}};
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

// The names of the data sets on the hub that a run trained on.
std::vector<std::string> datasets_of(const std::optional<Run>& run) {
  std::vector<std::string> names;
  if (!run) return names;
  for (const char* list : {"data.train", "data.replay.path"}) {
    for (const Data& data : files_at(*run, list)) {
      if (data.on_hub && std::find(names.begin(), names.end(), data.name) == names.end())
        names.push_back(data.name);
    }
  }
  return names;
}

// Front matter as the hub reads it; `relation` says what became of the base.
std::string front_matter(const Base& base, const char* relation, const char* library,
                         const std::vector<std::string>& datasets,
                         const std::vector<std::string>& tags) {
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
    add("base_model_relation", relation);
  }
  add("library_name", library);
  add("pipeline_tag", "text-generation");
  add("license", base.license);
  add("license_name", base.license_name);
  add("license_link", license_link(base));
  add_list("language", base.languages);
  add_list("datasets", datasets);
  add_list("tags", tags);
  return text + "---\n";
}

std::vector<std::string> tags_of(const Tuning& tuning) {
  std::vector<std::string> tags = {"corda"};
  if (tuning.method != "full") tags.emplace_back("lora");
  if (tuning.method == "dora" || tuning.method == "pissa") tags.push_back(tuning.method);
  return tags;
}

// The last parts of the adapted layers' names, each once.
std::string targets(const Tuning& tuning) {
  std::set<std::string> names;
  for (const auto& module : tuning.modules) names.insert(concat("`", core::last_part(module), "`"));
  return core::join({names.begin(), names.end()}, ", ");
}

// The rank, of all layers or from the least to the greatest, and that of the files.
std::string rank_of(const Tuning& tuning) {
  const bool differ = tuning.smallest_rank < tuning.largest_rank;
  std::string text = differ
                         ? concat(tuning.smallest_rank, " to ", tuning.largest_rank, ", by layer")
                         : concat(tuning.rank);
  if (tuning.stored_rank <= tuning.rank) return text;
  return concat(text, " (", differ ? "twice that" : concat(tuning.stored_rank),
                " in the files, which hold the difference from the start)");
}

// A table of two columns; rows without a value are left out.
class Table {
 public:
  void row(const char* name, const std::string& value) {
    if (!value.empty()) text_ += concat("| ", name, " | ", value, " |\n");
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_ = "## How it was made\n\n| | |\n|---|---|\n";
};

void add_tuning(Table& table, const Tuning& tuning) {
  table.row("method", method_name(tuning));
  if (tuning.rank > 0) {
    table.row("rank", rank_of(tuning));
    table.row("alpha", concat(tuning.alpha));
  }
  table.row("layers", targets(tuning));
}

void add_start(Table& table, const Start& start) {
  table.row("start calibrated on", listed(data_at(start.data)));
  table.row("start calibrated for the task on", listed(data_at(start.task_data)));
}

void add_run(Table& table, const Run& run) {
  table.row("training data", listed(files_at(run, "data.train")));
  if (const auto replayed = files_at(run, "data.replay.path"); !replayed.empty()) {
    table.row("replayed data",
              concat(listed(replayed), ", a share of ", setting(run, "data.replay.share")));
  }
  table.row("template", plain(data_of(setting(run, "data.template")).name));
  table.row("learning rate",
            concat(setting(run, "optim.lr"), ", ", setting(run, "optim.schedule")));
  if (run.steps > 0) table.row("steps", concat(run.steps));
  table.row("epochs asked for", setting(run, "optim.epochs"));
  table.row("samples a step", setting(run, "optim.batch_size"));
  table.row("longest sample", concat(setting(run, "data.max_length"), " tokens"));
  table.row("precision", setting(run, "precision"));
  table.row("seed", setting(run, "seed"));
  if (run.evaluation) {
    const auto data = files_at(run, "data.eval");
    table.row("evaluation loss", concat(run.evaluation->loss, " after step ", run.evaluation->step,
                                        data.empty() ? "" : " on ", listed(data)));
  }
}

std::string loading_model() {
  return concat(kLoading,
                "\n```python\n"
                "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
                "model = AutoModelForCausalLM.from_pretrained(\".\", dtype=\"auto\")\n"
                "tokenizer = AutoTokenizer.from_pretrained(\".\")\n```\n");
}

std::string loading_adapter(const Base& base) {
  const std::string name = base.on_hub ? base.name : concat("path/to/", base.name);
  return concat(kLoading,
                "\n```python\n"
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
           "what was made from it: look them up, and name them above (`license:`) before you "
           "publish this.\n";
  }
  text += concat("That of the base: ", plain(base.license));
  if (!base.license_name.empty()) text += concat(" (", plain(base.license_name), ")");
  return text + ".\n";
}

std::string linked(const Base& base) {
  if (base.name.empty()) return "a base that is not named";
  return base.on_hub ? concat("[", plain(base.name), "](https://huggingface.co/", base.name, ")")
                     : concat("`", base.name, "`");
}

std::string title_of(const Base& base, const std::string& what) {
  return concat("# ", base.name.empty() ? "A language model" : plain(base.name), ", ", what, "\n");
}

std::string about_corda(const Tuning& tuning) {
  if (!is_corda(tuning)) return "";
  return " CorDA starts an adapter in directions that the covariance of the layers' inputs chooses "
         "([Yang et al., 2024](https://arxiv.org/abs/2406.05223)).";
}

// Over which base an adapter stands that makes good what codes lose.
std::string about_codes(const Tuning& tuning) {
  if (tuning.corrects.empty()) return "";
  return concat(" It makes good part of what the base loses in ",
                tuning.corrects == "nf4" ? "NF4 (bitsandbytes' 4 bits, with double quantisation)"
                                         : "float8 (tiles of 128 x 128)",
                ", so load the base in that; over other weights it adds an error.");
}

// The card around its parts; `what` is one line.
std::string assembled(const std::string& front, const std::string& title, const std::string& what,
                      const Table& table, const std::string& use, const Base& base) {
  return concat(front, "\n", kMark, "\n\n", title, "\n", what, " Made by corda ", CORDA_VERSION,
                ". The card is yours to edit; `corda eval --card` puts scores into it.\n\n",
                table.text(), "\n", use, "\n", licence(base));
}

}  // namespace

std::string text_of(Artifact artifact, const Base& base, const Tuning& tuning,
                    const std::optional<Run>& run) {
  const bool is_adapter = artifact == Artifact::kAdapter;
  const bool is_full = tuning.method == "full";
  const std::string method = method_name(tuning);
  std::string what;
  if (is_adapter) {
    what = concat("A low-rank adapter (", method, ") of ", linked(base), ".", about_codes(tuning));
  } else if (is_full) {
    what = concat(linked(base), ", with all of its weights trained.");
  } else {
    what = concat(linked(base), " with a low-rank adapter (", method, ") merged into its weights.");
  }
  Table table;
  add_tuning(table, tuning);
  if (run) {
    add_start(table, run->start);
    add_run(table, *run);
  }
  return assembled(
      front_matter(base, is_adapter ? "adapter" : "finetune", is_adapter ? "peft" : "transformers",
                   datasets_of(run), tags_of(tuning)),
      title_of(base, concat("fine-tuned with ", is_full ? "corda" : method)),
      what + about_corda(tuning), table, is_adapter ? loading_adapter(base) : loading_model(),
      base);
}

std::string text_of_start(const Base& base, const Tuning& tuning, const Start& start) {
  const std::string method = method_name(tuning);
  Table table;
  add_tuning(table, tuning);
  add_start(table, start);
  const std::string use =
      concat("## Training it\n\nName this directory in the settings of `corda train`:\n\n```yaml\n",
             "method: ", yaml(tuning.method), "\nadapter: path/to/this\n",
             tuning.corrects.empty() ? "" : concat("base: ", tuning.corrects, "\n"), "```\n");
  return assembled(
      front_matter(base, "adapter", "peft", {}, tags_of(tuning)),
      title_of(base, concat("a start for ", method)),
      concat("The start of a low-rank adapter (", method, ") of ", linked(base),
             tuning.corrects.empty() ? ". Nothing of it is trained yet: with it the model computes "
                                       "what the base computes."
                                     : ". Nothing of it is trained yet.",
             about_codes(tuning), about_corda(tuning)),
      table, use, base);
}

std::string text_of_quantised(const Base& base, const Quantisation& how) {
  const bool is_nf4 = how.format == "nf4";
  Table table;
  table.row("weights of the blocks' layers", is_nf4 ? "NF4: 4 bits, blocks of 64"
                                             : how.scale_a_row
                                                 ? "float8 e4m3: 8 bits, a scale a row"
                                                 : "float8 e4m3: 8 bits, tiles of 128 x 128");
  table.row("other weights", "as in the base");
  table.row("rounding",
            how.knows_inputs ? "passes its error on to correlated inputs" : "to the nearest");
  table.row("inputs of", listed(data_at(how.data)));
  std::string use = loading_model();
  if (is_nf4) use += "\nIt needs the package `bitsandbytes`.\n";
  if (how.scale_a_row) use += "\ntransformers needs the package `compressed-tensors`.\n";
  if (!is_nf4) use += "\nvLLM and transformers compute with the codes on GPUs that have float8.\n";
  return assembled(front_matter(base, "quantized", "transformers", {}, {"corda"}),
                   title_of(base, is_nf4 ? "in 4 bits" : "in 8 bits"),
                   concat(linked(base), ", its blocks' linear layers in ",
                          is_nf4 ? "4 bits (NF4)." : "8 bits (float8)."),
                   table, use, base);
}

void write(const fs::path& directory, const std::string& text) {
  std::error_code error;
  if (fs::exists(directory / kName, error)) {
    if (core::read_file(directory / kName) == text) return;
    fs::path kept = directory / "README-of-base.md";
    for (int number = 2; fs::exists(kept, error); ++number)
      kept = directory / concat("README-of-base-", number, ".md");
    fs::rename(directory / kName, kept, error);
    if (error) core::throw_output_error("create", kept, error.value());
  }
  core::write_file_atomic(directory / kName, text);
}

}  // namespace corda::card
