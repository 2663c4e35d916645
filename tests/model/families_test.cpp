// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Every model family against transformers (scripts/golden/families.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/model/forward.h"
#include "corda/model/generate.h"
#include "support/family_goldens.h"

namespace corda::model {
namespace {

using Ids = std::vector<std::int32_t>;
using Shapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

// Logits [tokens, vocab] of sequences laid end to end, fp32.
at::Tensor logits_of_sequences(const Model& model, const std::vector<Ids>& ids) {
  const at::NoGradGuard no_grad;
  const Batch batch = testing::batch_of(model, ids);
  PackedAttention attention(batch);
  return logits_of(model, forward_hidden(model, batch, attention)).to(at::kFloat);
}

double relative_difference(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

class Family : public ::testing::TestWithParam<std::string> {
 protected:
  // The golden logits, a row for each of their positions.
  at::Tensor golden_logits() const {
    std::vector<at::Tensor> rows;
    for (const auto& sequence : golden_.expected().at("logits")) {
      for (const auto& row : sequence) rows.push_back(at::tensor(row.get<std::vector<float>>()));
    }
    return at::stack(rows);
  }

  // The same rows of logits of all sequences.
  at::Tensor at_golden_positions(const at::Tensor& logits) const {
    std::vector<std::int64_t> rows;
    std::int64_t start = 0;
    const auto& positions = golden_.expected().at("positions");
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      for (const auto& position : positions.at(i))
        rows.push_back(start + position.get<std::int64_t>());
      start += static_cast<std::int64_t>(ids_[i].size());
    }
    return logits.index_select(0, at::tensor(rows, at::kLong));
  }

  // Mean log-likelihood of the tokens of each sequence after the first.
  std::vector<double> mean_log_likelihoods(const at::Tensor& logits) const {
    std::vector<double> result;
    std::int64_t start = 0;
    for (const Ids& sequence : ids_) {
      const auto length = static_cast<std::int64_t>(sequence.size());
      const std::vector<std::int64_t> targets(sequence.begin() + 1, sequence.end());
      const at::Tensor likelihoods =
          logits.narrow(0, start, length - 1).to(at::kDouble).log_softmax(1);
      result.push_back(
          likelihoods.gather(1, at::tensor(targets, at::kLong).unsqueeze(1)).mean().item<double>());
      start += length;
    }
    return result;
  }

  void expect_generates(const Model& model, const char* key) const {
    const core::Json& golden = golden_.expected().at(key);
    const auto generated =
        generate(model, golden.at("prompts").get<std::vector<Ids>>(),
                 {.max_new_tokens = golden.at("max_new_tokens").get<std::int64_t>(),
                  .stop_ids = {},
                  .stop_when = {}});
    EXPECT_EQ(generated, golden.at("outputs").get<std::vector<Ids>>());
  }

  const testing::FamilyGolden golden_{GetParam()};
  const std::vector<Ids> ids_ = golden_.ids();
};

// A model that is the whole of its checkpoint.
class FamilyTensors : public Family {};

TEST_P(FamilyTensors, AreThoseThatTransformersWrites) {
  const core::Json& golden = golden_.expected().at("tensors");
  const Shapes& there = golden_.tensors();
  const std::map<std::string, std::vector<std::int64_t>> sorted(there.begin(), there.end());
  std::string lines;
  for (const auto& [name, shape] : sorted) {
    lines += name + " ";
    for (std::size_t i = 0; i < shape.size(); ++i)
      lines += (i > 0 ? "," : "") + std::to_string(shape[i]);
    lines += '\n';
  }
  EXPECT_EQ(there.size(), golden.at("count").get<std::size_t>());
  EXPECT_EQ(testing::fnv1a(lines), golden.at("fnv1a").get<std::uint32_t>()) << lines;
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyTensors,
                         ::testing::ValuesIn(testing::family_goldens("prefixes", false)),
                         [](const auto& tested) { return testing::test_name(tested.param); });

TEST_P(Family, LogitsOfPackedSequencesMatchTransformers) {
  const at::Tensor expected = golden_logits();
  const auto likelihoods = golden_.expected().at("mean_log_likelihood").get<std::vector<double>>();
  for (std::size_t spelling = 0; spelling < golden_.spellings(); ++spelling) {
    const Model model = golden_.load({}, spelling);
    const at::Tensor logits = logits_of_sequences(model, ids_);
    // fp32 is within 2e-6 of fp64 (the manifest records it).
    EXPECT_LT(relative_difference(at_golden_positions(logits), expected), 1e-4);
    const std::vector<double> found = mean_log_likelihoods(logits);
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], likelihoods.at(i), 1e-4) << "sequence " << i;
  }
}

TEST_P(Family, ASequenceAloneGivesWhatItGivesAmongOthers) {
  const Model model = golden_.load();
  std::vector<at::Tensor> alone;
  for (const Ids& sequence : ids_) alone.push_back(logits_of_sequences(model, {sequence}));
  EXPECT_LT(relative_difference(logits_of_sequences(model, ids_), at::cat(alone)), 1e-5);
}

TEST_P(Family, GreedyContinuationsMatchTransformers) {
  expect_generates(golden_.load(), "generate");
}

TEST_P(Family, InBf16TheLogitsAreAsCloseAsThoseOfTransformers) {
  const Model model = golden_.load({.weights = at::kBFloat16, .compute = at::kBFloat16});
  const at::Tensor error = at_golden_positions(logits_of_sequences(model, ids_)) - golden_logits();
  const core::Json& theirs = golden_.expected().at("bf16");
  // Roundings fall at random: 512 logits fix the mean square to some percent, the largest less so.
  EXPECT_LE(std::sqrt(error.square().mean().item<double>()),
            1.5 * theirs.at("rms").get<double>() + 1e-3);
  EXPECT_LE(error.abs().max().item<double>(), 3 * theirs.at("max").get<double>() + 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Goldens, Family, ::testing::ValuesIn(testing::family_goldens()),
                         [](const auto& tested) { return testing::test_name(tested.param); });

// Generation goes from short factors to long ones on the way, though the cached keys were turned by
// the former.
class FamilyAcross : public Family {};

TEST_P(FamilyAcross, GreedyContinuationsMatchTransformersWhereTheRotationChanges) {
  expect_generates(golden_.load(), "generate_across");
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyAcross,
                         ::testing::ValuesIn(testing::family_goldens("generate_across")),
                         [](const auto& tested) { return testing::test_name(tested.param); });

// A model inside a model that also sees.
class FamilyInside : public Family {};

TEST_P(FamilyInside, EveryTensorIsFoundUnderBothPrefixes) {
  for (std::size_t spelling = 0; spelling < golden_.spellings(); ++spelling) {
    const auto directory = golden_.directory(spelling);
    const io::Checkpoint checkpoint(directory);
    const ModelDescription config = read_model_config(directory);
    const auto prefix = golden_.expected().at("prefixes").at(spelling).get<std::string>();
    std::size_t inside = 0;
    for (const auto& [name, shape] : expected_tensors(config)) {
      const std::string on_disk = checkpoint.stored_name(name);
      ASSERT_TRUE(checkpoint.contains(on_disk)) << name << " should be " << on_disk;
      EXPECT_EQ(checkpoint.info(on_disk).shape, shape) << name;
      if (on_disk.starts_with(prefix)) ++inside;
    }
    EXPECT_EQ(inside + (config.tied ? 0U : 1U), expected_tensors(config).size());
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyInside,
                         ::testing::ValuesIn(testing::family_goldens("prefixes")),
                         [](const auto& tested) { return testing::test_name(tested.param); });

TEST(Families, EveryGoldenIsTested) {
  EXPECT_EQ(testing::family_goldens().size(), 62U);
  EXPECT_EQ(testing::family_goldens("same_as").size(), 16U);
  EXPECT_EQ(testing::family_goldens("prefixes").size(), 5U);
  EXPECT_EQ(testing::family_goldens("generate_across").size(), 2U);
}

}  // namespace
}  // namespace corda::model
