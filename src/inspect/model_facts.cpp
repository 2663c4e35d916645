// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <optional>

#include "corda/core/hub_cache.h"
#include "corda/model/config.h"
#include "corda/model/largest_rank.h"
#include "inspect/facts.h"

namespace corda::inspect {

using core::Json;

namespace {

// What a model of a known family is, by its config.json.
void add_geometry(Json& facts, const model::ModelDescription& model) {
  facts["family"] = model.family;
  facts["blocks"] = model.num_layers();
  facts["hidden_size"] = model.hidden_size;
  facts["intermediate_size"] = model.feed_forward.intermediate;
  facts["heads"] = model.attention.heads;
  facts["key_value_heads"] = model.attention.kv_heads;
  facts["head_dim"] = model.attention.head_dim;
  facts["vocabulary"] = model.vocab_size;
  facts["positions"] = model.max_positions;
  facts["tied_head"] = model.tied;
  facts["largest_rank"] = model::largest_rank(model);
  std::int64_t windowed = 0;
  for (const model::BlockDescription& block : model.blocks) windowed += block.window > 0 ? 1 : 0;
  if (windowed > 0) facts["blocks_with_a_window"] = windowed;
  Json sites = Json::array();
  for (const model::SiteDescription* site : model.sites()) {
    Json layers = Json::array();
    for (const model::LayerDescription& layer : site->layers)
      layers.push_back(core::concat(layer.name, " ", layer.out_features));
    sites.push_back({{"site", site->name}, {"in_features", site->in_features}, {"layers", layers}});
  }
  facts["sites"] = std::move(sites);
}

// Which of the files that hold a tokenizer are there, the one that counts first.
std::vector<std::string> tokenizer_files(const fs::path& directory) {
  std::vector<std::string> found;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"})
    if (fs::exists(directory / name)) found.emplace_back(name);
  return found;
}

bool has_chat_template(const fs::path& directory) {
  if (fs::exists(directory / "chat_template.jinja")) return true;
  const fs::path config = directory / "tokenizer_config.json";
  return fs::exists(config) && core::read_json(config).contains("chat_template");
}

}  // namespace

namespace {

void add_forgetting(Json& facts, const InspectSettings& settings, core::Reporter& reporter) {
  if (settings.model.empty()) {
    throw core::ConfigError(
        "--covariance says how far a trained model is from its base; name the base with --model");
  }
  adapter::KnowledgeInputs inputs(settings.covariance,
                                  io::open_model(settings.model, reporter).fingerprint(), {});
  const Forgettings found = forgetting_of_model(settings, inputs, reporter);
  facts["forgetting"] = forgetting_facts(inputs, found);
  Json layers = Json::array();
  for (const auto& [module, layer] : found)
    layers.push_back({{"module", module}, {"forgetting", layer.gauge()}});
  facts["layers"] = std::move(layers);
}

}  // namespace

Json model_facts(const InspectSettings& settings, core::Reporter& reporter) {
  const fs::path directory = settings.path;
  Json facts = {{"kind", "model"}, {"path", settings.path}};
  if (const std::string name = core::hub_name_of(settings.path); name != settings.path)
    facts["name"] = name;
  const Json config = core::read_json(directory / "config.json");
  facts["model_type"] = config.value("model_type", Json(nullptr));
  facts["reads"] = true;
  try {
    add_geometry(facts, model::read_model_config(directory, settings.assume_family));
  } catch (const core::FormatError& error) {
    facts["reads"] = false;
    facts["reason"] = error.what();
  }
  if (config.contains("quantization_config")) {
    const Json& quantised = config["quantization_config"];
    facts["quantised"] =
        quantised.is_object() ? quantised.value("quant_method", Json("unknown")) : Json("unknown");
  }
  facts["tokenizer"] = tokenizer_files(directory);
  facts["chat_template"] = has_chat_template(directory);
  std::optional<io::Checkpoint> checkpoint;
  try {
    checkpoint.emplace(io::open_model(directory, reporter));
  } catch (const core::Error& error) {
    facts["weights"] = error.what();
    return facts;
  }
  add_size(facts, *checkpoint);
  facts["fingerprint"] = checkpoint->fingerprint();
  if (!settings.model.empty()) {
    facts["fit"] = fit_of(settings.model, [&] {
      const std::string other = io::open_model(settings.model, reporter).fingerprint();
      if (other != checkpoint->fingerprint()) {
        throw core::FormatError("the weights differ: the fingerprint of the other model is " +
                                other);
      }
    });
  }
  if (!settings.covariance.empty()) add_forgetting(facts, settings, reporter);
  return facts;
}

}  // namespace corda::inspect
