// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/merge/merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cmath>
#include <optional>

#include "corda/adapter/adapter_reader.h"
#include "corda/adapter/check_fit.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/chat_template_file.h"
#include "corda/io/rewrite_checkpoint.h"
#include "corda/io/tensor.h"
#include "corda/linalg/device.h"

namespace corda::merge {

using core::concat;

namespace {

constexpr std::string_view kWeight = ".weight";

// Of a word that was checked.
std::optional<io::DType> stored_dtype(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "bf16") return io::DType::kBF16;
  if (name == "fp16") return io::DType::kF16;
  return io::DType::kF32;
}

}  // namespace

std::int64_t parse_size(const std::string& text) {
  struct Unit {
    const char* name;
    double bytes;
  };
  constexpr std::array<Unit, 8> kUnits = {{{"kib", 0x1p10},
                                           {"mib", 0x1p20},
                                           {"gib", 0x1p30},
                                           {"tib", 0x1p40},
                                           {"kb", 1e3},
                                           {"mb", 1e6},
                                           {"gb", 1e9},
                                           {"tb", 1e12}}};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  double factor = 1;
  std::string_view digits = lower;
  for (const auto& unit : kUnits) {
    if (!lower.ends_with(unit.name)) continue;
    factor = unit.bytes;
    digits.remove_suffix(std::string_view(unit.name).size());
    break;
  }
  const auto number = core::parse_double(core::trim(digits));
  if (!number || !std::isfinite(*number) || *number * factor < 1 || *number * factor > 1e18) {
    throw core::ConfigError(
        concat("'max_shard_size' must be a size such as 5GB or 500MB; it is '", text, "'"));
  }
  return static_cast<std::int64_t>(*number * factor);
}

core::SettingsList settings_of(MergeSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  list.add("adapter", s.adapter, "adapter directory, corda's or PEFT's")
      .path(core::PathKind::kModel)
      .required();
  list.add("out", s.out, "model directory to write").path().required();
  list.add("dtype", s.dtype, "dtype of the floating-point weights; auto: as in the base",
           {"auto", "bf16", "fp16", "fp32"});
  list.add("max_shard_size", s.max_shard_size,
           "largest shard, such as 5GB; empty: the shards of the base");
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

MergeResult merge(const MergeSettings& settings, core::Reporter& reporter,
                  const std::function<void(const std::filesystem::path& merged)>& check) {
  const auto begin = std::chrono::steady_clock::now();
  MergeSettings resolved = settings;
  settings_of(resolved).check_values();
  linalg::set_threads(settings.threads);
  io::RewriteOptions options{
      .dtype = stored_dtype(settings.dtype),
      .max_shard_bytes = settings.max_shard_size.empty() ? 0 : parse_size(settings.max_shard_size)};
  const io::Checkpoint base = io::open_model(settings.model, reporter);
  const adapter::AdapterReader adapter(settings.adapter);
  adapter::check_fit(adapter, base, reporter);
  // A head that is stored with other values than the embedding, and now changed, must not be taken
  // for tied by a program that believes config.json.
  options.untie_head = adapter.contains("lm_head");
  core::AtomicDirectory directory(settings.out);
  MergeResult result;
  const auto content = [&](const std::string& name) -> at::Tensor {
    core::throw_if_stopped(reporter, "merging");
    const std::string known = io::Checkpoint::canonical_name(name);
    const std::string module =
        known.ends_with(kWeight) ? known.substr(0, known.size() - kWeight.size()) : "";
    if (!adapter.contains(module)) return {};
    const at::Tensor weight = io::view_tensor(base, name).to(at::kFloat);
    const adapter::LayerAdapter layer = adapter.layer(module);
    // Rounded to the stored type by rewrite_checkpoint.
    const at::Tensor merged =
        adapter::merged_weight(weight, layer, adapter.header().scale_of(layer));
    if (!merged.isfinite().all().item<bool>()) {
      throw core::NumericalError(
          concat("the merged weight of '", module, "' is not finite; did training diverge?"));
    }
    ++result.merged;
    reporter.advance(1, module);
    return merged;
  };
  reporter.begin("merge", static_cast<std::int64_t>(adapter.modules().size()), "layer");
  const io::RewriteResult written =
      io::rewrite_checkpoint(base, directory.staging(), content, options);
  reporter.end();
  if (!written.left_behind.empty()) {
    reporter.info(concat("not copied, since the merged weights are not in it: ",
                         core::join(written.left_behind, ", ")));
  }
  if (!adapter.header().chat_template.empty()) {
    io::write_chat_template(directory.staging(), adapter.header().chat_template);
    reporter.info(concat("the template '", adapter.header().template_name,
                         "' of the training is now the model's chat template"));
  }
  core::write_settings(directory.staging(), settings_of(resolved));
  if (check) check(directory.staging());
  directory.commit();
  result.tensors = written.tensors;
  result.shards = written.shards;
  result.bytes = written.bytes;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace corda::merge
