// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/config.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "corda/io/safetensors.h"
#include "corda/model/model.h"
#include "corda/quant/model_weights.h"
#include "model/config_keys.h"
#include "model/config_reader.h"
#include "model/families.h"
#include "model/misfits.h"

namespace corda::model {

using core::concat;
using core::Json;

namespace {

// Models that see and read, of which the text tower is a family of its own.
struct Wrapper {
  const char* model_type;
  const char* text_family;  // where the tower does not say its own
  bool tied;                // where the file does not say
};
constexpr std::array kWrappers = {Wrapper{"gemma3", "gemma3_text", true},
                                  Wrapper{"mistral3", "mistral", true},
                                  Wrapper{"qwen3_vl", "qwen3_vl_text", false}};

const Wrapper* find_wrapper(std::string_view model_type) {
  const auto found = std::find_if(kWrappers.begin(), kWrappers.end(),
                                  [&](const Wrapper& w) { return w.model_type == model_type; });
  return found == kWrappers.end() ? nullptr : &*found;
}

// Every model_type that is read, the wrappers last.
std::vector<std::string> readable_types() {
  std::vector<std::string> types = family_names();
  for (const Wrapper& wrapper : kWrappers) types.emplace_back(wrapper.model_type);
  return types;
}

std::string type_in(const Json& object, const std::string& otherwise) {
  const auto found = object.find("model_type");
  return found != object.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

// The family that is spelt with the same letters and digits ("LLaMA", "qwen-2"), as a hint. One
// that is merely close by is another model.
std::string same_letters_hint(const std::string& model_type) {
  const auto letters = [](const std::string& name) {
    std::string kept;
    for (const char c : core::to_lower_ascii(name))
      if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) kept += c;
    return kept;
  };
  for (const std::string& known : readable_types())
    if (letters(known) == letters(model_type)) return concat("; did you mean '", known, "'?");
  return "";
}

const FamilyRow& family_of(const std::string& model_type, const std::string& source) {
  if (const FamilyRow* row = find_family(model_type)) return *row;
  throw UnknownFamily(concat("'", source, "': the model family '", model_type,
                             "' is not implemented (", core::join(readable_types(), ", "), " are)",
                             same_letters_hint(model_type)));
}

ModelDescription read_object(const Json& object, const std::string& source, const FamilyRow& row) {
  ConfigReader reader(object, source);
  ModelDescription model = describe(reader, row);
  check_other_keys(reader, row, model.notes);
  reader.throw_problems();
  return model;
}

ModelDescription read_wrapper(const Json& root, const std::string& source, const Wrapper& wrapper) {
  static const Json kNothing = Json::object();
  const auto text = root.find("text_config");
  if (text != root.end() && !text->is_object())
    throw core::FormatError(concat("'", source, "': 'text_config' must be an object"));
  const Json& tower = text == root.end() ? kNothing : *text;
  const FamilyRow& row = family_of(type_in(tower, wrapper.text_family), source);
  ModelDescription model = read_object(tower, concat(source, "': 'text_config"), row);
  ConfigReader top(root, source);
  // The outer object says whether the whole model is quantised.
  refuse_quantisation(top);
  model.tied = top.flag("tie_word_embeddings", wrapper.tied);
  top.throw_problems();
  model.is_tower = true;
  model.prefix = "model.language_model.";
  model.notes.push_back(concat("of the ", wrapper.model_type,
                               " model its text tower is used; the rest stays as it is"));
  return model;
}

// Of a model whose model_type is not read: the one that is, and whose tensors are those of its
// files; "" for none.
std::string fitting_type(const std::string& json, const fs::path& directory) {
  try {
    core::Reporter silent;
    const quant::ModelWeights weights = quant::open_model(directory, silent);
    for (const std::string& type : readable_types()) {
      try {
        if (misfits_of(weights, parse_model_config(json, "config.json", type)).empty()) return type;
      } catch (const core::Error&) {
        continue;  // the configuration says what that family does not know
      }
    }
  } catch (const core::Error&) {  // a folder without weights, or whose weights are damaged
  }
  return "";
}

}  // namespace

ModelDescription parse_model_config(std::string_view json, const std::string& source,
                                    const std::string& assume_family) {
  const Json root = core::parse_json(json, source);
  if (!root.is_object()) throw core::FormatError(concat("'", source, "' must hold a JSON object"));
  const std::string model_type = type_in(root, "");
  if (model_type.empty() && assume_family.empty()) {
    throw UnknownFamily(concat("'", source, "': 'model_type' is missing, so the model's family is ",
                               "not known (", core::join(readable_types(), ", "), " are)"));
  }
  if (!assume_family.empty()) {
    const Wrapper* wrapper = find_wrapper(assume_family);
    const FamilyRow* row = find_family(assume_family);
    if (wrapper == nullptr && row == nullptr) {
      throw core::ConfigError(concat("--assume-family '", assume_family, "' is none of ",
                                     core::join(readable_types(), ", "),
                                     core::suggestion(assume_family, readable_types())));
    }
    ModelDescription model =
        wrapper != nullptr ? read_wrapper(root, source, *wrapper) : read_object(root, source, *row);
    if (model_type != assume_family)
      model.notes.push_back(concat("'", model_type, "' is read as ", assume_family, ", as asked"));
    return model;
  }
  if (const Wrapper* wrapper = find_wrapper(model_type))
    return read_wrapper(root, source, *wrapper);
  return read_object(root, source, family_of(model_type, source));
}

void add_assume_family(core::SettingsList& list, std::string& assume_family) {
  list.add(
      "assume_family", assume_family,
      concat("read the model as one of this model_type: ", core::join(readable_types(), ", ")));
}

void warn_beyond_positions(const ModelDescription& config, std::int64_t length,
                           std::string_view what, core::Reporter& reporter,
                           std::string_view advice) {
  if (length <= config.max_positions) return;
  reporter.warn(concat(what, " is longer than the ", config.max_positions,
                       " positions the model was trained for", advice));
}

std::int64_t window_tokens(const ModelDescription& config, std::int64_t asked,
                           core::Reporter& reporter) {
  constexpr std::int64_t kWindow = 2048;  // the paper's
  if (asked > 0) return asked;
  if (config.max_positions >= kWindow) return kWindow;
  reporter.info(concat("at most ", config.max_positions,
                       " tokens in a window or sample: the model has no more positions"));
  return config.max_positions;
}

ModelDescription read_model_config(const fs::path& directory, const std::string& assume_family) {
  const fs::path path = directory / "config.json";
  if (!fs::exists(path)) io::refuse_model_directory(directory);
  const std::string json = core::read_file(path);
  try {
    return parse_model_config(json, path.string(), assume_family);
  } catch (const UnknownFamily& unknown) {
    const std::string family = fitting_type(json, directory);
    if (family.empty()) throw;
    throw UnknownFamily(concat(unknown.what(), "; the tensors are those of ", family,
                               ": try --assume-family ", family,
                               " if the model computes as that family does"));
  }
}

std::string config_fingerprint(const fs::path& directory) {
  core::Sha256 hash;
  hash.update(core::read_file(directory / "config.json"));
  return "sha256:" + hash.hex_digest();
}

}  // namespace corda::model
