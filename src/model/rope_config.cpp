// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/rope_config.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::model {

using core::concat;
using core::Json;

namespace {

constexpr const char* kFull = "full_attention";
constexpr const char* kSliding = "sliding_attention";

// One set of rotary parameters: the object that holds them, its name in the file, and what holds
// where it says nothing.
struct RopeSource {
  const Json* object = nullptr;  // null: there is none
  std::string where;
  double theta = 10000;
};

const Json* member(const Json* object, const char* key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() || found->is_null() ? nullptr : &*found;
}

bool is_by_layer_type(const Json* object) {
  return object != nullptr && object->is_object() &&
         (object->contains(kFull) || object->contains(kSliding));
}

class RopeReader {
 public:
  RopeReader(ConfigReader& reader, const FamilyRow& row, const ModelDescription& model)
      : reader_(reader), row_(row), model_(model) {}

  RotaryDescription read(const RopeSource& source);

 private:
  RopeType type_of(const RopeSource& source);
  void read_dims(const RopeSource& source, RotaryDescription& rope);
  void read_original_positions(const RopeSource& source, RotaryDescription& rope);
  void read_llama3(const RopeSource& source, RotaryDescription& rope);
  void read_yarn(const RopeSource& source, RotaryDescription& rope);
  void read_longrope(const RopeSource& source, RotaryDescription& rope);
  std::vector<double> read_factors(const RopeSource& source, const char* key, std::int64_t count);

  // A member that the type uses, so that what is left over can be judged.
  const Json* used(const RopeSource& source, const char* key) {
    known_.insert(key);
    return member(source.object, key);
  }
  double number(const RopeSource& source, const char* key, double fallback) {
    return used(source, key) == nullptr
               ? fallback
               : reader_.number(*source.object, source.where, key, fallback);
  }
  void needs(const RopeSource& source, const char* type, const char* key) {
    if (used(source, key) == nullptr)
      reader_.problem(concat("'", source.where, "' of type ", type, " needs '", key, "'"));
  }
  void judge_leftovers(const RopeSource& source, const std::string& type);

  ConfigReader& reader_;
  const FamilyRow& row_;
  const ModelDescription& model_;
  std::set<std::string> known_;
  std::string type_name_;
};

RopeType RopeReader::type_of(const RopeSource& source) {
  // Where a file has both words, `rope_type` is the newer one and holds in transformers too.
  const Json* word = used(source, "rope_type");
  const Json* old = used(source, "type");
  if (word == nullptr && old != nullptr && row_.rope == RopeLayout::kByLayerType) {
    reader_.problem(
        concat("'", source.where, "' has 'type' without 'rope_type', which transformers ",
               "4 and 5 read differently for ", row_.model_type, "; name it 'rope_type'"));
  }
  if (word == nullptr) word = old;
  type_name_ = word == nullptr ? "default" : word->is_string() ? word->get<std::string>() : "";
  static const std::map<std::string, RopeType> kTypes = {
      {"default", RopeType::kDefault}, {"linear", RopeType::kLinear},
      {"dynamic", RopeType::kDynamic}, {"llama3", RopeType::kLlama3},
      {"yarn", RopeType::kYarn},       {"longrope", RopeType::kLongrope}};
  // For text this is one rotary: the parts of a head that turn by an image's rows and columns turn
  // alike.
  if (row_.rotary_sections) {
    if (type_name_ == "mrope") type_name_ = "default";
    for (const char* key : {"mrope_section", "mrope_interleaved"}) known_.insert(key);
  }
  if (row_.yarn_is_longrope && (type_name_ == "su" || type_name_ == "yarn"))
    type_name_ = "longrope";
  const auto found = kTypes.find(type_name_);
  if (found != kTypes.end()) return found->second;
  reader_.problem(concat("'", source.where, "' of type '", type_name_,
                         "' is not implemented (default, linear, dynamic, llama3, yarn and "
                         "longrope are)"));
  type_name_.clear();
  return RopeType::kDefault;
}

void RopeReader::read_dims(const RopeSource& source, RotaryDescription& rope) {
  double share = 1;
  if (row_.partial_rotary) {
    share = reader_.number("partial_rotary_factor", row_.rotary_share);
    share = number(source, "partial_rotary_factor", share);
  } else if (const Json* given = used(source, "partial_rotary_factor");
             given != nullptr && *given != 1.0) {
    reader_.problem(concat("'", source.where, ".partial_rotary_factor': ", given->dump(),
                           " is not implemented for ", row_.model_type, " (1 is)"));
  }
  // The product is truncated as Python's int() does.
  rope.dims = static_cast<std::int64_t>(static_cast<double>(model_.attention.head_dim) * share);
  if (rope.dims < 2 || rope.dims % 2 != 0 || rope.dims > model_.attention.head_dim) {
    reader_.problem(concat("an even number of a head's ", model_.attention.head_dim,
                           " elements must be rotated; the configuration says ", rope.dims));
    rope.dims = 2;
  }
}

void RopeReader::read_original_positions(const RopeSource& source, RotaryDescription& rope) {
  constexpr const char* kKey = "original_max_position_embeddings";
  rope.original_positions = model_.max_positions;
  bool on_top = row_.original_positions > 0;
  if (row_.rope == RopeLayout::kOne) {  // the key on top wins, but is not looked at by layer type
    rope.original_positions =
        reader_.size(kKey, on_top ? row_.original_positions : model_.max_positions);
    on_top = on_top || reader_.present(kKey);
  }
  if (used(source, kKey) == nullptr) return;
  const std::int64_t inside = reader_.size(*source.object, source.where, kKey, 1);
  if (!on_top) rope.original_positions = inside;
}

void RopeReader::read_llama3(const RopeSource& source, RotaryDescription& rope) {
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"})
    needs(source, "llama3", key);
  rope.low_freq_factor = number(source, "low_freq_factor", 1);
  rope.high_freq_factor = number(source, "high_freq_factor", 4);
  if (rope.high_freq_factor <= rope.low_freq_factor)
    reader_.problem(
        concat("'", source.where, "': high_freq_factor must be larger than low_freq_factor"));
}

// A logarithm's magnitude (Peng et al. 2023, eq. 22).
double yarn_magnitude(double factor, double weight) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

void RopeReader::read_yarn(const RopeSource& source, RotaryDescription& rope) {
  rope.factor = number(
      source, "factor",
      static_cast<double>(model_.max_positions) / static_cast<double>(rope.original_positions));
  rope.beta_fast = number(source, "beta_fast", 32);
  rope.beta_slow = number(source, "beta_slow", 1);
  const Json* truncate = used(source, "truncate");
  // transformers looks for it beside the layer types where parameters are nested by them.
  if (truncate != nullptr && row_.rope == RopeLayout::kOne)
    rope.truncate = !truncate->is_boolean() || truncate->get<bool>();
  // A zero stands for "not given" there.
  const auto weight = [&](const char* key) {
    const Json* found = used(source, key);
    return found != nullptr && found->is_number() && found->get<double>() != 0
               ? number(source, key, 0)
               : 0.0;
  };
  const double weight_one = weight("mscale");
  const double weight_all = weight("mscale_all_dim");
  const double inferred =
      weight_one > 0 && weight_all > 0
          ? yarn_magnitude(rope.factor, weight_one) / yarn_magnitude(rope.factor, weight_all)
          : yarn_magnitude(rope.factor, 1);
  rope.magnitude = number(source, "attention_factor", inferred);
  if (row_.query_growth) {
    used(source, "llama_4_scaling_beta");
    known_.insert("max_position_embeddings");
  }
}

std::vector<double> RopeReader::read_factors(const RopeSource& source, const char* key,
                                             std::int64_t count) {
  needs(source, "longrope", key);
  const Json* found = used(source, key);
  if (found == nullptr) return std::vector<double>(static_cast<std::size_t>(count), 1.0);
  bool good = found->is_array() && static_cast<std::int64_t>(found->size()) == count;
  std::vector<double> factors;
  for (const Json& factor : *found) {
    good = good && factor.is_number() && std::isfinite(factor.get<double>()) &&
           factor.get<double>() > 0;
    if (good) factors.push_back(factor.get<double>());
  }
  if (good) return factors;
  reader_.problem(concat("'", source.where, ".", key, "' must be a list of ", count,
                         " positive numbers, half of the elements of a head that are rotated"));
  return std::vector<double>(static_cast<std::size_t>(count), 1.0);
}

void RopeReader::read_longrope(const RopeSource& source, RotaryDescription& rope) {
  rope.short_factors = read_factors(source, "short_factor", rope.dims / 2);
  rope.long_factors = read_factors(source, "long_factor", rope.dims / 2);
  const auto original = static_cast<double>(rope.original_positions);
  rope.factor = number(source, "factor", static_cast<double>(model_.max_positions) / original);
  const double inferred =
      rope.factor <= 1 ? 1 : std::sqrt(1 + std::log(rope.factor) / std::log(original));
  rope.magnitude = number(source, "attention_factor", inferred);
  // Older files of Phi-3 carry them; transformers does not read them.
  for (const char* ignored : {"short_mscale", "long_mscale"}) used(source, ignored);
}

// Members that stretch, shrink or mix positions in some type.
bool is_mathematical(const std::string& key) {
  static const std::set<std::string> keys = {"attention_factor",
                                             "beta_fast",
                                             "beta_slow",
                                             "factor",
                                             "high_freq_factor",
                                             "llama_4_scaling_beta",
                                             "long_factor",
                                             "low_freq_factor",
                                             "mrope_interleaved",
                                             "mrope_section",
                                             "mscale",
                                             "mscale_all_dim",
                                             "original_max_position_embeddings",
                                             "partial_rotary_factor",
                                             "short_factor",
                                             "truncate"};
  return keys.contains(key);
}

// transformers warns of every member that the type does not use, and goes on without it.
void RopeReader::judge_leftovers(const RopeSource& source, const std::string& type) {
  if (source.object == nullptr) return;
  for (const auto& [key, entry] : source.object->items()) {
    if (known_.contains(key) || entry.is_null()) continue;
    if (!is_mathematical(key)) {
      reader_.ignore(concat(source.where, ".", key));
      continue;
    }
    reader_.problem(concat("'", source.where, "': the key '", key,
                           "' is of another type than its own, ", type,
                           "; transformers ignores it: remove it for the same, or correct the "
                           "type"));
  }
}

RotaryDescription RopeReader::read(const RopeSource& source) {
  RotaryDescription rope;
  rope.interleaved = row_.interleaved_rotary;
  if (source.object != nullptr && !source.object->is_object()) {
    reader_.problem(concat("'", source.where, "' must be an object"));
    return rope;
  }
  known_.clear();
  rope.theta = number(source, "rope_theta", source.theta);
  rope.type = type_of(source);
  read_dims(source, rope);
  if (type_name_.empty()) return rope;
  if (rope.type != RopeType::kDefault && rope.type != RopeType::kLinear)
    read_original_positions(source, rope);
  // The key says nothing beside a scaling that does not go by positions, or where a scaling was
  // taken out.
  used(source, "original_max_position_embeddings");
  switch (rope.type) {
    case RopeType::kDefault:
      used(source, "factor");
      break;
    case RopeType::kLinear:
    case RopeType::kDynamic:
      needs(source, type_name_.c_str(), "factor");
      break;
    case RopeType::kLlama3:
      read_llama3(source, rope);
      break;
    case RopeType::kYarn:
      read_yarn(source, rope);
      break;
    case RopeType::kLongrope:
      read_longrope(source, rope);
      break;
  }
  if (rope.type == RopeType::kLinear || rope.type == RopeType::kDynamic ||
      rope.type == RopeType::kLlama3)
    rope.factor = number(source, "factor", 1);
  // Dynamic scaling goes by the model's own positions.
  if (rope.type == RopeType::kDynamic) rope.original_positions = model_.max_positions;
  judge_leftovers(source, type_name_);
  return rope;
}

// `rope_scaling` (old) and `rope_parameters` (new); an empty object says nothing. Where a file has
// both, transformers takes the old one.
RopeSource chosen_source(ConfigReader& reader, double theta) {
  const auto given = [&](const char* key) {
    const Json* found = reader.value(key);
    return found != nullptr && found->is_object() && found->empty() ? nullptr : found;
  };
  const Json* old_style = given("rope_scaling");
  const Json* new_style = given("rope_parameters");
  if (old_style != nullptr) return {old_style, "rope_scaling", theta};
  return {new_style, "rope_parameters", theta};
}

// What Ministral 3 means where its file says nothing.
const Json& ministral3_rope() {
  static const Json object = {
      {"rope_type", "yarn"}, {"rope_theta", 1e6}, {"factor", 16},
      {"beta_fast", 32},     {"beta_slow", 1},    {"original_max_position_embeddings", 16384},
      {"mscale_all_dim", 1}, {"mscale", 1},       {"llama_4_scaling_beta", 0.1}};
  return object;
}

void read_query_growth(ConfigReader& reader, const RopeSource& source, ModelDescription& model) {
  if (member(source.object, "llama_4_scaling_beta") == nullptr) return;
  model.attention.query_growth =
      reader.number(*source.object, source.where, "llama_4_scaling_beta", 0);
  model.attention.query_growth_positions = model.rotaries.front().original_positions;
  if (model.attention.query_growth_positions == 0) {
    reader.problem(concat("'", source.where, "' has 'llama_4_scaling_beta' but no ",
                          "'original_max_position_embeddings', in whose steps it grows"));
    model.attention.query_growth = 0;
  }
}

void read_one(ConfigReader& reader, const FamilyRow& row, ModelDescription& model) {
  const double theta = reader.number("rope_theta", row.rope_theta);
  RopeSource source = chosen_source(reader, theta);
  if (row.query_growth && source.object == nullptr) source.object = &ministral3_rope();
  if (is_by_layer_type(source.object)) {
    reader.problem(concat("'", source.where, "' is nested by layer type, which ", row.model_type,
                          " does not know"));
    return;
  }
  model.rotaries.push_back(RopeReader(reader, row, model).read(source));
  if (row.query_growth) read_query_growth(reader, source, model);
}

// Full layers take `rope_theta` and `rope_scaling`, sliding ones a theta of their own.
void read_by_layer_type(ConfigReader& reader, const FamilyRow& row, ModelDescription& model) {
  RopeSource full{nullptr, "rope_parameters", reader.number("rope_theta", row.rope_theta)};
  RopeSource sliding{nullptr, "rope_parameters", row.sliding_rope_theta};
  if (*row.sliding_theta_key != '\0')
    sliding.theta = reader.number(row.sliding_theta_key, row.sliding_rope_theta);
  const Json* nested = reader.value("rope_parameters");
  if (is_by_layer_type(nested)) {
    full.object = member(nested, kFull);
    sliding.object = member(nested, kSliding);
    full.where = concat("rope_parameters.", kFull);
    sliding.where = concat("rope_parameters.", kSliding);
  } else if (nested != nullptr && !(nested->is_object() && nested->empty())) {
    reader.problem(concat("'rope_parameters' of ", row.model_type,
                          " must be nested by layer type (", kFull, ", ", kSliding, ")"));
  }
  Json merged;
  if (const Json* old_style = reader.value("rope_scaling"); old_style != nullptr) {
    // The old key changes the full layers alone.
    merged = full.object != nullptr ? *full.object : Json::object();
    if (old_style->is_object()) merged.update(*old_style);
    full.object = old_style->is_object() ? &merged : old_style;
    full.where = "rope_scaling";
  }
  RopeReader ropes(reader, row, model);
  model.rotaries.push_back(ropes.read(full));
  model.rotaries.push_back(ropes.read(sliding));
}

void read_unrotated(ConfigReader& reader, ModelDescription& model) {
  const std::int64_t interval = reader.size("no_rope_layer_interval", 4);
  const Json* list = reader.value("no_rope_layers");
  const std::size_t count = model.blocks.size();
  if (list != nullptr &&
      (!list->is_array() || list->size() < count ||
       !std::all_of(list->begin(), list->end(), [](const Json& e) { return e == 0 || e == 1; }))) {
    return reader.problem(concat("'no_rope_layers' must be a list of ", count, " zeros and ones"));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const bool rotated =
        list != nullptr ? (*list)[i] == 1 : (static_cast<std::int64_t>(i) + 1) % interval != 0;
    if (!rotated) model.blocks[i].rotary = -1;
  }
}

}  // namespace

void read_rotaries(ConfigReader& reader, const FamilyRow& row, const std::vector<bool>& windowed,
                   ModelDescription& model) {
  if (row.rope == RopeLayout::kByLayerType) {
    read_by_layer_type(reader, row, model);
    for (std::size_t i = 0; i < windowed.size(); ++i) model.blocks[i].rotary = windowed[i] ? 1 : 0;
  } else {
    read_one(reader, row, model);
  }
  if (row.unrotated_layers) read_unrotated(reader, model);
}

}  // namespace corda::model
