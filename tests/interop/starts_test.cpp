// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The adapters that decompose makes beside those that PEFT starts from on the same base and inputs:
// EVA with its ranks, MiCA, PiSSA; and PEFT on ours, whatever their ranks.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "corda/adapter/adapter.h"
#include "corda/decompose/decompose.h"
#include "corda/io/covariance_store.h"
#include "corda/io/tensor.h"
#include "corda/model/config.h"
#include "corda/model/sites.h"
#include "interop/interop.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using testing::kBase;
using testing::noise;
using testing::python;

constexpr std::int64_t kRank = 6;
constexpr double kAlpha = 9;

class Starts : public testing::Interop {
 protected:
  void SetUp() override {
    Interop::SetUp();
    if (IsSkipped()) return;
    const auto made = python(
        "peft_starts.py", {"--base", kBase.string(), "--out", (scratch_.path() / "peft").string(),
                           "--rank", std::to_string(kRank), "--alpha", "9", "--rho", "2"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const io::SafetensorsFile inputs(scratch_.path() / "peft/inputs.safetensors");
    io::CovarianceWriter writer(scratch_.path() / "cov", io::CovarianceStorage::kFull);
    for (const auto& site : model::sites_of(model::read_model_config(kBase))) {
      sites_.push_back(site.modules);
      writer.add(site.name, site.modules, 512, io::view_tensor(inputs, site.modules.front()));
    }
    io::CovarianceManifest manifest;
    manifest.model = io::Checkpoint(kBase).fingerprint();
    manifest.activation_scaling = "none";
    writer.finish(manifest);
  }

  adapter::Adapter decomposed(decompose::DecomposeSettings s, const std::string& out) const {
    s.model = kBase.string();
    s.rank = kRank;
    s.alpha = kAlpha;
    s.device = "cpu";
    s.out = (scratch_.path() / out).string();
    core::Reporter quiet;
    decompose::decompose(s, quiet);
    return adapter::read_adapter(s.out);
  }
  std::string covariance() const { return (scratch_.path() / "cov").string(); }
  at::Tensor peft(const std::string& name) const {
    const io::SafetensorsFile file(scratch_.path() / "peft/starts.safetensors");
    return io::view_tensor(file, name).clone();
  }

  std::vector<std::vector<std::string>> sites_;  // modules with one input
};

// Each row of `a` is one of `b` up to its sign.
void expect_same_rows(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  ASSERT_EQ(a.sizes(), b.sizes());
  const at::Tensor cosines = at::cosine_similarity(a.to(at::kDouble), b.to(at::kDouble), 1).abs();
  EXPECT_GT(cosines.min().item<double>(), 1 - tolerance);
  EXPECT_TRUE(at::allclose(a.norm(2, 1), b.norm(2, 1), 1e-4, 1e-6));
}

TEST_F(Starts, EvaIsPeftsWithItsRanksAndScales) {
  decompose::DecomposeSettings s;
  s.mode = "eva";
  s.covariance = {covariance()};
  const adapter::Adapter ours = decomposed(s, "eva");
  const adapter::Adapter theirs = adapter::read_adapter(scratch_.path() / "peft/eva");
  EXPECT_EQ(theirs.alpha, ours.alpha);
  std::int64_t components = 0;
  std::size_t others = 0;
  for (const auto& modules : sites_) {
    // Layers with one input have equal shares; which of them takes the last place PEFT leaves to an
    // unstable sort.
    std::vector<std::int64_t> our_ranks;
    std::vector<std::int64_t> their_ranks;
    for (const auto& module : modules) {
      SCOPED_TRACE(module);
      const adapter::LayerAdapter& our = ours.layers.at(module);
      const adapter::LayerAdapter& their = theirs.layers.at(module);
      our_ranks.push_back(our.rank());
      their_ranks.push_back(their.rank());
      components += our.rank();
      others += our.rank() == kRank ? 0 : 1;
      EXPECT_EQ(ours.scale_of(our), 1.5);
      EXPECT_EQ(theirs.scale_of(their), 1.5);
      const std::int64_t common = std::min(our.rank(), their.rank());
      // PEFT's decomposition is a randomised one in fp32: 0.99994 at worst.
      expect_same_rows(our.a.narrow(0, 0, common), their.a.narrow(0, 0, common), 1e-3);
      EXPECT_EQ(our.b.abs().max().item<float>(), 0.0F);
    }
    std::sort(our_ranks.begin(), our_ranks.end());
    std::sort(their_ranks.begin(), their_ranks.end());
    EXPECT_EQ(our_ranks, their_ranks) << modules.front();
  }
  EXPECT_EQ(components, kRank * static_cast<std::int64_t>(ours.layers.size()));
  EXPECT_GT(others, 4U) << "or the ranks say nothing";
}

TEST_F(Starts, MicaAndPissaArePefts) {
  decompose::DecomposeSettings s;
  s.mode = "mica";
  const adapter::Adapter mica = decomposed(s, "mica");
  s.mode = "kpa";
  s.method = "pissa";
  const adapter::Adapter pissa = decomposed(s, "pissa");
  ASSERT_EQ(mica.layers.size(), 14U);
  for (const auto& [module, layer] : mica.layers) {
    SCOPED_TRACE(module);
    // PEFT has the smallest last.
    expect_same_rows(layer.b.flip(1).t(), peft("mica." + module + ".lora_B").t(), 1e-6);
    EXPECT_TRUE(at::equal(layer.a, peft("mica." + module + ".lora_A")));
    const adapter::LayerAdapter& largest = pissa.layers.at(module);
    expect_same_rows(largest.a0, peft("pissa." + module + ".lora_A"), 1e-6);
    expect_same_rows(largest.b0.t(), peft("pissa." + module + ".lora_B").t(), 1e-6);
    const at::Tensor product =
        at::mm(peft("pissa." + module + ".lora_B"), peft("pissa." + module + ".lora_A"));
    EXPECT_TRUE(at::allclose(at::mm(largest.b0, largest.a0), product, 1e-4, 1e-5));
  }
}

// The adapters are changed as if they had been trained a little.
TEST_F(Starts, PeftLoadsWhatDecomposeMadeWithAnyRanksAndComputesWhatMergeWrites) {
  struct Case {
    const char* mode;
    const char* ranks;
  };
  for (const Case& c : {Case{"eva", "explained"}, Case{"ipa", "explained"}, Case{"kpa", "compact"},
                        Case{"sc", "explained"}, Case{"null", "equal"}, Case{"milora", "equal"},
                        Case{"mica", "equal"}}) {
    const std::string name = std::string(c.mode) + "-" + c.ranks;
    SCOPED_TRACE(name);
    decompose::DecomposeSettings s;
    s.mode = c.mode;
    s.ranks = c.ranks;
    const bool alone = s.mode == "milora" || s.mode == "mica";
    if (!alone) s.covariance = {covariance()};
    if (s.mode == "sc") s.task_covariance = covariance();
    if (s.mode == "sc") s.beta = 0.3;
    adapter::Adapter made = decomposed(s, name);
    std::uint64_t seed = 0;
    for (auto& [module, layer] : made.layers) {
      if (made.train_a) layer.a = layer.a + 0.02 * noise(layer.a, ++seed);
      if (made.train_b) layer.b = layer.b + 0.02 * noise(layer.b, ++seed);
    }
    const fs::path trained = scratch_.path() / (name + "-trained");
    fs::create_directories(trained);
    adapter::write_adapter(trained, made);
    const auto answer = in_peft(trained, merge_into(trained, name + "-merged"), "1e-4");
    EXPECT_EQ(answer.exit_code, 0) << answer.out << answer.err;
  }
}

}  // namespace
}  // namespace corda
