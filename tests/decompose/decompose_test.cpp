// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/decompose/decompose.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "corda/linalg/spectrum.h"
#include "decompose/small_model.h"

namespace corda::decompose {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST_F(Decompose, KpaAndIpaAreTheProjectorsOfAPlainSvd) {
  for (const std::string mode : {"kpa", "ipa"}) {
    SCOPED_TRACE(mode);
    DecomposeSettings s = settings(mode);
    s.mode = mode;
    s.alpha = 6;
    const adapter::Adapter found = run(s);
    EXPECT_EQ(found.method, "corda");
    EXPECT_EQ(found.mode, mode);
    EXPECT_EQ(found.scale(), 2.0);
    EXPECT_TRUE(found.train_a);
    EXPECT_EQ(found.base_fingerprint, io::Checkpoint(model_).fingerprint());
    ASSERT_EQ(found.layers.size(), 14u);
    ASSERT_EQ(found.reports.size(), 14u);
    const io::CovarianceReader reader(covariance_);
    for (const auto& [module, layer] : found.layers) {
      SCOPED_TRACE(module);
      at::Tensor c = reader.load(reader.site_of(module)).to(at::kDouble);
      c = c + 0.01 * c.diagonal().mean() * at::eye(c.size(0), at::kDouble);
      const at::Tensor w = weight(module);
      const auto [u, sigma, vh] = at::linalg_svd(at::mm(w, c), false);
      const std::int64_t begin = mode == "kpa" ? sigma.size(0) - 3 : 0;
      const at::Tensor chosen = u.narrow(1, begin, 3);
      const at::Tensor projector = at::mm(chosen, at::mm(chosen.t(), w));
      const at::Tensor product = 2.0 * at::mm(layer.b0, layer.a0).to(at::kDouble);
      EXPECT_LT((product - projector).abs().max().item<double>(),
                2e-6);  // fp32 factors of entries below 3
      EXPECT_EQ(adapter::update_of(layer, 2.0).abs().max().item<float>(), 0.0f);
      const double energy = at::linalg_norm(sigma.narrow(0, begin, 3)).item<double>();
      EXPECT_NEAR(found.reports.at(module).energy, energy, 1e-6 * energy);
      EXPECT_NEAR(found.reports.at(module).total_energy, at::linalg_norm(sigma).item<double>(),
                  1e-9 * sigma[0].item<double>());
      EXPECT_EQ(found.reports.at(module).tokens, kTokens);
      EXPECT_EQ(found.reports.at(module).damping, 0.01);
      // The paper's formula with its inverse gives the same A0 up to sign.
      const at::Tensor paper = (sigma.narrow(0, begin, 3) / 2.0).sqrt().unsqueeze(1) *
                               at::linalg_solve(c, vh.narrow(0, begin, 3).t()).t();
      const at::Tensor ours = mode == "kpa" ? layer.a0.flip(0) : layer.a0;
      EXPECT_LT((ours.to(at::kDouble).abs() - paper.abs()).abs().max().item<double>(),
                1e-5 * paper.abs().max().item<double>());
    }
  }
}

TEST_F(Decompose, SameInputsGiveTheSameBytes) {
  run(settings("one"));
  run(settings("two"));
  for (const char* name : {"adapter_model.safetensors", "adapter_config.json", "corda.json"}) {
    EXPECT_EQ(core::read_file(scratch_.path() / "one" / name),
              core::read_file(scratch_.path() / "two" / name))
        << name;
  }
}

TEST_F(Decompose, ResolvedSettingsReadBack) {
  run(settings());
  DecomposeSettings read;
  const fs::path file = scratch_.path() / "adapter" / "settings.resolved.yaml";
  settings_of(read).read(core::parse_yaml(core::read_file(file), "settings"));
  EXPECT_EQ(read.rank, 3);
  EXPECT_EQ(read.alpha, 3);
  EXPECT_EQ(read.covariance, settings().covariance);
  EXPECT_THAT(read.target_modules, ElementsAre("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj",
                                               "up_proj", "down_proj"));
}

TEST_F(Decompose, ACardStandsBesideTheStart) {
  core::write_file_atomic(model_ / "README.md", "---\nlicense: mit\n---\n");
  core::write_file_atomic(covariance_ / "settings.resolved.yaml", "data: [/home/me/facts.jsonl]\n");
  run(settings());
  const std::string card = core::read_file(scratch_.path() / "adapter" / "README.md");
  EXPECT_THAT(card, HasSubstr("\nlicense: mit\n"));
  EXPECT_THAT(card, HasSubstr("| method | CorDA KPA |\n| rank | 3 (6 in the files"));
  EXPECT_THAT(card, HasSubstr("| start calibrated on | `facts.jsonl` |\n"));
  EXPECT_THAT(card, HasSubstr("Nothing of it is trained yet"));
}

TEST_F(Decompose, MixingIsIndependentOfEachCovariancesScale) {
  const fs::path scaled = write_covariance(scratch_.path() / "scaled", model_, 100, 3.0);
  DecomposeSettings s = settings("mixed");
  s.covariance = {covariance_.string(), scaled.string()};
  const adapter::Adapter mixed = run(s);
  const adapter::Adapter single = run(settings("single"));
  EXPECT_EQ(mixed.covariance_fingerprints.size(), 2u);
  const std::string module = "model.layers.1.mlp.up_proj";
  const auto& a = mixed.layers.at(module);
  const auto& b = single.layers.at(module);
  EXPECT_TRUE(at::allclose(at::mm(a.b0, a.a0), at::mm(b.b0, b.a0), 1e-4, 1e-6));
  // The mean trace is twice the first one's: B0 grows by sqrt(2), A0 shrinks by it.
  EXPECT_TRUE(at::allclose(a.b0, b.b0 * std::sqrt(2.0), 1e-4, 1e-6));
  EXPECT_EQ(mixed.reports.at(module).tokens, 2 * kTokens);
}

TEST_F(Decompose, DualIsAFrozenLoraOfRankRSharedByTheLayersOfASite) {
  DecomposeSettings s = settings();
  s.mode = "dual";
  s.task_covariance = write_covariance(scratch_.path() / "task", model_, 900).string();
  const adapter::Adapter found = run(s);
  EXPECT_FALSE(found.train_a);
  EXPECT_EQ(core::read_json(fs::path(s.out) / "adapter_config.json")["r"], 3);
  const auto& q = found.layers.at("model.layers.0.self_attn.q_proj");
  EXPECT_FALSE(q.subtracts_start());
  EXPECT_EQ(q.b.abs().max().item<float>(), 0.0f);
  EXPECT_TRUE(at::equal(q.a, found.layers.at("model.layers.0.self_attn.v_proj").a));
  EXPECT_TRUE(at::allclose(q.a.norm(2, 1), at::full({3}, 1 / std::sqrt(3.0)), 1e-6));
  // Each row solves C_task a = l C_know~ a with the l of the report.
  const at::Tensor task = io::CovarianceReader(s.task_covariance)
                              .load("model.layers.0.self_attn.input")
                              .to(at::kDouble);
  at::Tensor know =
      io::CovarianceReader(covariance_).load("model.layers.0.self_attn.input").to(at::kDouble);
  know = know + 0.01 * know.diagonal().mean() * at::eye(kHidden, at::kDouble);
  double sum = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    const at::Tensor a = q.a[i].to(at::kDouble);
    const double l = (at::dot(a, at::mv(task, a)) / at::dot(a, at::mv(know, a))).item<double>();
    EXPECT_LT(at::linalg_norm(at::mv(task, a) - l * at::mv(know, a)).item<double>(),
              1e-4 * at::linalg_norm(at::mv(task, a)).item<double>());
    sum += l;
  }
  EXPECT_NEAR(found.reports.at("model.layers.0.self_attn.q_proj").energy, sum, 1e-5 * sum);
}

TEST_F(Decompose, PissaNeedsNoCovariance) {
  DecomposeSettings s = settings();
  s.covariance.clear();
  s.method = "pissa";
  s.target_modules = {"q_proj"};
  const adapter::Adapter found = run(s);
  EXPECT_EQ(found.method, "pissa");
  EXPECT_EQ(found.mode, "");
  ASSERT_EQ(found.layers.size(), 2u);
  const std::string module = "model.layers.0.self_attn.q_proj";
  const auto [u, sigma, vh] = at::linalg_svd(weight(module), false);
  const at::Tensor best = at::mm(u.narrow(1, 0, 3) * sigma.narrow(0, 0, 3), vh.narrow(0, 0, 3));
  const auto& layer = found.layers.at(module);
  EXPECT_LT((at::mm(layer.b0, layer.a0).to(at::kDouble) - best).abs().max().item<double>(), 1e-5);
}

class Messages : public core::Reporter {
 public:
  void log(core::LogLevel level, std::string_view message) override {
    (level == core::LogLevel::kWarning ? warnings : infos).emplace_back(message);
  }
  std::vector<std::string> warnings;
  std::vector<std::string> infos;
};

// The warning is one line for all sites, and comes before the work, since nothing has to be
// computed to know it.
TEST_F(Decompose, SitesThatSawFewerTokensThanTheyHaveFeaturesAreOneWarning) {
  DecomposeSettings s = settings();
  s.covariance = {write_covariance(scratch_.path() / "few", model_, 100, 1, 15).string()};
  Messages messages;
  decompose::decompose(s, messages);
  EXPECT_THAT(messages.warnings,
              ElementsAre("the covariances of 2 of 8 inputs saw fewer tokens than the input has "
                          "features (model.layers.0.mlp.down_proj.input: 15 of 20), so directions "
                          "that no token showed are told apart by the damping alone; calibrate on "
                          "more text"));
  s = settings("dual");
  s.mode = "dual";
  s.task_covariance = write_covariance(scratch_.path() / "task", model_, 900, 1, 10).string();
  Messages dual;
  decompose::decompose(s, dual);
  ASSERT_EQ(dual.warnings.size(), 1U);
  EXPECT_THAT(dual.warnings[0], StartsWith("the task's covariances of 8 of 8 inputs saw fewer"));
}

// The other facts stand in corda.json, a layer each.
TEST_F(Decompose, TheNumberOfLinesDoesNotGrowWithTheLayers) {
  Messages messages;
  decompose::decompose(settings(), messages);
  EXPECT_THAT(messages.infos, ElementsAre("decomposing 14 layers on cpu, rank 3"));
  EXPECT_THAT(messages.warnings, IsEmpty());
}

TEST_F(Decompose, RankDeficientWeightWarnsAndHasNoNaN) {
  auto file = io::SafetensorsFile(model_ / "model.safetensors");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, info] : file.tensors())
    tensors.emplace_back(name, io::view_tensor(file, name).clone());
  for (auto& [name, tensor] : tensors) {
    if (name == "model.layers.0.self_attn.q_proj.weight") tensor.narrow(0, 4, 2).zero_();
  }
  fs::create_directories(scratch_.path() / "deficient");
  io::save_tensors(scratch_.path() / "deficient" / "model.safetensors", tensors);
  write_config(scratch_.path() / "deficient", kHidden, 2, /*heads=*/3);
  DecomposeSettings s = settings();
  s.model = (scratch_.path() / "deficient").string();
  s.covariance = {write_covariance(scratch_.path() / "cov2", s.model).string()};
  Messages messages;
  decompose::decompose(s, messages);
  EXPECT_THAT(messages.warnings,
              ElementsAre("1 of 14 layers have a weight of too low a rank: 2 of their components "
                          "have no weight, start at zero and cannot learn (2 of 3 of "
                          "model.layers.0.self_attn.q_proj)"));
  const core::Json layers = core::read_json(fs::path(s.out) / "corda.json")["layers"];
  EXPECT_EQ(layers["model.layers.0.self_attn.q_proj"]["without_weight"], 2);
  EXPECT_FALSE(layers["model.layers.0.self_attn.k_proj"].contains("without_weight"));
  for (const auto& [module, layer] : adapter::read_adapter(s.out).layers) {
    EXPECT_TRUE(layer.a0.isfinite().all().item<bool>() && layer.b0.isfinite().all().item<bool>())
        << module;
  }
}

TEST_F(Decompose, WrongRequestsSayWhatToDo) {
  DecomposeSettings s = settings();
  s.rank = 13;
  EXPECT_THAT(
      failure<core::ConfigError>(s),
      HasSubstr("--rank 13 is larger than 'model.layers.0.self_attn.q_proj' allows: its weight is "
                "[12, 12]; set it to at most 12 or leave such layers out of "
                "--target-modules"));
  s = settings();
  s.target_modules = {"q_porj"};
  EXPECT_THAT(failure<core::ConfigError>(s),
              HasSubstr("is named 'q_porj' (did you mean 'q_proj'?)"));
  s = settings();
  s.target_modules = {"embed_tokens"};
  EXPECT_THAT(failure<core::ConfigError>(s),
              HasSubstr("is named 'embed_tokens'; they end in q_proj"));
  s = settings();
  s.covariance.clear();
  EXPECT_THAT(failure<core::ConfigError>(s),
              HasSubstr("mode kpa needs --covariance: a directory made by corda calibrate, or "
                        "--data: text to calibrate on"));
  s = settings();
  s.mode = "dual";
  EXPECT_THAT(failure<core::ConfigError>(s), HasSubstr("mode dual needs --task-covariance"));
  s = settings();
  s.method = "pissa";
  EXPECT_THAT(failure<core::ConfigError>(s), HasSubstr("method pissa uses no covariance"));
  s = settings();
  s.device = "gpu";
  EXPECT_THAT(failure<core::ConfigError>(s), HasSubstr("'device' must be auto"));
  // Settings that come from C++ and not through a list are held to the same choices and ranges.
  s = settings();
  s.mode = "KPA";
  s.damping = -1;
  EXPECT_EQ(failure<core::ConfigError>(s),
            "'mode' must be one of kpa, ipa, dual, null, sc, eva, milora, mica, cloq; it is 'KPA'\n"
            "'damping' must lie between 1e-12 and 1e+06; it is -1");
  s = settings();
  s.activation_scaling = "Reference";
  EXPECT_THAT(failure<core::ConfigError>(s),
              HasSubstr("'activation_scaling' must be one of auto, reference, none"));
  s = settings();
  s.model = write_model(scratch_.path() / "other", 77).string();
  EXPECT_THAT(failure<core::ConfigError>(s), HasSubstr("was collected on another model"));
  s = settings("model");  // an output that is there already
  EXPECT_THAT(failure<core::ConfigError>(s), HasSubstr("already exists and is not empty"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "adapter")) << "a failed run leaves nothing behind";
}

TEST_F(Decompose, CovarianceWithNaNNamesTheSite) {
  DecomposeSettings s = settings();
  s.covariance = {write_covariance_with(std::nan(""), "model.layers.1.mlp.input").string()};
  EXPECT_THAT(failure<core::NumericalError>(s),
              HasSubstr("model.layers.1.mlp.input: the covariance [12, 12] must be finite"));
}

// A sum of squares is not below zero. Neither a mean over the diagonal nor another covariance that
// is mixed in hides it.
TEST_F(Decompose, ANegativeNumberOnTheDiagonalIsRefusedInEveryModeAndNamesTheSite) {
  const std::string site = "model.layers.1.mlp.input";
  const std::string wrong = write_covariance_with(-100, site).string();
  const std::string sound = covariance_.string();
  struct Case {
    const char* mode;
    std::vector<std::string> covariance;
    std::string task;
    const char* message;
  };
  for (const Case& c :
       std::vector<Case>{{"kpa", {wrong}, "", ": the covariance [12, 12] must be finite"},
                         {"ipa", {wrong}, "", ": the covariance [12, 12] must be finite"},
                         {"ipa", {sound, wrong}, "", ": a covariance cannot be mixed"},
                         {"dual", {wrong}, sound, ": the covariance [12, 12] must be finite"},
                         {"dual", {sound}, wrong, ": the task covariance [12, 12] must be finite"},
                         {"sc", {wrong}, sound, ": the covariance [12, 12] must be finite"},
                         {"sc", {sound}, wrong, ": the task covariance [12, 12] must be finite"},
                         {"null", {wrong}, "", ": the covariance [12, 12] must be finite"},
                         {"eva", {wrong}, "", ": the covariance [12, 12] must be finite"},
                         {"cloq", {wrong}, "", ": the covariance [12, 12] must be finite"}}) {
    DecomposeSettings s = settings(core::concat(c.mode, c.covariance.size(), c.task.size()));
    s.mode = c.mode;
    s.covariance = c.covariance;
    s.task_covariance = c.task;
    EXPECT_THAT(failure<core::NumericalError>(s),
                ::testing::AllOf(::testing::StartsWith(site), HasSubstr(c.message)))
        << c.mode;
  }
}

TEST_F(Decompose, AWeightThatIsNotFiniteNamesItsLayerInEveryModeThatReadsIt) {
  const std::string module = "model.layers.1.mlp.up_proj";
  for (const double wrong : {std::nan(""), static_cast<double>(INFINITY)}) {
    const fs::path model = scratch_.path() / core::concat("with", wrong);
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    const io::SafetensorsFile file(model_ / "model.safetensors");
    for (const auto& [name, info] : file.tensors()) {
      tensors.emplace_back(name, io::view_tensor(file, name).clone());
      if (name == module + ".weight") tensors.back().second[3][4] = wrong;
    }
    fs::create_directories(model);
    io::save_tensors(model / "model.safetensors", tensors);
    write_config(model, kHidden, 2, /*heads=*/3);
    const fs::path cov = write_covariance(scratch_.path() / core::concat("cov-with", wrong), model);
    for (const std::string mode : {"kpa", "ipa", "null", "sc", "milora", "mica", "cloq", "pissa"}) {
      DecomposeSettings s = settings(core::concat(mode, wrong));
      s.model = model.string();
      s.covariance = {cov.string()};
      set_mode(s, mode, cov.string());
      EXPECT_EQ(failure<core::NumericalError>(s),
                module + ": the weight [20, 12] holds a NaN or an infinity")
          << mode;
    }
  }
}

// PEFT's word for every linear layer of the blocks; the embedding is none.
TEST_F(Decompose, AllLinearTakesEveryLayerOfTheBlocks) {
  DecomposeSettings s = settings();
  s.target_modules = {"all-linear"};
  const adapter::Adapter found = run(s);
  EXPECT_EQ(found.layers.size(), 14U);
  DecomposeSettings read;
  settings_of(read).read(
      core::parse_yaml(core::read_file(fs::path(s.out) / "settings.resolved.yaml"), "settings"));
  EXPECT_THAT(read.target_modules,
              ::testing::UnorderedElementsAre("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj",
                                              "up_proj", "down_proj"));
  s = settings("mixed");
  s.target_modules = {"q_proj", "all-linear"};
  EXPECT_THAT(failure<core::ConfigError>(s),
              HasSubstr("--target-modules: 'all-linear' means every linear layer"));
}

TEST_F(Decompose, AWholeNameTakesOneLayer) {
  DecomposeSettings s = settings();
  s.target_modules = {"model.layers.1.self_attn.q_proj", "0.mlp.up_proj"};
  const adapter::Adapter found = run(s);
  ASSERT_EQ(found.layers.size(), 2U);
  EXPECT_TRUE(found.layers.contains("model.layers.1.self_attn.q_proj"));
  EXPECT_TRUE(found.layers.contains("model.layers.0.mlp.up_proj"));
}

// Runs that fail at a site keep the sites before it; a note without its tensors counts for nothing.
TEST_F(Decompose, NotesCountOnlyWithTheirTensors) {
  DecomposeSettings s = settings();
  s.covariance = {write_covariance_with(std::nan(""), "model.layers.1.mlp.input").string()};
  const fs::path work = s.out + ".work";
  const auto infos = [&] {
    Messages messages;
    EXPECT_THROW(decompose::decompose(s, messages), core::NumericalError);
    return messages.infos;
  };
  const auto going_on = ::testing::Contains(HasSubstr("going on after 11 of 14 layers"));
  EXPECT_THAT(infos(), ::testing::Not(going_on));
  EXPECT_THAT(infos(), going_on);
  fs::resize_file(work / "adapter_model.safetensors", 100);
  EXPECT_THAT(infos(), ::testing::Not(going_on));
  EXPECT_THAT(infos(), going_on);
  std::ofstream(work / "model.layers.0.mlp.input.json") << "{";
  core::Reporter quiet;
  EXPECT_THAT(error_of<core::FormatError>([&] { decompose::decompose(s, quiet); }),
              HasSubstr(core::concat("; remove '", work.string(), "' and run again")));
}

TEST_F(Decompose, QuantisedWeightsAreRefused) {
  const std::string weight = "model.layers.0.self_attn.q_proj.weight";
  const fs::path model = write_model(scratch_.path() / "quantised");
  for (const at::ScalarType type : {at::kChar, at::kFloat8_e4m3fn}) {
    auto tensors = model_tensors(kHidden, 2, 1);
    for (auto& [name, tensor] : tensors) {
      if (name == weight) tensor = tensor.to(type);
    }
    io::save_tensors(model / "model.safetensors", tensors);
    DecomposeSettings s = settings();
    s.model = model.string();
    s.method = "pissa";
    s.covariance.clear();
    EXPECT_THAT(failure<core::FormatError>(s),
                ::testing::AllOf(StartsWith(core::concat("'", weight, "' is ")),
                                 HasSubstr(", a quantised weight; give the model in")));
  }
}

// The names of modules become names of files in the work directory; they are the description's, and
// what else the file holds is not looked at.
TEST_F(Decompose, AModuleThatCannotNameAFileIsNone) {
  const fs::path model = write_model(scratch_.path() / "hostile");
  auto tensors = model_tensors(kHidden, 2, 1);
  tensors.emplace_back("model.layers.0/../x.q_proj.weight", random_tensor({8, 8}, 1));
  io::save_tensors(model / "model.safetensors", tensors);
  DecomposeSettings s = settings();
  s.model = model.string();
  s.method = "pissa";
  s.covariance.clear();
  EXPECT_EQ(run(s).layers.size(), 14U);
}

// One layer of 512 x 512, large enough for the fast route, whose weight has the given rank.
class LargeLayer : public ::testing::Test {
 protected:
  DecomposeResult run(std::int64_t rank, bool exact = false, const std::string& mode = "kpa") {
    const std::string module = "model.layers.0.self_attn.q_proj";
    const fs::path model = scratch_.path() / "model";
    for (const char* old : {"model", "cov", "task", "out"}) fs::remove_all(scratch_.path() / old);
    fs::create_directories(model);
    // Products of whole numbers, which are not rounded: the rank is exact.
    const auto factor = [](std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
      return random_tensor({rows, columns}, seed).mul(8).round();
    };
    auto tensors = model_tensors(512, 1, 5);
    for (auto& [name, tensor] : tensors) {
      if (name == module + ".weight") tensor = at::mm(factor(512, rank, 1), factor(rank, 512, 2));
    }
    io::save_tensors(model / "model.safetensors", tensors);
    write_config(model, 512, 1, /*heads=*/4);
    for (const auto& [name, seed] : {std::pair("cov", 3), std::pair("task", 4)}) {
      io::CovarianceWriter writer(scratch_.path() / name, io::CovarianceStorage::kFull);
      const at::Tensor x = random_tensor({700, 512}, static_cast<std::uint64_t>(seed));
      writer.add("model.layers.0.self_attn.input", {module}, 700, at::mm(x.t(), x));
      io::CovarianceManifest manifest;
      manifest.model = io::Checkpoint(model).fingerprint();
      writer.finish(manifest);
    }
    DecomposeSettings s;
    s.model = model.string();
    s.covariance = {(scratch_.path() / "cov").string()};
    set_mode(s, mode, (scratch_.path() / "task").string());
    s.target_modules = {"q_proj"};
    s.rank = 4;
    s.exact = exact;
    s.device = "cpu";
    s.out = (scratch_.path() / "out").string();
    core::Reporter silent;
    return decompose(s, silent);
  }
  core::Json notes() const {
    return core::read_json(scratch_.path() / "out" / "corda.json")["layers"].begin().value();
  }

  TemporaryDirectory scratch_;
};

TEST_F(LargeLayer, ProvedBoundIsRecorded) {
  const DecomposeResult result = run(512);
  EXPECT_EQ(result.layers_redone, 0);
  EXPECT_GT(result.worst_bound, 1);
  EXPECT_LE(result.worst_bound, linalg::kSmallestBound);
  EXPECT_THAT(notes()["route"].get<std::string>(), HasSubstr("chebyshev"));
  EXPECT_EQ(notes()["bound"].get<double>(), result.worst_bound);
  EXPECT_FALSE(notes().contains("refused"));
}

TEST_F(LargeLayer, RankDeficientOneIsRedoneCountedAndRecorded) {
  const DecomposeResult result = run(400);
  EXPECT_EQ(result.layers_redone, 1);
  EXPECT_EQ(result.worst_bound, 1);
  EXPECT_EQ(notes()["route"].get<std::string>(), "svd");
  EXPECT_NE(notes()["refused"].get<std::string>(), "");
}

// Rank 2 where the adapter takes 4, by the fast route and by the exact one.
TEST_F(LargeLayer, AWeightOfLowerRankThanTheAdapterEndsWellInEveryMode) {
  for (const std::string mode :
       {"kpa", "ipa", "dual", "null", "sc", "eva", "milora", "mica", "cloq", "pissa"}) {
    for (const bool exact : {false, true}) {
      SCOPED_TRACE(core::concat(mode, exact ? " exact" : ""));
      const DecomposeResult result = run(2, exact, mode);
      EXPECT_GE(result.energy_share, 0);
      EXPECT_LE(result.energy_share, 1);
      const adapter::LayerReport& report = result.reports.begin()->second;
      EXPECT_TRUE(std::isfinite(report.energy) && std::isfinite(report.total_energy));
      if (mode == "ipa" || mode == "pissa") {
        EXPECT_NEAR(result.energy_share, 1, 1e-6);
        EXPECT_EQ(report.without_weight, 2);
      }
      if (mode == "kpa") {
        EXPECT_NEAR(result.energy_share, 0, 1e-12);
        EXPECT_EQ(report.without_weight, 4);
      }
      const adapter::Adapter found = adapter::read_adapter(scratch_.path() / "out");
      for (const auto& [module, layer] : found.layers) {
        EXPECT_TRUE(layer.a.isfinite().all().item<bool>() && layer.b.isfinite().all().item<bool>());
      }
    }
  }
}

TEST_F(LargeLayer, ExactTakesTheExactRouteWithoutCountingIt) {
  for (const std::string mode : {"kpa", "ipa", "dual", "eva"}) {
    SCOPED_TRACE(mode);
    run(512, /*exact=*/false, mode);
    EXPECT_THAT(notes()["route"].get<std::string>(), HasSubstr("chebyshev"));
    const DecomposeResult result = run(512, /*exact=*/true, mode);
    EXPECT_EQ(result.layers_redone, 0);
    EXPECT_EQ(result.worst_bound, 1);
    EXPECT_EQ(notes()["route"].get<std::string>(), mode == "dual"  ? "cholesky-eigh"
                                                   : mode == "eva" ? "eigh"
                                                                   : "svd");
  }
}

}  // namespace
}  // namespace corda::decompose
