// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Mode eva beside PEFT's EVA on the same sequences, whose inputs have a mean.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "corda/adapter/adapter.h"
#include "corda/covariance/stream.h"
#include "corda/decompose/decompose.h"
#include "corda/io/covariance_store.h"
#include "corda/model/config.h"
#include "corda/model/sites.h"
#include "core/json.h"
#include "interop/interop.h"
#include "support/data_folder.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using adapter::Adapter;
using covariance::Draw;

constexpr std::int64_t kRank = 4;
constexpr double kAlpha = 6;

// How near two adapters are that EVA made of a model.
struct Agreement {
  double least_cosine = 1;       // of a row of A with that in its place, up to the sign
  double least_first = 1;        // the same of the first row of a layer
  double least_share = 1;        // of the most energy that so many directions of a site may have
  std::int64_t components = 0;   // of the first one in all
  std::int64_t other_ranks = 0;  // sites whose layers have other ranks together
};

class Eva : public testing::Interop {
 protected:
  std::string at(const std::string& name) const { return (scratch_.path() / name).string(); }

  // PEFT's EVA of the draw's sequences, in so many batches.
  Adapter peft(const fs::path& base, const Draw& draw, std::int64_t batches,
               const std::string& svd) const {
    core::Json sequences = core::Json::array();
    for (const auto& batch : draw.batches) {
      for (std::size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
        sequences.push_back(std::vector(batch.ids.begin() + batch.cu_seqlens[i],
                                        batch.ids.begin() + batch.cu_seqlens[i + 1]));
      }
    }
    core::write_json(at("ids.json"), sequences);
    const std::string out = at(core::concat("peft-", svd, "-", batches));
    const auto made = testing::python(
        "peft_eva.py", {"--base", base.string(), "--ids", at("ids.json"), "--out", out, "--rank",
                        std::to_string(kRank), "--alpha", std::to_string(kAlpha), "--rho", "2",
                        "--batches", std::to_string(batches), "--svd", svd});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return adapter::read_adapter(out);
  }

  // Writes the centred covariances of the draw, as calibrate --center does.
  std::string centred(const fs::path& base, const Draw& draw) const {
    io::CovarianceWriter writer(at("centred"), io::CovarianceStorage::kFull);
    core::Reporter quiet;
    covariance::stream_blocks(
        io::Checkpoint(base), model::read_model_config(base), {draw},
        {.activation_scaling = covariance::ActivationScaling::kNone, .center = true},
        [&](std::int64_t, const model::Block&, auto& found) {
          for (const auto& site : found.front())
            writer.add(site.site.name, site.site.modules, site.tokens, site.covariance);
        },
        quiet);
    io::CovarianceManifest manifest;
    manifest.model = io::Checkpoint(base).fingerprint();
    manifest.activation_scaling = "none";
    manifest.centered = true;
    writer.finish(manifest);
    return at("centred");
  }

  Adapter decomposed(decompose::DecomposeSettings s, const std::string& out) const {
    s.mode = "eva";
    s.rank = kRank;
    s.alpha = kAlpha;
    s.device = "cpu";
    s.out = at(out);
    core::Reporter quiet;
    decompose::decompose(s, quiet);
    return adapter::read_adapter(s.out);
  }

  // `centred` is a directory of covariances. Scales are compared on the way.
  static Agreement agreement(const Adapter& ours, const Adapter& theirs,
                             const std::string& centred) {
    Agreement result;
    const io::CovarianceReader reader(centred);
    for (const auto& [name, site] : reader.manifest().sites) {
      const at::Tensor c = reader.load(name).to(at::kDouble);
      const at::Tensor values = std::get<0>(at::linalg_eigh(c)).flip(0);
      std::vector<std::int64_t> our_ranks;
      std::vector<std::int64_t> their_ranks;
      for (const std::string& module : site.modules) {
        const at::Tensor a = rows_of(ours, module, c);
        const at::Tensor b = rows_of(theirs, module, c);
        our_ranks.push_back(a.size(0));
        their_ranks.push_back(b.size(0));
        result.components += a.size(0);
        const std::int64_t common = std::min(a.size(0), b.size(0));
        if (common == 0) continue;
        const at::Tensor cosines =
            at::cosine_similarity(a.narrow(0, 0, common), b.narrow(0, 0, common), 1).abs();
        const at::Tensor known = b.narrow(0, 0, common);
        const double energy = at::mm(at::mm(known, c), known.t()).trace().item<double>();
        result.least_cosine = std::min(result.least_cosine, cosines.min().item<double>());
        result.least_first = std::min(result.least_first, cosines[0].item<double>());
        result.least_share =
            std::min(result.least_share, energy / values.narrow(0, 0, common).sum().item<double>());
      }
      // Layers with one input have equal shares; which of them takes the last place PEFT leaves to
      // an unstable sort.
      std::sort(our_ranks.begin(), our_ranks.end());
      std::sort(their_ranks.begin(), their_ranks.end());
      result.other_ranks += our_ranks == their_ranks ? 0 : 1;
    }
    return result;
  }

 private:
  // A of a layer [rank, in] in fp64; [0, in] where it has no adapter.
  static at::Tensor rows_of(const Adapter& adapter, const std::string& module,
                            const at::Tensor& covariance) {
    const auto layer = adapter.layers.find(module);
    if (layer == adapter.layers.end()) return covariance.narrow(0, 0, 0);
    EXPECT_EQ(adapter.scale_of(layer->second), kAlpha / kRank) << module;
    EXPECT_EQ(layer->second.b.abs().max().item<float>(), 0.0F) << module;
    EXPECT_NEAR(layer->second.a.norm(2, 1).sub(1).abs().max().item<float>(), 0, 1e-5) << module;
    return layer->second.a.to(at::kDouble);
  }
};

// Sequences of unequal lengths in which every other token is the same.
Draw draw_with_a_mean() {
  Draw draw;
  for (std::int64_t i = 0; i < 9; ++i) {
    if (i % 2 == 0) draw.batches.emplace_back();
    std::vector<tokenizer::TokenId> ids;
    for (std::int64_t t = 0; t < 40 + 7 * i; ++t)
      ids.push_back(static_cast<tokenizer::TokenId>(t % 2 == 0 ? 11 : (t * t + 17 * i) % 128));
    data::append(draw.batches.back(), std::span<const tokenizer::TokenId>(ids));
    ++draw.samples;
    draw.tokens += static_cast<std::int64_t>(ids.size());
  }
  return draw;
}

TEST_F(Eva, OfCentredInputsIsPeftsWithItsRanksAndScales) {
  const Draw draw = draw_with_a_mean();
  decompose::DecomposeSettings s;
  s.model = testing::kBase.string();
  s.covariance = {centred(testing::kBase, draw)};
  const Adapter ours = decomposed(s, "ours");
  // PEFT's incremental PCA of one batch is a PCA: what differs are roundings of fp32, 3e-11 here.
  const Agreement full = agreement(ours, peft(testing::kBase, draw, 1, "full"), s.covariance[0]);
  EXPECT_GT(full.least_cosine, 1 - 1e-6);
  EXPECT_EQ(full.other_ranks, 0);
  EXPECT_EQ(full.components, kRank * 14);
}

// `decompose --mode eva --data` with nothing else said, a few samples at a time.
TEST_F(Eva, OfDataIsPeftsOnARealModel) {
  const fs::path base = testing::data_folder() / "models/nano-qa-11m";
  const fs::path text = testing::data_folder() / "datasets/gsm8k/train.jsonl.gz";
  if (!fs::exists(base) || !fs::exists(text))
    GTEST_SKIP() << base << " or " << text << " is not there";
  decompose::DecomposeSettings s;
  s.model = base.string();
  s.data = {text.string()};
  s.format = "alpaca";
  s.columns = "instruction=question,output=answer";
  s.samples = 9;
  s.seq_len = 256;
  s.batch_tokens = 600;
  s.dtype = "fp32";
  core::Reporter quiet;
  const Draw draw =
      covariance::draw_samples(s, s.data, s.model, model::read_model_config(base), quiet);
  ASSERT_GT(draw.batches.size(), 2U);
  const std::string inputs = centred(base, draw);
  const Adapter ours = decomposed(s, "ours");

  const Agreement full = agreement(ours, peft(base, draw, 1, "full"), inputs);
  EXPECT_GT(full.least_cosine, 1 - 1e-6);  // roundings of fp32: 5e-10 here
  EXPECT_EQ(full.other_ranks, 0);
  EXPECT_EQ(full.components, kRank * 56);

  // By default PEFT takes a randomised SVD of twice as many directions, whose last ones are only
  // near: cosines from 0.984 on, 0.999999 of the first ones, and 0.9994 of the energy. Two sites of
  // 32 have other ranks for it.
  const Agreement fast = agreement(ours, peft(base, draw, 1, "lowrank"), inputs);
  EXPECT_GT(fast.least_first, 0.999);
  EXPECT_GT(fast.least_cosine, 0.95);
  EXPECT_GT(fast.least_share, 0.995);

  // Of several batches it keeps the largest directions of those before alone, and stops before all
  // have the same weight, when none turns by more than a cosine of 0.99: 0.996 for the first ones
  // and 0.988 of the energy; directions of nearly equal energy come mixed.
  const Agreement several = agreement(ours, peft(base, draw, 3, "lowrank"), inputs);
  EXPECT_GT(several.least_first, 0.97);
  EXPECT_GT(several.least_share, 0.97);

  // With their mean the same inputs give other directions, the mean's first.
  s.center = "false";
  s.activation_scaling = "none";
  const Agreement whole = agreement(decomposed(s, "whole"), ours, inputs);
  EXPECT_LT(whole.least_first, 0.1);
}

}  // namespace
}  // namespace corda
