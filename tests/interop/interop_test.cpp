// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// corda's files in PEFT and transformers, and PEFT's files in corda. Skipped where CORDA_PYTHON,
// set at configure time, is no Python with both.
#include "interop/interop.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "corda/adapter/adapter.h"
#include "corda/adapter/initialise.h"
#include "corda/io/tensor.h"
#include "corda/linalg/spectrum.h"
#include "corda/merge/merge.h"
#include "corda/model/model.h"
#include "corda/quant/write_copy.h"
#include "corda/quantize/quantize.h"
#include "core/json.h"
#include "support/family_goldens.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using testing::Interop;
using testing::kBase;
using testing::kSource;
using testing::noise;
using testing::ProcessResult;
using testing::python;

bool is_projection(const std::string& name) { return name.ends_with("_proj.weight"); }

// An adapter of every layer of the blocks: CorDA's in the three modes, PiSSA, LoRA or DoRA. It is
// as it starts, or as if it had been trained a little; with `own_ranks` down_proj has another rank
// and alpha than the others.
adapter::Adapter make_adapter(const std::string& kind, bool trained, bool own_ranks = false) {
  const io::Checkpoint base(kBase);
  const bool corda = kind == "kpa" || kind == "ipa" || kind == "dual";
  adapter::Adapter result;
  result.method = corda ? "corda" : kind;
  result.mode = corda ? kind : "";
  result.train_a = kind != "dual";
  result.rank = 3;
  result.alpha = 6;
  result.base_fingerprint = base.fingerprint();
  result.base_name = kBase.string();
  std::uint64_t seed = 0;
  for (const auto& name : base.names()) {
    if (!is_projection(name)) continue;
    const std::string module = name.substr(0, name.size() - 7);
    const at::Tensor w = io::view_tensor(base, name).to(at::kFloat);
    const auto covariance = [&] {
      const at::Tensor x = noise(at::empty({2 * w.size(1), w.size(1)}), ++seed);
      return at::mm(x.t(), x);
    };
    auto& layer = result.layers[module];
    if (kind == "dual") {
      const at::Tensor knowledge = linalg::damp(covariance(), 0.01);
      layer = adapter::initialise_dual(
          linalg::generalised_top(covariance(), knowledge, result.rank), w.size(0));
    } else if (corda) {
      const auto which = kind == "kpa" ? linalg::Which::kSmallest : linalg::Which::kLargest;
      const auto u =
          linalg::left_singular_subspace(w, linalg::damp(covariance(), 0.01), result.rank, which);
      layer = adapter::initialise_from_subspace(w, u, result.scale());
    } else if (kind == "pissa") {
      const bool own = own_ranks && module.ends_with("down_proj");
      layer = adapter::initialise_pissa(w, own ? 2 : result.rank, own ? 3.5 : result.scale());
      if (own) layer.alpha = 7;
    } else {
      const bool own = own_ranks && module.ends_with("down_proj");
      layer = adapter::initialise_lora(w.size(0), w.size(1), own ? 5 : result.rank, 1, module);
      if (own) layer.alpha = 4;
    }
    if (kind == "dora")
      layer.magnitude =
          adapter::dora_magnitude(w) * (1 + 0.1 * noise(at::empty({w.size(0)}), ++seed));
    if (!trained) continue;
    if (result.train_a) layer.a = layer.a + 0.02 * noise(layer.a, ++seed);
    layer.b = layer.b + 0.02 * noise(layer.b, ++seed);
  }
  return result;
}

TEST_F(Interop, PeftLoadsOurAdaptersAndTransformersOurMergedModels) {
  for (const std::string form : {"kpa", "ipa", "dual", "pissa", "lora", "dora", "pissa own-ranks",
                                 "lora own-ranks", "dora own-ranks", "lora last-block"}) {
    SCOPED_TRACE(form);
    const std::string kind = form.substr(0, form.find(' '));
    const fs::path directory = scratch_.path() / (form + "-adapter");
    fs::create_directories(directory);
    const bool own_ranks = form.ends_with("own-ranks");
    adapter::Adapter written = make_adapter(kind, /*trained=*/true, own_ranks);
    if (form.ends_with("last-block")) {
      std::erase_if(written.layers,
                    [](const auto& entry) { return entry.first.find(".0.") != std::string::npos; });
    }
    adapter::write_adapter(directory, written);
    const fs::path merged = merge_into(directory, form + "-merged");
    const auto peft = in_peft(directory, merged, "1e-4");
    EXPECT_EQ(peft.exit_code, 0) << peft.out << peft.err;
    const auto transformers = python("transformers_loads.py", {"--merged", merged.string()});
    EXPECT_EQ(transformers.exit_code, 0) << transformers.out << transformers.err;
  }
}

// One model of every family: an adapter of all its layers, merged here, in PEFT and transformers.
TEST_F(Interop, PeftLoadsOurAdaptersOfEveryFamily) {
  std::map<std::string, std::string> one_of_each;
  for (const std::string& name : testing::family_goldens("same_as", false)) {
    const core::Json config =
        core::read_json(kSource / "tests/golden/families" / name / "config.json");
    one_of_each.emplace(config.at("model_type").get<std::string>(), name);
  }
  EXPECT_EQ(one_of_each.size(), 18U);
  core::Json list = core::Json::array();
  std::vector<std::unique_ptr<testing::FamilyGolden>> goldens;  // which own the bases
  for (const auto& [family, name] : one_of_each) {
    goldens.push_back(std::make_unique<testing::FamilyGolden>(name));
    const fs::path base = goldens.back()->directory();
    const model::Model model = goldens.back()->load();
    adapter::Adapter made;
    made.method = "lora";
    made.rank = 3;
    made.alpha = 6;
    made.base_fingerprint = io::Checkpoint(base).fingerprint();
    made.base_name = base.string();
    std::uint64_t seed = 0;
    for (const model::Linear* linear : model.linear_layers()) {
      auto& layer = made.layers[linear->name];
      layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), made.rank, 1,
                                       linear->name);
      layer.b = 0.05 * noise(layer.b, ++seed);
    }
    const fs::path adapter = scratch_.path() / (family + "-adapter");
    fs::create_directories(adapter);
    adapter::write_adapter(adapter, made);
    const fs::path merged = scratch_.path() / (family + "-merged");
    core::Reporter quiet;
    merge::merge({.model = base.string(),
                  .adapter = adapter.string(),
                  .out = merged.string(),
                  .dtype = "auto",
                  .max_shard_size = ""},
                 quiet);
    list.push_back(
        {{"base", base.string()}, {"adapter", adapter.string()}, {"merged", merged.string()}});
  }
  const fs::path file = scratch_.path() / "list.json";
  core::write_json(file, list);
  const auto result = python("peft_loads_adapter.py", {"--list", file.string(), "--ids",
                                                       "[[1, 5, 9, 2, 7, 7, 3], [4, 4, 8]]"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

// The difference must be below the tolerance, so it must be zero.
TEST_F(Interop, AtTheStartPeftGivesTheBasesLogitsExactly) {
  for (const std::string kind : {"kpa", "ipa", "dual", "pissa", "lora"}) {
    SCOPED_TRACE(kind);
    const fs::path directory = scratch_.path() / (kind + "-start");
    fs::create_directories(directory);
    adapter::write_adapter(directory, make_adapter(kind, /*trained=*/false));
    const auto peft = in_peft(directory, kBase, "1e-300");
    EXPECT_EQ(peft.exit_code, 0) << peft.out << peft.err;
  }
}

TEST_F(Interop, WeMergePeftsAdaptersAsPeftDoes) {
  const auto written = python("peft_writes_adapter.py",
                              {"--base", kBase.string(), "--out", scratch_.path().string()});
  ASSERT_EQ(written.exit_code, 0) << written.err;
  const io::Checkpoint base(kBase);
  for (const std::string kind : {"lora", "rslora", "dora", "patterns", "rslora-patterns",
                                 "dora-patterns", "one-block", "excluded", "pattern", "head"}) {
    SCOPED_TRACE(kind);
    const io::Checkpoint ours(merge_into(scratch_.path() / kind / "adapter", kind + "-ours"));
    const io::Checkpoint theirs(scratch_.path() / kind / "merged");
    std::int64_t changed = 0;
    for (const auto& name : theirs.names()) {
      const at::Tensor want = io::view_tensor(theirs, name).to(at::kFloat);
      const at::Tensor got = io::view_tensor(ours, name).to(at::kFloat);
      // Both add in fp32, in another order.
      EXPECT_LT((got - want).abs().max().item<float>(),
                2e-6f * std::max(1.0f, want.abs().max().item<float>()))
          << name;
      const at::Tensor before = io::view_tensor(base, name);
      changed += at::equal(want, before.to(at::kFloat)) ? 0 : 1;
    }
    EXPECT_EQ(changed,
              static_cast<std::int64_t>(
                  adapter::read_adapter(scratch_.path() / kind / "adapter").layers.size()));
    EXPECT_GT(changed, 0);
  }
}

// What transformers makes of a quantised copy of a model with this hidden size, beside corda's.
ProcessResult in_transformers(const fs::path& scratch, std::int64_t hidden, at::ScalarType type,
                              const std::string& to, const std::string& tolerance) {
  core::Reporter quiet;
  const fs::path base = scratch / "base";
  testing::write_tiny_model(
      base,
      {.hidden = hidden, .intermediate = 2 * hidden, .heads = 4, .kv_heads = 4, .dtype = type});
  const fs::path quantised = scratch / to;
  quantize::quantize({.model = base.string(), .out = quantised.string(), .to = to}, quiet);
  const fs::path dense = scratch / "dense";
  fs::create_directory(dense);
  const quant::ModelWeights weights{io::Checkpoint(quantised)};
  quant::write_dense(weights, dense, [](const std::string&) { return at::Tensor(); });
  return testing::python("quantised_loads.py",
                         {"--quantised", quantised.string(), "--dense", dense.string(),
                          "--tolerance", tolerance, "--ids", "[[1, 5, 9, 2, 7, 7, 3], [4, 4, 8]]"});
}

// The logits of what transformers makes of float8 were off by 1.2e-2 here, as by a rounding of
// weights to bf16; scales in other places would be off by the whole.
TEST_F(Interop, TransformersLoadsFloat8InTilesAsTheValuesThatItMeans) {
  const ProcessResult result = in_transformers(scratch_.path(), 128, at::kFloat, "fp8", "3e-2");
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

// Sides of 64 are half a tile.
TEST_F(Interop, TransformersLoadsFloat8WithAScaleARowAsTheValuesThatItMeans) {
  const ProcessResult result = in_transformers(scratch_.path(), 64, at::kBFloat16, "fp8", "1e-5");
  if (result.exit_code == 77) GTEST_SKIP() << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

// bitsandbytes multiplies on a CPU where widths are multiples of 32.
TEST_F(Interop, TransformersLoadsNf4AsTheValuesThatItMeans) {
  const ProcessResult result = in_transformers(scratch_.path(), 64, at::kFloat, "nf4", "3e-2");
  if (result.exit_code == 77) GTEST_SKIP() << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

}  // namespace
}  // namespace corda
