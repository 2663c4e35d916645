// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/check_fit.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "adapter/file_layout.h"
#include "adapter/module_selection.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
#include "core/json.h"

namespace corda::adapter {

using core::concat;
using core::FormatError;

namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kHead = "lm_head";

std::string head_name() { return std::string(kHeadWeight); }
std::string embedding_name() { return std::string(kEmbeddingWeight); }

bool says_tied(const quant::ModelWeights& base) {
  const fs::path path = base.directory() / "config.json";
  if (!fs::exists(path)) return false;
  const core::Json config = core::read_json(path);
  const auto tied = config.find("tie_word_embeddings");
  return tied != config.end() && tied->is_boolean() && tied->get<bool>();
}

bool equal_tensors(const at::Tensor& a, const at::Tensor& b) {
  // A copy may have been rounded to another type.
  return a.sizes() == b.sizes() && at::equal(a, b.to(a.scalar_type()));
}

void check_head(const AdapterReader& adapter, const quant::ModelWeights& base) {
  if (!adapter.contains(std::string(kHead)) || !has_tied_head(base)) return;
  throw FormatError(
      concat("the adapter '", adapter.file().directory().string(), "' changes 'lm_head', but '",
             base.directory().string(),
             "' has its head tied to the embedding (tie_word_embeddings): the change would be lost "
             "or move the embedding too; save the base with an lm_head.weight of its own and "
             "tie_word_embeddings false"));
}

void check_modules(const AdapterReader& adapter, const quant::ModelWeights& base) {
  const std::string directory = adapter.file().directory().string();
  std::vector<std::string> absent;
  for (const auto& module : adapter.modules()) {
    if (!base.contains(module + ".weight")) absent.push_back(module);
  }
  if (!absent.empty()) {
    throw FormatError(concat("the adapter '", directory, "' changes ", core::listed_names(absent),
                             ", but '", base.directory().string(),
                             "' has no such weight; is this its base model?"));
  }
  for (const auto& module : adapter.modules()) {
    const io::TensorInfo& info = base.info(module + ".weight");
    const auto expected = adapter.weight_shape(module);
    if (info.shape != std::vector<std::int64_t>(expected.begin(), expected.end())) {
      throw core::ShapeError(concat("the adapter '", directory, "' changes a '", module, "' of [",
                                    expected[0], ", ", expected[1], "], the base has ",
                                    io::shape_string(info.shape)));
    }
    if (!is_floating(info.dtype)) {
      throw FormatError(concat("'", module, "' is ", io::to_string(info.dtype), " in '",
                               base.directory().string(),
                               "', codes without what they mean; give the base in 16 bits"));
    }
  }
}

// PEFT puts such a weight in the place of the base's.
void check_base_weights(const AdapterReader& adapter, const quant::ModelWeights& base) {
  for (const auto& [name, stored] : adapter.base_weights()) {
    const bool is_embedding = name == kHeadWeight && !base.contains(name);  // tied
    const std::string own = is_embedding ? embedding_name() : name;
    const bool same = base.contains(own) &&
                      equal_tensors(io::view_tensor(adapter.file(), stored), base.view(own));
    if (base.contains(own)) base.forget(own);
    adapter.file().forget(stored);
    if (same) continue;
    throw FormatError(concat(
        "the adapter '", adapter.file().directory().string(), "' holds '", stored,
        "', which is not the '", name, "' of '", base.directory().string(),
        "': PEFT would replace the base's weight by it, which corda does not do; give the base "
        "that it was trained on, or save the adapter with save_embedding_layers=False"));
  }
}

// Whether the folder's name, or that of a cache of the hub, is the name's.
bool may_be_called(const fs::path& directory, std::string name) {
  while (name.ends_with('/')) name.pop_back();
  const std::string last = core::to_lower_ascii(name.substr(name.find_last_of('/') + 1));
  std::string cached = "models--" + core::to_lower_ascii(name);
  for (std::size_t at = cached.find('/'); at != std::string::npos; at = cached.find('/'))
    cached.replace(at, 1, "--");
  const fs::path whole = fs::weakly_canonical(directory);
  return std::any_of(whole.begin(), whole.end(), [&](const fs::path& part) {
    const std::string text = core::to_lower_ascii(part.string());
    return text == last || text == cached;
  });
}

void warn_of_another_base(const AdapterReader& adapter, const quant::ModelWeights& base,
                          core::Reporter& reporter) {
  const std::string& name = adapter.header().base_name;
  if (!adapter.header().base_fingerprint.empty() || name.empty() ||
      may_be_called(base.directory(), name))
    return;
  reporter.warn(concat("the adapter '", adapter.file().directory().string(), "' was made for '",
                       name, "' (base_model_name_or_path); whether '", base.directory().string(),
                       "' is the same model cannot be told"));
}

void warn_of_missing(const AdapterReader& adapter, const quant::ModelWeights& base,
                     core::Reporter& reporter) {
  std::vector<std::string> layers;
  for (const auto& name : base.names()) {
    if (!name.ends_with(kWeight) || base.info(name).shape.size() != 2) continue;
    const std::string known = io::Checkpoint::canonical_name(name);
    layers.push_back(known.substr(0, known.size() - kWeight.size()));
  }
  if (!base.contains(head_name())) layers.emplace_back(kHead);  // the embedding is its weight
  const auto missing = adapter.missing(layers);
  if (missing.empty()) return;
  reporter.warn(concat("the adapter '", adapter.file().directory().string(),
                       "' has no tensors for ", missing.size(),
                       " layers that its adapter_config.json names, ", core::listed_names(missing),
                       "; they stay as in the base. Is the file whole?"));
}

}  // namespace

bool has_tied_head(const quant::ModelWeights& base) {
  if (!base.contains(head_name())) return base.contains(embedding_name());
  return says_tied(base) && base.contains(embedding_name()) &&
         equal_tensors(base.view(head_name()), base.view(embedding_name()));
}

std::int64_t count_blocks(const quant::ModelWeights& base) {
  std::int64_t count = 0;
  for (const auto& name : base.names()) count = std::max(count, block_of(name).value_or(-1) + 1);
  return count;
}

void check_fit(const AdapterReader& adapter, const quant::ModelWeights& base,
               core::Reporter& reporter) {
  if (!adapter.header().base_fingerprint.empty())
    check_base(adapter.header(), base.fingerprint(), base.directory().string());
  check_head(adapter, base);
  check_modules(adapter, base);
  check_base_weights(adapter, base);
  warn_of_another_base(adapter, base, reporter);
  warn_of_missing(adapter, base, reporter);
}

void check_held(const Adapter& adapter, const std::string& held, const std::string& advice) {
  if (!adapter.corrects_base || held == adapter.base_format) return;
  throw core::ConfigError(concat("the adapter makes good what the base loses in ",
                                 adapter.base_format, ", and over any other it adds an error; ",
                                 advice, adapter.base_format));
}

Adapter read_adapter_for(const fs::path& directory, const quant::ModelWeights& base,
                         core::Reporter& reporter) {
  const AdapterReader reader(directory);
  check_fit(reader, base, reporter);
  Adapter adapter = reader.header();
  for (const auto& module : reader.modules()) adapter.layers[module] = reader.layer(module);
  return adapter;
}

}  // namespace corda::adapter
