// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A rehearsal on the CPU: the same code as on a GPU, where kernels are loaded by it.
#include "train/rehearsal.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "corda/core/file.h"
#include "corda/core/random.h"
#include "corda/train/optimizer.h"
#include "support/temporary_directory.h"
#include "tiny_lora.h"
#include "train/low_rank_pass.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;

// The names of ATen's operators that run while it lives.
class Operators {
 public:
  Operators() {
    seen().clear();
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& function)
                                       -> std::unique_ptr<at::ObserverContext> {
          seen().insert(function.name());
          return nullptr;
        }).scopes({at::RecordScope::FUNCTION}));
  }
  Operators(const Operators&) = delete;
  Operators& operator=(const Operators&) = delete;
  ~Operators() { at::removeCallback(handle_); }
  static std::set<std::string>& seen() {
    static std::set<std::string> names;
    return names;
  }

 private:
  at::CallbackHandle handle_;
};

class Rehearsal : public ::testing::Test {
 protected:
  TrainSettings settings() const {
    TrainSettings s;
    s.method = "lora";
    s.lora.rank = 4;
    s.optim.micro_batch_tokens = 96;
    s.tuning_cache = (folder_.path() / "tuning").string();
    return s;
  }
  model::Model tiny() const { return corda::testing::load_tiny_lora(folder_.path() / "model"); }
  // A step of training as it is done in earnest, on a model that was loaded.
  static void take_step(model::Model& model) {
    std::vector<std::pair<std::string, at::Tensor>> factors;
    for (model::Linear* linear : model.linear_layers()) {
      factors.emplace_back(linear->name + ".a", linear->low_rank->a);
      factors.emplace_back(linear->name + ".b", linear->low_rank->b);
    }
    AdamW optimizer(factors, {});
    const auto pass = make_low_rank_pass(model, {.tokens = 128});
    data::PackedBatch batch;
    core::Random random(7);
    for (const std::size_t length : {20, 31}) {
      data::Sample sample;
      for (std::size_t i = 0; i < length; ++i)
        sample.ids.push_back(static_cast<data::TokenId>(random.below(90)));
      sample.supervised.assign(length, 1);
      data::append(batch, sample);
    }
    const Operators operators;
    pass->begin_step();
    pass->run(batch, 0.1).item<double>();
    optimizer.step(1e-3, 1.0).item<double>();
    optimizer.clear_gradients();
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(Rehearsal, LossIsTheLogarithmOfTheVocabularyAndNothingHasAGradient) {
  const model::Model model = tiny();
  const Rehearsed found = rehearse(settings(), model.config, at::kCPU);
  EXPECT_NEAR(found.loss, std::log(static_cast<double>(model.config.vocab_size)), 1e-5);
  EXPECT_EQ(found.grad_norm, 0);
}

// An operator that only a real step runs would be loaded there.
TEST_F(Rehearsal, RunsEveryOperatorOfAStep) {
  model::Model model = tiny();
  take_step(model);
  const std::set<std::string> of_step = Operators::seen();
  EXPECT_GT(of_step.size(), 10U);
  {
    const Operators operators;
    rehearse(settings(), model.config, at::kCPU);
  }
  for (const std::string& name : of_step) EXPECT_EQ(Operators::seen().count(name), 1U) << name;
}

TEST_F(Rehearsal, LeavesGeneratorsFilesAndTheDescriptionAsTheyWere) {
  const model::Model model = tiny();
  const auto drawn = [&](bool rehearses) {
    at::manual_seed(5);
    if (rehearses) rehearse(settings(), model.config, at::kCPU);
    return at::rand({16});
  };
  EXPECT_TRUE(at::equal(drawn(false), drawn(true)));
  EXPECT_FALSE(fs::exists(settings().tuning_cache));
  EXPECT_EQ(model.config.num_layers(), 2);
}

TEST_F(Rehearsal, ACpuHasNone) { EXPECT_FALSE(rehearsal_of(settings(), tiny().config, at::kCPU)); }

}  // namespace
}  // namespace corda::train
