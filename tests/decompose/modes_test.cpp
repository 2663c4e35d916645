// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Every mode beside CorDA's and dual against its formula in plain ATen.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "corda/adapter/check_fit.h"
#include "corda/decompose/mode.h"
#include "corda/linalg/energy.h"
#include "corda/quant/quantise.h"
#include "corda/quant/write_copy.h"
#include "decompose/small_model.h"

namespace corda::decompose {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kRank = 3;
const std::string kQuery = "model.layers.0.self_attn.q_proj";

at::Tensor columns(const at::Tensor& vectors, std::int64_t begin) {
  return vectors.narrow(1, begin, kRank);
}

// The largest entry of a - b, relative to that of b.
double difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor wanted = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

class Modes : public Decompose {
 protected:
  Modes() : task_(write_covariance(scratch_.path() / "task", model_, 900)) {}

  adapter::Adapter made(const std::string& mode, std::int64_t rank = kRank) {
    DecomposeSettings s = settings(core::concat(mode, "-", rank));
    set_mode(s, mode, task_.string());
    s.rank = rank;
    s.alpha = 2 * static_cast<double>(rank);  // a scale of 2
    s.ranks = "equal";
    return run(s);
  }
  static at::Tensor covariance_at(const fs::path& directory, const std::string& module) {
    const io::CovarianceReader reader(directory);
    return reader.load(reader.site_of(module)).to(at::kDouble);
  }

  fs::path task_;
};

TEST_F(Modes, EachIsOneRowThatNamesWhatItNeedsAndTrains) {
  std::set<std::string_view> names;
  for (const Mode& mode : modes()) {
    EXPECT_TRUE(names.insert(mode.name).second) << mode.name;
    EXPECT_NE(mode.start, nullptr) << mode.name;
    EXPECT_EQ(mode.prepare == nullptr, mode.input == Input::kWeight) << mode.name;
    EXPECT_TRUE(mode.trains_a || mode.trains_b) << mode.name;
    EXPECT_FALSE(mode.subtracts_start && !(mode.trains_a && mode.trains_b)) << mode.name;
    EXPECT_FALSE(mode.subtracts_start && mode.corrects_base) << mode.name;
  }
  EXPECT_EQ(names.size(), 10U);
}

// Whatever the mode, the adapter changes nothing before it is trained, unless it makes good what
// codes lose, and its file says what of it is.
TEST_F(Modes, StartAtTheBaseAndRecordWhatIsTrained) {
  int checked = 0;
  for (const Mode& mode : modes()) {
    if (mode.name.empty()) continue;
    SCOPED_TRACE(mode.name);
    const adapter::Adapter found = made(std::string(mode.name));
    EXPECT_EQ(found.mode, mode.name);
    EXPECT_EQ(found.train_a, mode.trains_a);
    EXPECT_EQ(found.train_b, mode.trains_b);
    ASSERT_EQ(found.layers.size(), 14U);
    for (const auto& [module, layer] : found.layers) {
      EXPECT_EQ(layer.subtracts_start(), mode.subtracts_start);
      EXPECT_EQ(layer.rank(), kRank);
      EXPECT_EQ(adapter::update_of(layer, 2).abs().max().item<float>() != 0.0F, mode.corrects_base)
          << module;
    }
    EXPECT_EQ(found.corrects_base, mode.corrects_base);
    EXPECT_EQ(found.base_format, mode.corrects_base ? "nf4" : "");
    ++checked;
  }
  EXPECT_EQ(checked, 9);
}

TEST_F(Modes, NullReadsTheInputsThatKnowledgeUsesLeastAsTheAuthorsScaleThem) {
  const adapter::Adapter found = made("null");
  for (const auto& [module, layer] : found.layers) {
    SCOPED_TRACE(module);
    const at::Tensor c = covariance_at(covariance_, module);
    const auto [values, vectors] = at::linalg_eigh(c);
    const at::Tensor u0 = columns(vectors, 0);
    const at::Tensor w = weight(module);
    const auto [u, s, vh] = at::linalg_svd(at::mm(at::mm(w, u0), u0.t()), false);
    const at::Tensor a = (s.narrow(0, 0, kRank) / 2).sqrt().unsqueeze(1) * vh.narrow(0, 0, kRank);
    EXPECT_LT(difference(layer.a.abs(), a.abs()), 1e-5);
    EXPECT_EQ(layer.b.abs().max().item<float>(), 0.0F);
    const double energy = values.narrow(0, 0, kRank).sum().item<double>();
    EXPECT_NEAR(found.reports.at(module).energy, energy, 1e-9 * values.sum().item<double>());
    EXPECT_NEAR(found.reports.at(module).total_energy, c.trace().item<double>(), 1e-6);
    EXPECT_EQ(found.reports.at(module).damping, 0);
  }
}

TEST_F(Modes, ScProjectsOntoTheOutputsWithMoreTaskThanKnowledge) {
  const adapter::Adapter found = made("sc");
  int compared = 0;
  for (const auto& [module, layer] : found.layers) {
    SCOPED_TRACE(module);
    const at::Tensor w = weight(module);
    const auto outputs = [&](const fs::path& directory) {
      const at::Tensor m = at::mm(at::mm(w, covariance_at(directory, module)), w.t());
      return m / m.trace();
    };
    const at::Tensor m = 0.2 * outputs(task_) - 0.8 * outputs(covariance_);
    const auto [values, vectors] = at::linalg_eigh(m);
    const at::Tensor q = columns(vectors, m.size(0) - kRank);
    const at::Tensor product = 2 * at::mm(layer.b0, layer.a0);
    // Outputs that W cannot give have the value 0, and where these are chosen, rounding chooses.
    if (std::abs(values[m.size(0) - kRank].item<double>()) > 1e-9) {
      EXPECT_LT(difference(product, at::mm(q, at::mm(q.t(), w))), 1e-5);
      ++compared;
    }
    const at::Tensor gram = 4 * at::mm(layer.b0.t(), layer.b0);
    EXPECT_LT(difference(gram, at::eye(kRank)), 1e-5) << "B0 is Q over the scale";
    EXPECT_NEAR(found.reports.at(module).energy,
                values.narrow(0, m.size(0) - kRank, kRank).sum().item<double>(), 1e-6);
  }
  EXPECT_EQ(compared, 10) << "all but the tall gate and up";
}

TEST_F(Modes, ScWithoutKnowledgeIsTheTasksOutputsAlone) {
  DecomposeSettings s = settings();
  set_mode(s, "sc", task_.string());
  s.beta = 0;
  const adapter::LayerAdapter layer = run(s).layers.at(kQuery);
  const at::Tensor w = weight(kQuery);
  const auto [values, vectors] =
      at::linalg_eigh(at::mm(at::mm(w, covariance_at(task_, kQuery)), w.t()));
  const at::Tensor q = columns(vectors, kHidden - kRank);
  EXPECT_LT(difference(at::mm(layer.b0, layer.a0), at::mm(q, at::mm(q.t(), w))), 1e-5);
}

TEST_F(Modes, EvaReadsTheLargestDirectionsOfTheInput) {
  const adapter::Adapter found = made("eva");
  for (const auto& [module, layer] : found.layers) {
    SCOPED_TRACE(module);
    const at::Tensor c = covariance_at(covariance_, module);
    const auto [values, vectors] = at::linalg_eigh(c);
    const at::Tensor top = columns(vectors, c.size(0) - kRank).flip(1);
    EXPECT_LT(difference(layer.a.t().abs(), top.abs()), 1e-5);
    EXPECT_EQ(layer.b.abs().max().item<float>(), 0.0F);
    EXPECT_NEAR(found.reports.at(module).energy / values.sum().item<double>(),
                (values.narrow(0, c.size(0) - kRank, kRank).sum() / values.sum()).item<double>(),
                1e-9);
  }
}

TEST_F(Modes, MiloraAndMicaAreTheSmallestComponentsOfTheWeight) {
  const adapter::Adapter milora = made("milora");
  const adapter::Adapter mica = made("mica");
  for (const auto& [module, layer] : milora.layers) {
    SCOPED_TRACE(module);
    const auto [u, s, vh] = at::linalg_svd(weight(module), false);
    const std::int64_t begin = s.size(0) - kRank;
    const at::Tensor roots = (s.narrow(0, begin, kRank) / 2).sqrt();
    const at::Tensor b = columns(u, begin) * roots;
    const at::Tensor a = roots.unsqueeze(1) * vh.narrow(0, begin, kRank);
    EXPECT_LT(difference(layer.b0.flip(1).abs(), b.abs()), 1e-5);
    EXPECT_LT(difference(layer.a0.flip(0).abs(), a.abs()), 1e-5);
    EXPECT_LT(difference(at::mm(layer.b0, layer.a0), at::mm(b, a)), 1e-5);
    const adapter::LayerAdapter& minor = mica.layers.at(module);
    EXPECT_LT(difference(minor.b.flip(1).abs(), columns(u, begin).abs()), 1e-5);
    EXPECT_EQ(minor.a.abs().max().item<float>(), 0.0F);
    const double energy = s.narrow(0, begin, kRank).norm().item<double>();
    EXPECT_NEAR(mica.reports.at(module).energy, energy, 1e-9);
    EXPECT_NEAR(milora.reports.at(module).energy, energy, 1e-9);
  }
}

// With C~ = L L^T, E = W - Q(W) and E L = U S V^T: s B A = U U^T E, and what is left of E in the
// outputs is the tail of S.
TEST_F(Modes, CloqTakesTheLargestPartOfWhatTheCodesLoseInTheOutputs) {
  for (const std::string base : {"nf4", "fp8"}) {
    DecomposeSettings s = settings("cloq-" + base);
    set_mode(s, "cloq", "");
    s.base = base;
    s.alpha = 2 * kRank;
    const adapter::Adapter found = run(s);
    EXPECT_EQ(found.base_format, base);
    for (const auto& [module, layer] : found.layers) {
      SCOPED_TRACE(base + " " + module);
      const at::Tensor w = weight(module);
      const auto codes = quant::quantise(w.to(at::kBFloat16), {.base = quant::base_named(base)});
      const at::Tensor error = w - quant::dequantised(codes).to(at::kDouble);
      at::Tensor c = covariance_at(covariance_, module);
      c = c + 0.01 * c.diagonal().mean() * at::eye(c.size(0), at::kDouble);
      const at::Tensor factor = at::linalg_cholesky(c);
      const auto [u, values, vh] = at::linalg_svd(at::mm(error, factor), false);
      const at::Tensor top = u.narrow(1, 0, kRank);
      const at::Tensor product = 2 * at::mm(layer.b, layer.a).to(at::kDouble);
      EXPECT_LT(difference(product, at::mm(top, at::mm(top.t(), error))), 1e-5);
      const at::Tensor squares = values.square();
      const double all = squares.sum().item<double>();
      const double tail = squares.slice(0, kRank).sum().item<double>();
      EXPECT_NEAR(linalg::energy(error - product, c), tail, 1e-6 * all);
      EXPECT_NEAR(found.reports.at(module).energy, all - tail, 1e-9 * all);
      EXPECT_NEAR(found.reports.at(module).total_energy, all, 1e-9 * all);
      EXPECT_EQ(found.reports.at(module).damping, 0.01);
      // LoftQ's start is the best product by the entries of E, not by the outputs.
      const auto [lu, ls, lvh] = at::linalg_svd(error, false);
      const at::Tensor plain =
          at::mm(lu.narrow(1, 0, kRank) * ls.narrow(0, 0, kRank), lvh.narrow(0, 0, kRank));
      EXPECT_LT(linalg::energy(error - product, c), 0.9 * linalg::energy(error - plain, c));
      EXPECT_LT((at::linalg_vector_norm(layer.a, 2, at::IntArrayRef{1}) - std::sqrt(1.0 / 3))
                    .abs()
                    .max()
                    .item<float>(),
                1e-6F);
    }
  }
}

TEST_F(Modes, CloqLeavesLessOfTheErrorAtAHigherRank) {
  std::map<std::string, double> before;
  for (const std::int64_t rank : {1, 2, 4, 8}) {
    for (const auto& [module, report] : made("cloq", rank).reports) {
      const double left = 1 - report.energy / report.total_energy;
      if (before.contains(module)) {
        EXPECT_LT(left, before.at(module)) << module << " " << rank;
      }
      before[module] = left;
    }
  }
  EXPECT_EQ(before.size(), 14U);
}

// A layer of zeros is held exactly.
TEST_F(Modes, CloqOfCodesThatLoseNothingStartsAtZeroAndSaysSo) {
  const std::string module = "model.layers.0.self_attn.v_proj";
  const fs::path model = scratch_.path() / "exact";
  std::vector<std::pair<std::string, at::Tensor>> tensors = model_tensors(kHidden, 2, 1);
  for (auto& [name, tensor] : tensors)
    if (name == module + ".weight") tensor = at::zeros_like(tensor);
  fs::create_directories(model);
  io::save_tensors(model / "model.safetensors", tensors);
  write_config(model, kHidden, 2, /*heads=*/3);
  DecomposeSettings s = settings("exact-out");
  s.model = model.string();
  s.covariance = {write_covariance(scratch_.path() / "exact-cov", model).string()};
  s.mode = "cloq";
  const adapter::Adapter found = run(s);
  EXPECT_EQ(adapter::update_of(found.layers.at(module), 1).abs().max().item<float>(), 0.0F);
  EXPECT_EQ(found.reports.at(module).without_weight, kRank);
  EXPECT_EQ(found.reports.at(kQuery).without_weight, 0);
}

TEST_F(Modes, CloqRefusesAModelOfWhichNobodyKnowsWhatItsCodesLost) {
  const quant::ModelWeights dense{io::Checkpoint(model_)};
  const fs::path codes = scratch_.path() / "codes";
  fs::create_directories(codes);
  quant::write_quantised(dense, codes, {}, [&](const std::string& name) {
    return quant::quantise(dense.view(name), {});
  });
  DecomposeSettings s = settings("of-codes");
  s.mode = "cloq";
  s.model = codes.string();
  EXPECT_EQ(
      failure<core::ConfigError>(s),
      core::concat("mode cloq makes good what nf4 loses of the weights, but '", codes.string(),
                   "' is quantised already (bitsandbytes nf4); give the model in 16 bits "
                   "that it was made from"));
}

TEST_F(Modes, AnAdapterThatMakesGoodWhatCodesLoseIsForABaseInTheseAlone) {
  const adapter::Adapter corrects = made("cloq");
  const adapter::Adapter starts_at_zero = made("eva");
  EXPECT_NO_THROW(adapter::check_held(corrects, "nf4", "set base: "));
  for (const char* held : {"auto", "bf16", "fp8"}) {
    EXPECT_EQ(
        error_of<core::ConfigError>([&] { adapter::check_held(corrects, held, "set base: "); }),
        "the adapter makes good what the base loses in nf4, and over any other it adds an "
        "error; set base: nf4");
    EXPECT_NO_THROW(adapter::check_held(starts_at_zero, held, ""));
  }
}

// CorDA++: log of sqrt(out largest) / smallest of C~ over its mean, times the sum of the singular
// values of W C~ over the largest; the layer takes the covariance with the least.
TEST_F(Modes, CompactChoiceTakesTheCovarianceWithTheLeastScore) {
  DecomposeSettings s = settings("chosen");
  s.covariance = {covariance_.string(), task_.string(),
                  write_covariance(scratch_.path() / "third", model_, 300).string()};
  s.covariance_choice = "compact";
  const adapter::Adapter found = run(s);
  std::set<std::int64_t> taken;
  for (const auto& [module, layer] : found.layers) {
    SCOPED_TRACE(module);
    const at::Tensor w = weight(module);
    std::int64_t best = -1;
    double least = 0;
    double compactness = 0;
    for (std::size_t i = 0; i < s.covariance.size(); ++i) {
      at::Tensor c = covariance_at(s.covariance[i], module);
      c = c + 0.01 * c.diagonal().mean() * at::eye(c.size(0), at::kDouble);
      const at::Tensor values = at::linalg_eigvalsh(c) / c.diagonal().mean();
      const at::Tensor singular = at::linalg_svdvals(at::mm(w, c));
      const double pi = std::sqrt(static_cast<double>(w.size(0)) * values.max().item<double>()) /
                        values.min().item<double>();
      const double score = std::log(pi) * (singular.sum() / singular[0]).item<double>();
      if (best >= 0 && score >= least) continue;
      best = static_cast<std::int64_t>(i);
      least = score;
      compactness = std::log(pi);
    }
    const adapter::LayerReport& report = found.reports.at(module);
    ASSERT_TRUE(report.covariance && report.compactness);
    EXPECT_EQ(*report.covariance, best);
    EXPECT_NEAR(*report.compactness, compactness, 1e-9 * compactness);
    taken.insert(best);
    // The adapter is the one that this covariance alone gives.
    DecomposeSettings alone = settings(core::concat("alone-", module));
    alone.covariance = {s.covariance[static_cast<std::size_t>(best)]};
    alone.target_modules = {module};
    EXPECT_TRUE(at::equal(layer.a0, run(alone).layers.at(module).a0));
  }
  EXPECT_GT(taken.size(), 1U) << "or nothing was chosen";
}

TEST_F(Modes, CombinationsWithoutMeaningAreRefusedInASentence) {
  const auto refusal = [&](const std::string& mode, const auto& change) {
    DecomposeSettings s = settings(mode);
    set_mode(s, mode, task_.string());
    change(s);
    return failure<core::ConfigError>(s);
  };
  const auto nothing = [](DecomposeSettings&) {};
  EXPECT_EQ(refusal("mica", [&](DecomposeSettings& s) { s.covariance = {covariance_.string()}; }),
            "mode mica uses no covariance; leave out --covariance, --task-covariance, --data and "
            "--task-data");
  EXPECT_EQ(refusal("sc", [](DecomposeSettings& s) { s.task_covariance.clear(); }),
            "mode sc needs --task-covariance: the covariance of the task, beside --covariance of "
            "the knowledge");
  EXPECT_EQ(refusal("eva", [&](DecomposeSettings& s) { s.task_covariance = task_.string(); }),
            "--task-covariance and --task-data are for modes dual and sc; mode eva takes one "
            "covariance, of the task, as --covariance or --data");
  EXPECT_EQ(refusal("null", [](DecomposeSettings& s) { s.ranks = "explained"; }),
            "--ranks explained goes by how much a layer's largest components explain, but mode "
            "null takes others; it is for ipa, dual, sc, eva, cloq and method pissa");
  EXPECT_EQ(refusal("dual", [](DecomposeSettings& s) { s.ranks = "compact"; }),
            "--ranks compact is for modes kpa and ipa, not mode dual");
  EXPECT_EQ(refusal("kpa", [](DecomposeSettings& s) { s.covariance_choice = "compact"; }),
            "--covariance-choice compact chooses among several --covariance; 1 is given");
  EXPECT_EQ(refusal("eva", [](DecomposeSettings& s) { s.covariance_choice = "compact"; }),
            "--covariance-choice compact is for modes kpa and ipa, not mode eva");
  EXPECT_EQ(refusal("kpa",
                    [](DecomposeSettings& s) {
                      s.samples = 3;
                      s.qa_text = "question";
                    }),
            "'qa_text', 'samples' are for --data, which is not given");
  EXPECT_THAT(refusal("pica", nothing), HasSubstr("; it is 'pica' (did you mean 'mica'?)"));
}

}  // namespace
}  // namespace corda::decompose
