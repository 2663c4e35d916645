// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run does, and says, where memory runs out.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "core/json.h"
#include "small_run.h"
#include "support/error_of.h"
#include "train/memory_advice.h"
#include "train/run.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using ::corda::testing::error_of;
using ::testing::HasSubstr;

// Memory runs out in the forward pass number `last` + 1, after half of its work.
class Exhausted final : public GradientPass {
 public:
  Exhausted(std::unique_ptr<GradientPass> pass, int last)
      : GradientPass(pass->model()), pass_(std::move(pass)), left_(last) {}
  void begin_step() override { pass_->begin_step(); }
  void run_nothing() override { pass_->run_nothing(); }
  at::Tensor run(const data::PackedBatch& batch, double scale, const BlockDone& done) override {
    at::Tensor loss = pass_->run(batch, scale, done);
    if (left_-- == 0) throw c10::OutOfMemoryError({}, "CUDA out of memory.\nand a backtrace");
    return loss;
  }
  std::string describe() const override { return pass_->describe(); }

 private:
  std::unique_ptr<GradientPass> pass_;
  int left_;
};

PassChooser exhausted_after(int passes) {
  return [passes](const TrainSettings& settings, model::Model& model, const LargestBatches& largest,
                  core::Reporter& reporter, ShardedParameters* sharded) {
    ChosenPass chosen = choose_pass(settings, model, largest, reporter, sharded);
    chosen.pass = std::make_unique<Exhausted>(std::move(chosen.pass), passes);
    return chosen;
  };
}

// Gives CPU memory in pieces of at most so many bytes, as long as it lives.
class LimitedAllocator final : public c10::Allocator {
 public:
  explicit LimitedAllocator(std::size_t largest)
      : largest_(largest), base_(c10::GetCPUAllocator()) {
    c10::SetCPUAllocator(this, kPriority);
  }
  ~LimitedAllocator() override { c10::SetCPUAllocator(base_, kPriority); }
  LimitedAllocator(const LimitedAllocator&) = delete;
  LimitedAllocator& operator=(const LimitedAllocator&) = delete;

  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes > largest_) throw c10::OutOfMemoryError({}, "CUDA out of memory.\nand a backtrace");
    return base_->allocate(bytes);
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    base_->copy_data(to, from, bytes);
  }

 private:
  static constexpr std::uint8_t kPriority = 100;
  std::size_t largest_;
  c10::Allocator* base_;
};

class OutOfMemory : public testing::SmallRun {
 protected:
  // Each sample a micro-batch of its own.
  TrainSettings settings(const std::string& out) const {
    TrainSettings result = small_settings(out);
    result.data.packing = false;
    return result;
  }

  // Step and loss of every evaluation.
  static std::map<std::int64_t, double> evaluations_of(const TrainSettings& settings) {
    std::map<std::int64_t, double> result;
    std::ifstream file(fs::path(settings.out) / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
      const core::Json metrics = core::parse_json(line, "metrics.jsonl");
      if (metrics.contains("eval_loss"))
        result[metrics.at("step").get<std::int64_t>()] = metrics.at("eval_loss").get<double>();
    }
    return result;
  }
};

TEST_F(OutOfMemory, TheLastFinishedStepIsSavedAndGoesOnToTheSameBytes) {
  train(settings("whole"), false, reporter_);
  const TrainSettings parts = settings("parts");
  // The second micro-batch of the fourth step.
  const std::string error = error_of<core::ResourceError>([&] {
    run(parts, false, {reporter_, dist::alone(), exhausted_after(7)});
  });
  EXPECT_THAT(error, HasSubstr("memory ran out in step 4"));
  EXPECT_THAT(error, HasSubstr("the state after step 3 is saved; set recompute to block"));
  EXPECT_THAT(error, HasSubstr("(CUDA out of memory.)"));
  EXPECT_TRUE(fs::exists(fs::path(parts.out) / "checkpoints/step-3/state.json"));
  train(parts, true, reporter_);
  EXPECT_EQ(adapter_of(parts), adapter_of(settings("whole")));
}

TEST_F(OutOfMemory, InTheFirstStepThereIsNothingToSave) {
  const TrainSettings first = settings("first");
  const std::string error = error_of<core::ResourceError>([&] {
    run(first, false, {reporter_, dist::alone(), exhausted_after(0)});
  });
  EXPECT_THAT(error, HasSubstr("memory ran out in step 1"));
  EXPECT_THAT(error, HasSubstr("no step was finished"));
  EXPECT_FALSE(fs::exists(fs::path(first.out) / "checkpoints"));
}

// A sample of the evaluation is longer than those of a step, and its activations do not fit. With
// memory again the run goes on with that evaluation.
TEST_F(OutOfMemory, InAnEvaluationTheStepBeforeItIsSavedAndTheEvaluationMadeUpFor) {
  constexpr std::size_t kLargest = 400'000;  // a step's buffers take less, a long sample's more
  std::ofstream(folder_.path() / "eval.jsonl")
      << R"({"prompt": ")" << std::string(3000, 'a') << R"(", "completion": "b"})";
  for (const std::int64_t every : {3, 0}) {  // between steps, and behind the last
    const auto of = [&](const std::string& name) {
      TrainSettings result = settings(name + std::to_string(every));
      result.data.eval = {{.path = folder_.path() / "eval.jsonl"}};
      result.data.max_length = 4000;
      result.eval.every = every;
      return result;
    };
    train(of("whole"), false, reporter_);
    const TrainSettings parts = of("parts");
    std::string error;
    {
      const LimitedAllocator limit(kLargest);
      error = error_of<core::ResourceError>([&] { train(parts, false, reporter_); });
    }
    const std::string step = std::to_string(every == 0 ? 8 : every);
    EXPECT_THAT(error, HasSubstr("memory ran out in the evaluation after step " + step +
                                 ", in micro-batches of up to 3"));
    EXPECT_THAT(error, HasSubstr("the state after step " + step + " is saved; "));
    EXPECT_FALSE(fs::exists(fs::path(parts.out) / "adapter"));
    train(parts, true, reporter_);
    EXPECT_EQ(adapter_of(parts), adapter_of(of("whole")));
    EXPECT_EQ(evaluations_of(parts), evaluations_of(of("whole")));
    EXPECT_EQ(evaluations_of(parts).size(), every == 0 ? 1U : 3U);
  }
}

TEST(MemoryAdvice, NamesOnlyWhatHelpsAndWhatResumeAllows) {
  const at::Device kGpu = at::kCUDA;
  TrainSettings fused;
  fused.gradients = "fused";
  fused.recompute = "none";
  fused.offload = "false";
  EXPECT_EQ(memory_advice(fused, kGpu, 512, 8192),
            "lower optim.micro_batch_tokens or set recompute to block (--resume allows it), or "
            "start anew and lower data.max_length");
  fused.recompute = "block";
  EXPECT_EQ(memory_advice(fused, kGpu, 512, 512),  // one sample, which is never cut
            "set offload to true (--resume allows it), or start anew and lower data.max_length");
  EXPECT_EQ(memory_advice(fused, at::kCPU, 512, 512),  // which has nowhere to offload to
            "use a device with more free memory (--resume allows it), or start anew and lower "
            "data.max_length");
  TrainSettings dropout;
  dropout.gradients = "kernels";
  dropout.lora.dropout = 0.1;
  EXPECT_EQ(memory_advice(dropout, kGpu, 512, 8192),
            "use a device with more free memory (--resume allows it), or start anew and lower "
            "optim.micro_batch_tokens or lower data.max_length");
  dropout.method = "full";  // which has no adapter to drop from
  EXPECT_THAT(memory_advice(dropout, kGpu, 512, 8192),
              HasSubstr("lower optim.micro_batch_tokens (--resume allows it)"));
}

}  // namespace
}  // namespace corda::train
