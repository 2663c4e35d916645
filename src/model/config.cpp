// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/config.h"

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::model {

using core::concat;
using core::Json;

namespace {

// Keys that say nothing about the forward pass of a text model.
constexpr std::array kIgnored = {"architectures",
                                 "auto_map",
                                 "bos_token_id",
                                 "eos_token_id",
                                 "pad_token_id",
                                 "dtype",
                                 "torch_dtype",
                                 "transformers_version",
                                 "use_cache",
                                 "initializer_range",
                                 "model_type",
                                 "task_specific_params",
                                 "output_attentions",
                                 "output_hidden_states",
                                 "return_dict",
                                 "problem_type",
                                 "id2label",
                                 "label2id",
                                 "num_labels",
                                 "finetuning_task",
                                 "chunk_size_feed_forward",
                                 "is_encoder_decoder",
                                 "torchscript",
                                 "tokenizer_class",
                                 "prefix",
                                 "sep_token_id",
                                 "decoder_start_token_id",
                                 "keys_to_ignore_at_inference",
                                 "attn_implementation",
                                 "name_or_path",
                                 "use_bfloat16",
                                 "tf_legacy_loss",
                                 "unsloth_version",
                                 "unsloth_fixed",
                                 "max_length",
                                 "min_length",
                                 "do_sample",
                                 "temperature",
                                 "top_k",
                                 "top_p",
                                 "typical_p",
                                 "repetition_penalty",
                                 "length_penalty",
                                 "no_repeat_ngram_size",
                                 "early_stopping",
                                 "num_beams",
                                 "num_beam_groups",
                                 "diversity_penalty",
                                 "num_return_sequences",
                                 "bad_words_ids",
                                 "suppress_tokens",
                                 "begin_suppress_tokens",
                                 "forced_bos_token_id",
                                 "forced_eos_token_id",
                                 "exponential_decay_length_penalty",
                                 "encoder_no_repeat_ngram_size",
                                 "output_scores",
                                 "return_dict_in_generate",
                                 "remove_invalid_values",
                                 "cross_attention_hidden_size",
                                 "max_window_layers"};

constexpr std::int64_t kMaxLayers = 4096;

class Reader {
 public:
  Reader(const Json& root, std::string source) : root_(root), source_(std::move(source)) {}

  void problem(const std::string& text) { problems_.push_back(text); }

  bool present(const char* key) const { return root_.contains(key) && !root_.at(key).is_null(); }

  const Json* value(const char* key) {
    used_.insert(key);
    return present(key) ? &root_.at(key) : nullptr;
  }

  std::int64_t size(const char* key, std::int64_t fallback = 0) {
    const Json* found = value(key);
    if (found == nullptr) {
      if (fallback == 0) problem(concat("'", key, "' is missing"));
      return std::max<std::int64_t>(fallback,
                                    1);  // never 0, so that sizes can be divided by each other
    }
    return checked_size(key, *found);
  }

  std::int64_t size(const Json& object, const char* key, std::int64_t fallback) {
    if (!object.contains(key) || object.at(key).is_null()) return fallback;
    return checked_size(key, object.at(key));
  }

  double number(const Json& object, const char* key, double fallback) {
    if (!object.contains(key) || object.at(key).is_null()) return fallback;
    if (!object.at(key).is_number() || object.at(key).get<double>() <= 0) {
      problem(concat("'", key, "' must be a positive number; it is ", object.at(key).dump()));
      return 1;
    }
    return object.at(key).get<double>();
  }

  double number(const char* key, double fallback) {
    used_.insert(key);
    return number(root_, key, fallback);
  }

  bool flag(const char* key, bool fallback) {
    const Json* found = value(key);
    if (found == nullptr) return fallback;
    if (!found->is_boolean())
      problem(concat("'", key, "' must be true or false; it is ", found->dump()));
    return found->is_boolean() ? found->get<bool>() : fallback;
  }

  // A key of which only one value is implemented.
  void only(const char* key, const Json& implemented) {
    const Json* found = value(key);
    if (found != nullptr && *found != implemented) {
      problem(concat("'", key, "': ", found->dump(), " is not implemented (only ",
                     implemented.dump(), " is)"));
    }
  }

  void finish() {
    for (const auto& [key, entry] : root_.items()) {
      const bool ignored = key.starts_with('_') ||
                           std::find(kIgnored.begin(), kIgnored.end(), key) != kIgnored.end();
      const bool says_nothing = entry.is_null() || entry == false;
      if (!used_.contains(key) && !ignored && !says_nothing) {
        problem(concat(
            "'", key, "': ", entry.dump().substr(0, 80),
            " is not known to corda and might change the mathematics; take it out if it does not"));
      }
    }
    if (!problems_.empty())
      throw core::FormatError(concat("'", source_, "': ", core::join(problems_, "; ")));
  }

  const std::string& source() const { return source_; }

 private:
  std::int64_t checked_size(const char* key, const Json& found) {
    constexpr std::int64_t kMax = std::int64_t{1} << 31;
    if (!found.is_number_integer() || found.get<std::int64_t>() < 1 ||
        found.get<std::int64_t>() > kMax) {
      problem(
          concat("'", key, "' must be a whole number from 1 to ", kMax, "; it is ", found.dump()));
      return 1;
    }
    return found.get<std::int64_t>();
  }

  const Json& root_;
  std::string source_;
  std::set<std::string> used_;
  std::vector<std::string> problems_;
};

// `rope_parameters` (new) or `rope_scaling` (old): the same object under two names.
void read_rope(Reader& reader, ModelConfig& config) {
  config.rope_theta = reader.number("rope_theta", config.rope_theta);
  const Json* old_style = reader.value("rope_scaling");
  const Json* new_style = reader.value("rope_parameters");
  const Json* rope = new_style != nullptr ? new_style : old_style;
  if (rope == nullptr) return;
  if (!rope->is_object()) return reader.problem("'rope_scaling' must be an object");
  config.rope_theta = reader.number(*rope, "rope_theta", config.rope_theta);
  const Json* type_value = rope->contains("rope_type") ? &rope->at("rope_type")
                           : rope->contains("type")    ? &rope->at("type")
                                                       : nullptr;
  const std::string type =
      type_value != nullptr && type_value->is_string() ? type_value->get<std::string>() : "missing";
  std::vector<std::string> known = {"rope_type", "type", "rope_theta"};
  RopeScaling& scaling = config.rope_scaling;
  if (type == "linear") {
    scaling.type = RopeScalingType::kLinear;
    known.emplace_back("factor");
  } else if (type == "llama3") {
    scaling.type = RopeScalingType::kLlama3;
    for (const char* key :
         {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
      known.emplace_back(key);
      if (!rope->contains(key))
        reader.problem(concat("'rope_scaling' of type llama3 needs '", key, "'"));
    }
    scaling.low_freq_factor = reader.number(*rope, "low_freq_factor", 1);
    scaling.high_freq_factor = reader.number(*rope, "high_freq_factor", 4);
    scaling.original_max_positions = reader.size(*rope, "original_max_position_embeddings", 8192);
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      reader.problem("'rope_scaling': high_freq_factor must be larger than low_freq_factor");
    }
  } else if (type != "default") {
    reader.problem(concat("'rope_scaling' of type '", type,
                          "' is not implemented (default, linear and llama3 are)"));
    return;
  }
  if (type != "default" && !rope->contains("factor"))
    reader.problem(concat("'rope_scaling' of type ", type, " needs 'factor'"));
  scaling.factor = reader.number(*rope, "factor", 1);
  for (const auto& [key, entry] : rope->items()) {
    if (std::find(known.begin(), known.end(), key) == known.end() && !entry.is_null()) {
      reader.problem(
          concat("'rope_scaling': the key '", key, "' is not implemented for type ", type));
    }
  }
}

// By transformers' names.
void read_activation(Reader& reader, ModelConfig& config) {
  using kernels::Activation;
  constexpr std::array<std::pair<const char*, Activation>, 5> kNames = {
      {{"silu", Activation::kSilu},
       {"swish", Activation::kSilu},
       {"gelu", Activation::kGelu},
       {"gelu_new", Activation::kGeluTanh},
       {"gelu_pytorch_tanh", Activation::kGeluTanh}}};
  const Json* found = reader.value("hidden_act");
  if (found == nullptr) return;
  for (const auto& [name, activation] : kNames) {
    if (*found != name) continue;
    config.activation = activation;
    return;
  }
  reader.problem(concat("'hidden_act': ", found->dump(),
                        " is not implemented (silu, swish, gelu, gelu_new and gelu_pytorch_tanh "
                        "are)"));
}

}  // namespace

ModelConfig parse_model_config(std::string_view json, const std::string& source) {
  const Json root = core::parse_json(json, source);
  if (!root.is_object()) throw core::FormatError(concat("'", source, "' must hold a JSON object"));
  Reader reader(root, source);
  ModelConfig config;
  const Json* type = reader.value("model_type");
  config.model_type = type != nullptr && type->is_string() ? type->get<std::string>() : "";
  if (config.model_type != "llama" && config.model_type != "mistral") {
    throw core::FormatError(concat("'", source, "': the model family '", config.model_type,
                                   "' is not implemented (llama and mistral are)"));
  }
  config.vocab_size = reader.size("vocab_size");
  config.hidden_size = reader.size("hidden_size");
  config.intermediate_size = reader.size("intermediate_size");
  config.num_layers = reader.size("num_hidden_layers");
  if (config.num_layers > kMaxLayers) {
    reader.problem(concat("'num_hidden_layers' ", config.num_layers, " is more than the ",
                          kMaxLayers, " a model may have here"));
  }
  config.num_heads = reader.size("num_attention_heads");
  config.num_kv_heads = reader.size("num_key_value_heads", config.num_heads);
  if (config.hidden_size % config.num_heads != 0 && !reader.present("head_dim")) {
    reader.problem(concat("'hidden_size' ", config.hidden_size,
                          " is no multiple of 'num_attention_heads' ", config.num_heads));
  }
  config.head_dim =
      reader.size("head_dim", std::max<std::int64_t>(config.hidden_size / config.num_heads, 1));
  if (config.head_dim % 2 != 0)
    reader.problem(concat("'head_dim' must be even; it is ", config.head_dim));
  if (config.num_heads % config.num_kv_heads != 0) {
    reader.problem(concat("'num_attention_heads' ", config.num_heads,
                          " is no multiple of 'num_key_value_heads' ", config.num_kv_heads));
  }
  config.max_positions = reader.size("max_position_embeddings", 2048);
  config.rms_norm_eps = reader.number("rms_norm_eps", config.rms_norm_eps);
  read_rope(reader, config);
  config.attention_bias = reader.flag("attention_bias", false);
  config.mlp_bias = reader.flag("mlp_bias", false);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", false);
  read_activation(reader, config);
  reader.only("attention_dropout", 0.0);
  reader.only("pretraining_tp", 1);
  reader.only("partial_rotary_factor", 1.0);
  if (config.model_type == "mistral" && !root.contains("sliding_window")) {
    reader.problem(
        "'sliding_window' is missing, which means 4096 for Mistral and is not implemented (null "
        "is)");
  }
  reader.only("sliding_window", nullptr);
  reader.finish();
  return config;
}

void warn_beyond_positions(const ModelConfig& config, std::int64_t length, std::string_view what,
                           core::Reporter& reporter) {
  if (length <= config.max_positions) return;
  reporter.warn(concat(what, " is longer than the ", config.max_positions,
                       " positions the model was trained for"));
}

std::int64_t window_tokens(const ModelConfig& config, std::int64_t asked,
                           core::Reporter& reporter) {
  constexpr std::int64_t kWindow = 2048;  // the paper's
  if (asked > 0) return asked;
  if (config.max_positions >= kWindow) return kWindow;
  reporter.info(concat("at most ", config.max_positions,
                       " tokens in a window or sample: the model has no more positions"));
  return config.max_positions;
}

ModelConfig read_model_config(const fs::path& directory) {
  const fs::path path = directory / "config.json";
  if (!fs::exists(path)) {
    throw core::IoError(concat("'", directory.string(), "' is not a Hugging Face model directory: ",
                               core::why_absent(directory, "config.json")));
  }
  return parse_model_config(core::read_file(path), path.string());
}

std::string config_fingerprint(const fs::path& directory) {
  core::Sha256 hash;
  hash.update(core::read_file(directory / "config.json"));
  return "sha256:" + hash.hex_digest();
}

}  // namespace corda::model
