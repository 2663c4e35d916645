// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/config_geometry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::model {

namespace fs = std::filesystem;

namespace {

// As the script writes it: six digits, of a whole number ten.
std::string figure(double value) {
  std::array<char, 32> text{};
  if (std::floor(value) == value) {
    std::snprintf(text.data(), text.size(), "%.10g", value);
  } else {
    std::snprintf(text.data(), text.size(), "%.6g", value);
  }
  return text.data();
}

std::string figure(std::int64_t value) { return std::to_string(value); }
std::string figure(bool value) { return value ? "1" : "0"; }

std::string name_of(RopeType type) {
  switch (type) {
    case RopeType::kDefault:
      return "default";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kYarn:
      return "yarn";
    case RopeType::kLongrope:
      return "longrope";
  }
  return "?";
}

std::string name_of(kernels::Activation activation) {
  switch (activation) {
    case kernels::Activation::kSilu:
      return "silu";
    case kernels::Activation::kGelu:
      return "gelu";
    case kernels::Activation::kGeluTanh:
      return "gelu_pytorch_tanh";
  }
  return "?";
}

// Numbers in all tensors of the model, each once.
std::int64_t parameters_of(const ModelDescription& model) {
  std::int64_t block = 0;
  for (const SiteDescription* site : model.sites()) {
    for (const LayerDescription& layer : site->layers)
      block += layer.out_features * (site->in_features + (layer.bias ? 1 : 0));
  }
  for (const std::string& norm : {model.norms.before_attention, model.norms.after_attention,
                                  model.norms.before_feed_forward, model.norms.after_feed_forward})
    block += norm.empty() ? 0 : model.hidden_size;
  const AttentionDescription& attention = model.attention;
  if (attention.head_norm == HeadNorm::kEachHead) block += 2 * attention.head_dim;
  if (attention.head_norm == HeadNorm::kProjection)
    block += attention.query_features() + attention.key_features();
  const std::int64_t tables = model.tied ? 1 : 2;  // embedding and head
  return tables * model.vocab_size * model.hidden_size + model.num_layers() * block +
         model.hidden_size;
}

}  // namespace

Geometry geometry_of(const ModelDescription& model) {
  const AttentionDescription& attention = model.attention;
  const RotaryDescription& rope = model.rotaries.front();     // of full layers
  const RotaryDescription& local = model.rotaries.back();     // of windowed layers
  const bool is_longrope = rope.type == RopeType::kLongrope;  // its factor acts by the magnitude
  const bool is_stretched =  // from a number of positions of its own
      is_longrope || rope.type == RopeType::kLlama3 || rope.type == RopeType::kYarn;
  std::int64_t window = 0;
  std::int64_t windowed = 0;
  std::int64_t unrotated = 0;
  std::string pattern;
  for (const BlockDescription& block : model.blocks) {
    window = std::max(window, block.window);
    windowed += block.window > 0 ? 1 : 0;
    unrotated += block.rotary < 0 ? 1 : 0;
    const char letter = block.window > 0 ? 'S' : 'F';
    pattern += block.rotary < 0 ? static_cast<char>(letter - 'A' + 'a') : letter;
  }
  return {{"family", model.family},
          {"layers", figure(model.num_layers())},
          {"hidden", figure(model.hidden_size)},
          {"intermediate", figure(model.feed_forward.intermediate)},
          {"heads", figure(attention.heads)},
          {"kv_heads", figure(attention.kv_heads)},
          {"head_dim", figure(attention.head_dim)},
          {"vocab", figure(model.vocab_size)},
          {"tied", figure(model.tied)},
          {"activation", name_of(model.feed_forward.activation)},
          {"rope_type", name_of(rope.type)},
          {"rope_theta", figure(rope.theta)},
          {"rope_factor", figure(is_longrope ? 1.0 : rope.factor)},
          {"rope_magnitude", figure(rope.magnitude)},
          {"rope_positions", figure(is_stretched ? rope.original_positions : std::int64_t{0})},
          {"query_growth", figure(attention.query_growth)},
          {"rotary_dims", figure(rope.dims)},
          {"local_theta", figure(local.theta)},
          {"window", figure(window)},
          {"windowed_layers", figure(windowed)},
          {"unrotated_layers", figure(unrotated)},
          {"pattern", pattern},
          {"softmax_scale", figure(attention.scale)},
          {"qkv_bias", figure(attention.input.layers.front().bias)},
          {"o_bias", figure(attention.output.layers.front().bias)},
          {"mlp_bias", figure(model.feed_forward.output.layers.front().bias)},
          {"attention_cap", figure(attention.soft_cap)},
          {"logit_cap", figure(model.logit_soft_cap)},
          {"embedding_scale", figure(model.embedding_scale)},
          {"residual_scale", figure(model.residual_scale)},
          {"logit_divisor", figure(1 / model.logit_scale)},
          {"norm_eps", figure(model.norm_eps)},
          {"parameters", figure(parameters_of(model))}};
}

std::vector<ConfigRow> read_config_table(const std::string& name) {
  const fs::path path = fs::path(CORDA_SOURCE_DIR) / "tests" / "model" / name;
  std::vector<ConfigRow> rows;
  std::vector<std::string> columns;
  for (const auto& line : core::split(core::read_file(path), '\n')) {
    const std::vector<std::string> cells = core::split(line, '\t');
    if (columns.empty()) {
      columns = cells;
      continue;
    }
    if (cells.size() != columns.size()) continue;  // the end of the file
    ConfigRow row{cells[0], cells[1] == "read", cells[2], {}};
    for (std::size_t i = 3; row.is_read && i < cells.size(); ++i)
      row.geometry[columns[i]] = cells[i];
    rows.push_back(std::move(row));
  }
  return rows;
}

void expect_geometry(const Geometry& read, const Geometry& expected) {
  EXPECT_EQ(read.size(), expected.size());
  for (const auto& [column, value] : expected) {
    const auto found = read.find(column);
    EXPECT_EQ(found == read.end() ? "nothing" : found->second, value) << column;
  }
}

}  // namespace corda::model
