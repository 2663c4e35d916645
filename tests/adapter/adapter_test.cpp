// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/adapter.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <initializer_list>

#include "adapter/module_selection.h"
#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::adapter {
namespace {

using ::corda::testing::error_of;
using ::corda::testing::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kQ = "model.layers.0.self_attn.q_proj";
const std::string kDown = "model.layers.0.mlp.down_proj";

at::Tensor random(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({rows, columns});
}

Adapter corda_adapter(const at::Tensor& w) {
  Adapter adapter;
  adapter.method = "corda";
  adapter.mode = "kpa";
  adapter.rank = 3;
  adapter.alpha = 6;
  adapter.base_fingerprint = "sha256-sampled:00";
  adapter.base_name = "base \"quoted\"";
  adapter.covariance_fingerprints = {"c1", "c2"};
  const at::Tensor c = linalg::damp(at::mm(random(7, 40, 2), random(7, 40, 2).t()), 0.01);
  const auto u = linalg::left_singular_subspace(w, c, adapter.rank, linalg::Which::kSmallest);
  adapter.layers[kQ] = initialise_from_subspace(w, u, adapter.scale());
  adapter.reports[kQ] = {
      .rank = 3, .energy = 0.5, .total_energy = 2.25, .damping = 0.01, .tokens = 1 << 20};
  return adapter;
}

void move_factors(LayerAdapter& layer, double relative) {
  layer.a = layer.a + relative * layer.a.abs().mean() * random(layer.a.size(0), layer.a.size(1), 5);
  layer.b = layer.b + relative * layer.b.abs().mean() * random(layer.b.size(0), layer.b.size(1), 6);
}

at::Tensor exact_update(const LayerAdapter& layer, double scale) {
  const auto f64 = [](const at::Tensor& t) { return t.to(at::kDouble); };
  return scale * (at::mm(f64(layer.b), f64(layer.a)) - at::mm(f64(layer.b0), f64(layer.a0)));
}

double relative_error(const at::Tensor& value, const at::Tensor& exact) {
  return (at::linalg_norm(value.to(at::kDouble) - exact) / at::linalg_norm(exact)).item<double>();
}

TEST(Adapter, StartOfCordaIsTheProjectorOfTheWeight) {
  const at::Tensor w = random(9, 7, 1);
  const Adapter adapter = corda_adapter(w);
  const LayerAdapter& layer = adapter.layers.at(kQ);
  const at::Tensor c = linalg::damp(at::mm(random(7, 40, 2), random(7, 40, 2).t()), 0.01);
  const auto u = linalg::left_singular_subspace(w, c, 3, linalg::Which::kSmallest);
  const at::Tensor projector = at::mm(u.vectors, at::mm(u.vectors.t(), w.to(at::kDouble)));
  EXPECT_LT(relative_error(adapter.scale() * at::mm(layer.b0, layer.a0), projector),
            1e-6);  // fp32 factors
  EXPECT_EQ(update_of(layer, adapter.scale()).abs().max().item<float>(), 0.0f);
}

TEST(Adapter, ComponentWithoutWeightGivesZeroRowsNotNaN) {
  at::Tensor w = random(6, 5, 3);
  w[1].zero_();
  w[4].zero_();
  w[5].zero_();  // rank 3 of min(6, 5)
  const auto u = linalg::left_singular_subspace(w, at::eye(5), 3, linalg::Which::kSmallest);
  EXPECT_EQ(vanishing_components(u, 6, 5), 2);
  const LayerAdapter layer = initialise_from_subspace(w, u, 1.0);
  EXPECT_TRUE(layer.a0.isfinite().all().item<bool>());
  EXPECT_EQ(layer.a0.narrow(0, 0, 2).abs().max().item<float>(), 0.0f);
  EXPECT_EQ(layer.b0.narrow(1, 0, 2).abs().max().item<float>(), 0.0f);
  EXPECT_GT(layer.a0[2].abs().max().item<float>(), 0.0f);
}

TEST(Adapter, PissaOfALowRankWeightReproducesIt) {
  const at::Tensor w = at::mm(random(6, 2, 1), random(2, 8, 2));
  const LayerAdapter layer = initialise_pissa(w, 2, 0.5);
  EXPECT_LT(relative_error(0.5 * at::mm(layer.b0, layer.a0), w.to(at::kDouble)), 1e-6);
  // A0 and B0 share the singular values evenly: the rows of A0 and the columns of B0 have equal
  // norms.
  EXPECT_TRUE(at::allclose(layer.a0.norm(2, 1), layer.b0.norm(2, 0), 1e-5));
}

TEST(Adapter, LoraStartIsBoundedSeededAndIndependentOfOtherLayers) {
  const LayerAdapter layer = initialise_lora(5, 16, 4, 42, kQ);
  EXPECT_LE(layer.a.abs().max().item<float>(), 0.25f);
  EXPECT_GT(layer.a.abs().max().item<float>(), 0.2f);
  EXPECT_EQ(layer.b.abs().max().item<float>(), 0.0f);
  EXPECT_FALSE(layer.subtracts_start());
  EXPECT_TRUE(at::equal(layer.a, initialise_lora(5, 16, 4, 42, kQ).a));
  EXPECT_FALSE(at::equal(layer.a, initialise_lora(5, 16, 4, 43, kQ).a));
  EXPECT_FALSE(at::equal(layer.a, initialise_lora(5, 16, 4, 42, kDown).a));
}

TEST(Adapter, DualRowsHaveKaimingNormAndNothingIsSubtracted) {
  const at::Tensor task = at::diag(at::tensor({1.0, 8.0, 3.0}));
  const LayerAdapter layer = initialise_dual(linalg::generalised_top(task, at::eye(3), 2), 5);
  const float k = 0.57735027f;  // 1 / sqrt(3)
  EXPECT_TRUE(at::allclose(layer.a, at::tensor({0.0f, k, 0.0f, 0.0f, 0.0f, k}).reshape({2, 3}),
                           1e-6, 1e-7));
  EXPECT_EQ(layer.b.sizes(), (at::IntArrayRef{5, 2}));
  EXPECT_EQ(layer.b.abs().max().item<float>(), 0.0f);
  EXPECT_FALSE(layer.subtracts_start());
}

TEST(AdapterFiles, ExportIsExactlyZeroAtTheStart) {
  const TemporaryDirectory scratch;
  write_adapter(scratch.path(), corda_adapter(random(9, 7, 1)));
  const io::SafetensorsFile file(scratch.path() / "adapter_model.safetensors");
  EXPECT_EQ(file.tensors().size(), 2u);
  const at::Tensor a = io::view_tensor(file, "base_model.model." + kQ + ".lora_A.weight");
  const at::Tensor b = io::view_tensor(file, "base_model.model." + kQ + ".lora_B.weight");
  EXPECT_EQ(a.sizes(), (at::IntArrayRef{6, 7}));
  EXPECT_EQ(b.sizes(), (at::IntArrayRef{9, 6}));
  EXPECT_EQ(at::mm(b, a).abs().max().item<float>(), 0.0f);
  const core::Json config = core::read_json(scratch.path() / "adapter_config.json");
  EXPECT_EQ(config["r"], 6);
  EXPECT_EQ(config["lora_alpha"], 12);
  EXPECT_EQ(config["target_modules"], core::Json::array({"q_proj"}));
}

TEST(AdapterFiles, AlphaIsWrittenAsAWholeNumberWhereItIsOneOfInt64) {
  Adapter adapter;
  adapter.method = "lora";
  adapter.rank = 2;
  adapter.layers[kQ] = initialise_lora(2, 3, 2, 0, kQ);
  for (const auto& [alpha, text] :
       {std::pair{12.0, "12"}, std::pair{0.5, "0.5"}, std::pair{1e300, "1e+300"}}) {
    adapter.alpha = alpha;
    const TemporaryDirectory scratch;
    write_adapter(scratch.path(), adapter);
    const core::Json config = core::read_json(scratch.path() / "adapter_config.json");
    EXPECT_EQ(config["lora_alpha"].dump(), text);
    EXPECT_EQ(read_adapter(scratch.path()).alpha, alpha);
  }
}

TEST(AdapterFiles, RoundTripKeepsTheUpdateToFp32Rounding) {
  const at::Tensor w = random(9, 7, 1);
  // The smaller the movement, the larger the share of rounding in B itself (eps / movement).
  for (const double movement : {1.0, 0.1, 1e-3}) {
    SCOPED_TRACE(movement);
    const TemporaryDirectory scratch;
    Adapter written = corda_adapter(w);
    move_factors(written.layers[kQ], movement);
    write_adapter(scratch.path(), written);
    const Adapter read = read_adapter(scratch.path());
    const at::Tensor exact = exact_update(written.layers[kQ], written.scale());
    EXPECT_LT(relative_error(update_of(written.layers[kQ], written.scale()), exact), 1e-6);
    EXPECT_LT(relative_error(update_of(read.layers.at(kQ), read.scale()), exact), 1e-6);
    // What PEFT computes from the files.
    const io::SafetensorsFile file(scratch.path() / "adapter_model.safetensors");
    const at::Tensor a = io::view_tensor(file, "base_model.model." + kQ + ".lora_A.weight");
    const at::Tensor b = io::view_tensor(file, "base_model.model." + kQ + ".lora_B.weight");
    EXPECT_LT(relative_error(written.scale() * at::mm(b, a), exact), 1e-6);
  }
}

TEST(AdapterFiles, RoundTripKeepsEverythingElse) {
  const TemporaryDirectory scratch;
  const Adapter written = corda_adapter(random(9, 7, 1));
  write_adapter(scratch.path(), written);
  const Adapter read = read_adapter(scratch.path());
  EXPECT_EQ(read.method, "corda");
  EXPECT_EQ(read.mode, "kpa");
  EXPECT_EQ(read.rank, 3);
  EXPECT_EQ(read.alpha, 6);
  EXPECT_EQ(read.train_a, true);
  EXPECT_EQ(read.base_name, "base \"quoted\"");
  EXPECT_EQ(read.base_fingerprint, "sha256-sampled:00");
  EXPECT_THAT(read.covariance_fingerprints, ElementsAre("c1", "c2"));
  ASSERT_EQ(read.reports.size(), 1u);
  EXPECT_EQ(read.reports.at(kQ).energy, 0.5);
  EXPECT_EQ(read.reports.at(kQ).total_energy, 2.25);
  EXPECT_EQ(read.reports.at(kQ).tokens, 1 << 20);
  EXPECT_TRUE(at::equal(read.layers.at(kQ).a0, written.layers.at(kQ).a0));
  EXPECT_TRUE(at::equal(read.layers.at(kQ).b0, written.layers.at(kQ).b0));
}

TEST(AdapterFiles, DoraKeepsItsMagnitudeAndRescalesRows) {
  const TemporaryDirectory scratch;
  const at::Tensor w = random(4, 6, 1);
  Adapter adapter;
  adapter.method = "dora";
  adapter.rank = 2;
  adapter.alpha = 4;
  adapter.layers[kQ] = initialise_lora(4, 6, 2, 1, kQ);
  adapter.layers[kQ].magnitude = dora_magnitude(w);
  EXPECT_LT((merged_weight(w, adapter.layers[kQ], adapter.scale()) - w).abs().max().item<float>(),
            1e-6f);
  adapter.layers[kQ].b = random(4, 2, 9);
  adapter.layers[kQ].magnitude = at::tensor({1.0f, 2.0f, 3.0f, 4.0f});
  write_adapter(scratch.path(), adapter);
  const Adapter read = read_adapter(scratch.path());
  EXPECT_EQ(read.method, "dora");
  const at::Tensor merged = merged_weight(w, read.layers.at(kQ), read.scale());
  EXPECT_TRUE(at::allclose(merged.norm(2, 1), at::tensor({1.0f, 2.0f, 3.0f, 4.0f}), 1e-5));
}

// CorDA at rank 3 and alpha 6, one layer at rank 2 and alpha 5.
TEST(AdapterFiles, RanksAndAlphasOfTheirOwnAreDoubledWithTheRestAndReadBack) {
  const TemporaryDirectory scratch;
  Adapter written = corda_adapter(random(9, 7, 1));
  written.layers[kDown] = initialise_pissa(random(5, 6, 4), 2, 2.5);
  written.layers[kDown].alpha = 5;
  for (auto& [module, layer] : written.layers) move_factors(layer, 0.1);
  write_adapter(scratch.path(), written);
  const core::Json config = core::read_json(scratch.path() / "adapter_config.json");
  EXPECT_EQ(config["r"], 6);
  EXPECT_EQ(config["lora_alpha"], 12);
  EXPECT_EQ(config["rank_pattern"].dump(), "{\"" + kDown + "\":4}");
  EXPECT_EQ(config["alpha_pattern"].dump(), "{\"" + kDown + "\":10}");
  const Adapter read = read_adapter(scratch.path());
  EXPECT_EQ(read.rank, 3);
  EXPECT_EQ(read.alpha, 6);
  for (const auto& [module, scale] : {std::pair(kQ, 2.0), std::pair(kDown, 2.5)}) {
    SCOPED_TRACE(module);
    const LayerAdapter& layer = read.layers.at(module);
    EXPECT_EQ(read.scale_of(layer), scale);
    EXPECT_EQ(layer.rank(), written.layers[module].rank());
    EXPECT_LT(relative_error(update_of(layer, scale), exact_update(written.layers[module], scale)),
              1e-6);
  }
  core::Json odd = config;
  odd["rank_pattern"][kDown] = 3;
  core::write_json(scratch.path() / "adapter_config.json", odd);
  EXPECT_THAT(error_of<core::FormatError>([&] { read_adapter(scratch.path()); }),
              HasSubstr("'" + kDown + "' has rank 3, but the start is subtracted"));
}

core::Json written_selection(const std::vector<std::string>& modules, std::int64_t base_blocks) {
  const TemporaryDirectory scratch;
  Adapter adapter;
  adapter.rank = 1;
  adapter.alpha = 1;
  adapter.base_blocks = base_blocks;
  for (const auto& name : modules) adapter.layers[name] = initialise_lora(2, 2, 1, 0, name);
  write_adapter(scratch.path(), adapter);
  EXPECT_EQ(read_adapter(scratch.path()).layers.size(), modules.size());
  const core::Json config = core::read_json(scratch.path() / "adapter_config.json");
  return {config["target_modules"], config["layers_to_transform"]};
}

TEST(AdapterFiles, BlocksWithoutTensorsAreLeftOutOfTheConfiguration) {
  const std::string first = "model.layers.0.mlp.up_proj";
  const std::string second = "model.layers.1.mlp.up_proj";
  EXPECT_EQ(written_selection({first, second}, 2).dump(), R"([["up_proj"],null])");
  EXPECT_EQ(written_selection({first, second}, 5).dump(), R"([["up_proj"],[0,1]])");
  EXPECT_EQ(written_selection({first, second}, 0).dump(), R"([["up_proj"],[0,1]])");
  EXPECT_EQ(written_selection({second}, 2).dump(), R"([["up_proj"],[1]])");
  EXPECT_EQ(written_selection({first, "lm_head"}, 1).dump(),
            R"([["lm_head","model.layers.0.mlp.up_proj"],null])");
}

// PEFT would adapt the layers of the same last names in the tower that sees, too.
TEST(AdapterFiles, ATextTowersLayersAreChosenThereAlone) {
  const TemporaryDirectory scratch;
  Adapter adapter;
  adapter.rank = 1;
  adapter.alpha = 1;
  const std::string name = "model.language_model.layers.0.self_attn.q_proj";
  adapter.layers[name] = initialise_lora(2, 2, 1, 0, name);
  write_adapter(scratch.path(), adapter);
  core::Json config = core::read_json(scratch.path() / "adapter_config.json");
  EXPECT_EQ(config["target_modules"], core::Json::array({"q_proj"}));
  const ModuleSelection selection(config, "adapter_config.json");
  EXPECT_TRUE(selection.contains(name));
  EXPECT_FALSE(selection.contains("model.vision_tower.encoder.layers.0.self_attn.q_proj"));
  adapter.layers = {{"model.layers.0.self_attn.q_proj", adapter.layers.at(name)}};
  write_adapter(scratch.path(), adapter);
  config = core::read_json(scratch.path() / "adapter_config.json");
  EXPECT_FALSE(config.contains("exclude_modules"));
}

TEST(AdapterFiles, IrregularSelectionIsWrittenWithFullNames) {
  const TemporaryDirectory scratch;
  Adapter adapter;
  adapter.rank = 1;
  adapter.alpha = 1;
  for (const std::string name : {"model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj",
                                 "model.layers.1.self_attn.q_proj"}) {
    adapter.layers[name] = initialise_lora(2, 2, 1, 0, name);
  }
  write_adapter(scratch.path(), adapter);
  EXPECT_EQ(core::read_json(scratch.path() / "adapter_config.json")["target_modules"].size(), 3u);
  adapter.layers.erase("model.layers.0.mlp.up_proj");
  write_adapter(scratch.path(), adapter);
  EXPECT_EQ(core::read_json(scratch.path() / "adapter_config.json")["target_modules"],
            core::Json::array({"q_proj"}));
}

TEST(AdapterFiles, HostileDirectoriesAreRefusedWithTheReason) {
  const TemporaryDirectory scratch;
  EXPECT_THAT(error_of<core::IoError>([&] { read_adapter(scratch.path()); }),
              HasSubstr("it holds no adapter_config.json"));
  write_adapter(scratch.path(), corda_adapter(random(9, 7, 1)));
  const core::Json notes = core::read_json(scratch.path() / "corda.json");
  const auto with = [&](const char* key, const core::Json& value) {
    core::Json changed = notes;
    changed[key] = value;
    core::write_json(scratch.path() / "corda.json", changed);
    return error_of<core::FormatError>([&] { read_adapter(scratch.path()); });
  };
  EXPECT_THAT(with("version", 2), HasSubstr("version 2 was written by another corda"));
  EXPECT_THAT(with("rank", 6), HasSubstr("one of the two files was changed"));
  EXPECT_THAT(with("subtracts_start", false), HasSubstr("one of the two files was changed"));
  EXPECT_THAT(with("method", 5), HasSubstr("'method' must be text; it is 5"));
  EXPECT_THAT(with("layers", core::Json::array()), HasSubstr("'layers' must be a JSON object"));
}

TEST(AdapterFiles, FilesThatDisagreeAreQuotedAsTheyStand) {
  const TemporaryDirectory scratch;
  write_adapter(scratch.path(), corda_adapter(random(9, 7, 1)));
  const auto path = scratch.path() / "adapter_config.json";
  core::Json config = core::read_json(path);
  config["use_rslora"] = true;
  core::write_json(path, config);
  EXPECT_THAT(error_of<core::FormatError>([&] { read_adapter(scratch.path()); }),
              HasSubstr("says method corda, rank 3, alpha 6, start subtracted, but "
                        "adapter_config.json says r 6, lora_alpha 12, use_rslora; one of the two "
                        "files was changed"));
}

TEST(AdapterFiles, UnknownTensorIsRefused) {
  const TemporaryDirectory scratch;
  core::write_json(scratch.path() / "adapter_config.json",
                   {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 2}});
  io::save_tensors(scratch.path() / "adapter_model.safetensors",
                   {{"base_model.model.model.embed_tokens.lora_embedding_A", at::ones({2, 3})}});
  EXPECT_THAT(error_of<core::FormatError>([&] { read_adapter(scratch.path()); }),
              HasSubstr("a tensor corda cannot apply"));
}

TEST(Adapter, AnotherBaseIsRefused) {
  const Adapter adapter = corda_adapter(random(9, 7, 1));
  EXPECT_NO_THROW(check_base(adapter, "sha256-sampled:00", "dir"));
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { check_base(adapter, "sha256-sampled:11", "other"); }),
      HasSubstr("made for another base model"));
  EXPECT_NO_THROW(check_base(Adapter{}, "anything", "dir"));
}

TEST(Adapter, UpdateOfAnotherShapeIsRefused) {
  const Adapter adapter = corda_adapter(random(9, 7, 1));
  EXPECT_THAT(error_of<core::ShapeError>([&] {
                merged_weight(at::ones({7, 9}), adapter.layers.at(kQ), 1);
              }),
              HasSubstr("changes a weight [9, 7], the base has [7, 9]"));
}

// As many bytes are not enough: a transposed factor has them too.
TEST(AdapterTensors, AFactorOfAnotherShapeOrDtypeIsRefused) {
  const TemporaryDirectory scratch;
  AdapterTensors tensors(scratch.path() / "adapter_model.safetensors",
                         {{kQ, {.out_features = 6, .in_features = 8, .stored_rank = 2}}});
  const Factors good = {random(2, 8, 1), random(6, 2, 2)};
  EXPECT_THAT(error_of<core::InternalError>([&] {
                tensors.put(kQ, {random(8, 2, 1), good.b});
              }),
              HasSubstr("lora_A.weight' must be F32 [2, 8]; it is Float [8, 2]"));
  EXPECT_THAT(error_of<core::InternalError>([&] {
                tensors.put(kQ, {good.a, random(2, 6, 1)});
              }),
              HasSubstr("lora_B.weight' must be F32 [6, 2]; it is Float [2, 6]"));
  EXPECT_THAT(error_of<core::InternalError>([&] {
                tensors.put(kQ, {good.a.to(at::kInt), good.b});
              }),
              HasSubstr("must be F32 [2, 8]; it is Int [2, 8]"));
  EXPECT_THAT(error_of<core::InternalError>([&] { tensors.put(kDown, good); }),
              HasSubstr("must be F32 of the layout"));
  tensors.put(kQ, good);
}

TEST(AdapterTensors, FirstComponentsAreTheFirstOfBothHalvesAndRankZeroIsNone) {
  const TemporaryDirectory scratch;
  const fs::path whole = scratch.path() / "whole.safetensors";
  AdapterTensors tensors(whole, {{kQ, {.out_features = 6, .in_features = 8, .stored_rank = 6}},
                                 {kDown, {.out_features = 6, .in_features = 8, .stored_rank = 6}}});
  const Factors stored = {random(6, 8, 1), random(6, 6, 2)};
  tensors.put(kQ, stored);
  tensors.put(kDown, stored);
  tensors.flush();
  const auto of = [&](const char* name, bool subtracts_start) {
    write_first_components(whole, scratch.path() / name, {{kQ, 2}, {kDown, 0}}, subtracts_start);
    const io::SafetensorsFile file(scratch.path() / name);
    EXPECT_EQ(file.tensors().size(), 2U) << "of one layer";
    return Factors{io::view_tensor(file, "base_model.model." + kQ + ".lora_A.weight").clone(),
                   io::view_tensor(file, "base_model.model." + kQ + ".lora_B.weight").clone()};
  };
  const Factors halves = of("halves.safetensors", true);
  const at::Tensor kept = at::tensor({0, 1, 3, 4}, at::kLong);
  EXPECT_TRUE(at::equal(halves.a, stored.a.index_select(0, kept)));
  EXPECT_TRUE(at::equal(halves.b, stored.b.index_select(1, kept)));
  const Factors plain = of("plain.safetensors", false);
  EXPECT_TRUE(at::equal(plain.a, stored.a.narrow(0, 0, 2)));
  EXPECT_TRUE(at::equal(plain.b, stored.b.narrow(1, 0, 2)));
}

// Files of older versions do not say whether B is trained; it always was.
TEST(AdapterFiles, BIsTrainedWhereNothingSaysOtherwise) {
  const TemporaryDirectory scratch;
  Adapter adapter = corda_adapter(random(9, 7, 1));
  adapter.train_b = false;
  write_adapter(scratch.path(), adapter);
  EXPECT_FALSE(read_adapter(scratch.path()).train_b);
  core::Json notes = core::read_json(scratch.path() / "corda.json");
  notes.erase("train_b");
  core::write_json(scratch.path() / "corda.json", notes);
  EXPECT_TRUE(read_adapter(scratch.path()).train_b);
}

}  // namespace
}  // namespace corda::adapter
