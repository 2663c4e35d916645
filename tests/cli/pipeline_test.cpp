// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The whole job through the program, as a user types it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>

#include "cli/job.h"
#include "corda/core/file.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProcessResult;
using testing::run_corda;

using Pipeline = testing::Job;

TEST_F(Pipeline, EveryModeCalibratesDecomposesTrainsMergesAndEvaluates) {
  calibrate("facts.jsonl", "cov-facts");
  calibrate("task.jsonl", "cov-task");
  for (const std::string mode : {"kpa", "ipa", "dual", "null", "sc", "eva", "milora", "mica"}) {
    std::vector<std::string> decompose = {"decompose", "--model", base(),  "--mode",           mode,
                                          "--rank",    "4",       "--out", at("start-" + mode)};
    const bool alone = mode == "milora" || mode == "mica";
    const bool of_task = mode == "ipa" || mode == "eva";
    if (!alone)
      decompose.insert(decompose.end(), {"--covariance", at(of_task ? "cov-task" : "cov-facts")});
    if (mode == "dual" || mode == "sc")
      decompose.insert(decompose.end(), {"--task-covariance", at("cov-task")});
    const Json made = result_of(decompose);
    EXPECT_EQ(made.at("layers"), 14);
    // EVA shares ranks out.
    EXPECT_EQ(made.at("largest_rank").get<int>() > 4, mode == "eva") << made.dump();
    const int adapted = 14 - made.at("layers_without").get<int>();

    // At the start the adapter changes nothing: the same loss to the last digit.
    const std::vector<std::string> eval = {"eval",       "--model",        base(),
                                           "--data",     at("task.jsonl"), "--task",
                                           "perplexity", "--seq-len",      "200"};
    auto with_start = eval;
    with_start.insert(with_start.end(), {"--adapter", at("start-" + mode)});
    EXPECT_EQ(result_of(with_start).at("nll"), result_of(eval).at("nll")) << mode;

    write(mode + ".yaml", train_config("method: corda\nadapter: " + at("start-" + mode) +
                                       "\nout: " + at("run-" + mode)));
    const Json trained = result_of({"train", "--config", at(mode + ".yaml"), "--set",
                                    "optim.lr=1e-2", "--set", "optim.epochs=6"});
    EXPECT_EQ(trained.at("steps"), 18) << mode;
    const Json merged =
        result_of({"merge", "--model", base(), "--adapter", at("run-" + mode + "/adapter"), "--out",
                   at("merged-" + mode), "--verify"});
    EXPECT_EQ(merged.at("merged"), adapted) << mode;
    EXPECT_LT(merged.at("verify").at("relative_difference").get<double>(), 1e-4) << mode;

    auto with_adapter = eval;
    with_adapter.insert(with_adapter.end(), {"--adapter", at("run-" + mode + "/adapter")});
    auto of_merged = eval;
    of_merged[2] = at("merged-" + mode);
    const double adapter_nll = result_of(with_adapter).at("nll").get<double>();
    EXPECT_NEAR(adapter_nll, result_of(of_merged).at("nll").get<double>(), 1e-6) << mode;
    EXPECT_LT(adapter_nll, result_of(eval).at("nll").get<double>() - 0.05) << mode;
  }
}

// Mode cloq is for a base in codes: every verb that would put its adapter over another says so.
TEST_F(Pipeline, AStartThatMakesGoodWhatCodesLoseGoesThroughTheWholeJobOverThem) {
  calibrate("task.jsonl", "cov");
  result_of({"decompose", "--model", base(), "--mode", "cloq", "--rank", "16", "--covariance",
             at("cov"), "--out", at("start")});
  const auto eval = [&](const std::string& model, std::vector<std::string> more) {
    more.insert(more.begin(),
                {"eval", "--model", model, "--data", at("task.jsonl"), "--seq-len", "200"});
    return more;
  };
  const auto refused = [&](const std::vector<std::string>& command, const std::string& advice) {
    const ProcessResult result = run_corda(command);
    EXPECT_EQ(result.exit_code, 2) << command[0] << result.out;
    EXPECT_THAT(result.err, HasSubstr("makes good what the base loses in nf4, and over any other "
                                      "it adds an error; " +
                                      advice))
        << command[0];
  };
  refused(eval(base(), {"--adapter", at("start"), "--base", "bf16"}), "give --base nf4");
  // In 16 bits, in codes, and in codes beside the start, which is nearer to 16 bits.
  const double dense = result_of(eval(base(), {})).at("nll").get<double>();
  const double codes = result_of(eval(base(), {"--base", "nf4"})).at("nll").get<double>();
  const auto with_start = eval(base(), {"--base", "nf4", "--adapter", at("start")});
  const double corrected = result_of(with_start).at("nll").get<double>();
  EXPECT_EQ(result_of(eval(base(), {"--adapter", at("start")})).at("nll"), corrected)
      << "auto takes the adapter's";
  EXPECT_LT(std::abs(corrected - dense), 0.5 * std::abs(codes - dense));

  const std::string config =
      train_config("method: corda\nadapter: " + at("start") + "\nout: " + at("run"));
  write("wrong.yaml", config);
  refused({"train", "--config", at("wrong.yaml")}, "set base: nf4");
  write("right.yaml", config + "\nbase: nf4\n");
  EXPECT_EQ(result_of({"train", "--config", at("right.yaml"), "--set", "optim.lr=1e-2", "--set",
                       "optim.epochs=6"})
                .at("steps"),
            18);
  const std::vector<std::string> merge = {"merge",           "--model", base(),      "--adapter",
                                          at("run/adapter"), "--out",   at("merged")};
  refused(merge, "merge with --into quantised-base and --base nf4");
  auto into_codes = merge;
  into_codes.insert(into_codes.end(), {"--into", "quantised-base", "--verify"});
  const Json merged = result_of(into_codes);
  EXPECT_EQ(merged.at("merged"), 14);
  EXPECT_LT(merged.at("verify").at("relative_difference").get<double>(), 1e-4);
  const double trained =
      result_of(eval(base(), {"--base", "nf4", "--adapter", at("run/adapter")})).at("nll");
  EXPECT_NEAR(result_of(eval(at("merged"), {})).at("nll").get<double>(), trained, 1e-5);
  EXPECT_LT(trained, corrected - 0.05);
}

TEST_F(Pipeline, TheGaugeAndTheScalesOfARunAreRead) {
  calibrate("facts.jsonl", "cov");
  write("t.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  const Json trained = result_of({"train", "--config", at("t.yaml"), "--set", "optim.lr=1e-2",
                                  "--set", "gauge.covariance=" + at("cov")});
  const double gauge = trained.at("forgetting").get<double>();
  EXPECT_GT(gauge, 1e-3);
  const Json seen = result_of({"inspect", at("run"), "--covariance", at("cov")});
  EXPECT_NEAR(seen.at("result").at("forgetting").at("in_all").get<double>(), gauge, 1e-6 * gauge);
  EXPECT_EQ(seen.at("forgetting"), trained.at("forgetting"));  // of metrics.jsonl
  // What training wrote down by kind and layer is what the adapter's file says, and is reported.
  const std::string report = run_corda({"report", at("run"), "--format", "markdown"}).out;
  const std::string kinds =
      "| step | down\\_proj | gate\\_proj | up\\_proj | k\\_proj | o\\_proj | q\\_proj | v\\_proj "
      "|";
  EXPECT_THAT(report, HasSubstr("**Forgetting gauge F by kind of layer** (F)\n\n" + kinds));
  EXPECT_THAT(report, HasSubstr("**Forgetting gauge F of each layer after step "));
  std::map<std::string, double> layers;
  for (const Json& layer : seen.at("result").at("layers"))
    layers[layer.at("module")] = layer.at("forgetting");
  const Json written = core::parse_json(core::read_file(at("run/forgetting.json")), "forgetting");
  ASSERT_EQ(written.at("layers").size(), layers.size());
  for (const Json& layer : written.at("layers"))
    EXPECT_NEAR(layer.at("forgetting").get<double>(), layers.at(layer.at("module")), 1e-6 * gauge);
  const std::vector<std::string> merge = {"merge", "--model", base(), "--adapter",
                                          at("run/adapter")};
  auto half = merge;
  half.insert(half.end(), {"--scale", "0.5", "--out", at("half")});
  result_of(half);
  const Json shrunk =
      result_of({"inspect", at("half"), "--model", base(), "--covariance", at("cov")});
  EXPECT_NEAR(shrunk.at("forgetting").at("in_all").get<double>(), gauge / 2, 1e-4 * gauge);

  auto curve = merge;
  curve.insert(curve.end(),
               {"--scale", "0,0.5", "--data", at("task.jsonl"), "--data", at("facts.jsonl")});
  const Json points = result_of(curve).at("curve");
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[1].at("scale"), 0.5);
  const auto nll = [&](const std::string& model, const std::string& data) {
    return result_of({"eval", "--model", model, "--data", at(data)}).at("nll").get<double>();
  };
  EXPECT_NEAR(points[0].at("losses")[0].get<double>(), nll(base(), "task.jsonl"), 1e-5);
  EXPECT_NEAR(points[1].at("losses")[0].get<double>(), nll(at("half"), "task.jsonl"), 1e-5);
}

TEST_F(Pipeline, TheDefaultWindowIsRecordedAsWhatTheModelMadeOfIt) {
  result_of({"calibrate", "--model", base(), "--data", at("task.jsonl"), "--out", at("cov")});
  result_of({"decompose", "--model", base(), "--data", at("task.jsonl"), "--rank", "2", "--out",
             at("start")});
  for (const char* out : {"cov", "start"}) {
    EXPECT_THAT(core::read_file(path(out) / "settings.resolved.yaml"),
                HasSubstr("\nseq_len: 512\n"))
        << out;
  }
  const Json manifest = core::read_json(path("cov/manifest.json"));
  EXPECT_EQ(manifest.at("settings").at("seq_len"), 512);
}

TEST_F(Pipeline, LoraDoraPissaAndFullLowerTheLoss) {
  const double before =
      result_of({"eval", "--model", base(), "--data", at("task.jsonl"), "--seq-len", "200"})
          .at("nll")
          .get<double>();
  for (const std::string method : {"lora", "dora", "pissa", "full"}) {
    write(method + ".yaml",
          train_config("method: " + method + "\nlora: {rank: 4}\nout: " + at("run-" + method)));
    const Json trained =
        result_of({"train", "--config", at(method + ".yaml"), "--set", "optim.lr=3e-3"});
    EXPECT_TRUE(fs::exists(path("run-" + method) / (method == "full"
                                                        ? "model/model.safetensors"
                                                        : "adapter/adapter_model.safetensors")));
    std::vector<std::string> eval = {"eval",           "--model",   base(), "--data",
                                     at("task.jsonl"), "--seq-len", "200"};
    if (method == "full") {
      eval[2] = at("run-full/model");
    } else {
      eval.insert(eval.end(), {"--adapter", at("run-" + method + "/adapter")});
    }
    EXPECT_LT(result_of(eval).at("nll").get<double>(), before - 0.1) << method;
  }
}

TEST_F(Pipeline, MetricsAndResolvedConfigHoldWhatOthersRead) {
  write("lora.yaml",
        train_config("method: lora\nlora: {rank: 2}\neval: {every: 3}\nout: " + at("run")));
  const ProcessResult trained = run_corda({"train", "--config", at("lora.yaml")});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.err, ContainsRegex("train 6/6 steps .*[0-9] tok/s  [0-9]+ % supervised  "
                                         "[0-9.]+ GB"));
  std::ifstream file(path("run/metrics.jsonl"));
  std::string line;
  std::int64_t lines = 0;
  while (std::getline(file, line)) {
    const Json metrics = core::parse_json(line, "metrics.jsonl", ++lines);
    for (const char* key :
         {"step", "epoch", "loss", "lr", "grad_norm", "tokens", "supervised_tokens",
          "supervised_share", "tokens_per_second", "utilisation", "peak_memory_bytes"}) {
      EXPECT_TRUE(metrics.contains(key)) << key;
    }
    EXPECT_EQ(metrics.at("step"), lines);
    EXPECT_DOUBLE_EQ(
        metrics.at("supervised_share").get<double>() * metrics.at("tokens").get<double>(),
        metrics.at("supervised_tokens").get<double>());
    EXPECT_GT(metrics.at("tokens_per_second").get<double>(), 0);
    EXPECT_GT(metrics.at("peak_memory_bytes").get<std::int64_t>(), 1'000'000);
    EXPECT_EQ(metrics.contains("eval_loss"), lines % 3 == 0) << lines;
  }
  EXPECT_EQ(lines, 6);
  // The resolved configuration is a configuration: it is accepted and resolves to itself.
  const ProcessResult again = run_corda(
      {"train", "--config", at("run/config.resolved.yaml"), "--out", at("again"), "--dry-run"});
  std::string resolved = core::read_file(path("run/config.resolved.yaml"));
  const auto out = resolved.find("out: " + at("run") + "\n");
  ASSERT_NE(out, std::string::npos);
  resolved.replace(out, std::string::npos, "out: " + at("again") + "\n");
  EXPECT_EQ(again.out.substr(0, resolved.size()), resolved);
  EXPECT_TRUE(again.out.substr(resolved.size()).starts_with("# 6 steps of up to 8 samples"))
      << again.out;
}

TEST_F(Pipeline, AdapterAndMergedModelCarryACardThatTellsOfTheTraining) {
  write("base/README.md", "---\nlicense: mit\nbase_model: org/other\n---\n");
  write("card.yaml", train_config("method: lora\nlora: {rank: 4}\nout: " + at("card") + "\n"));
  result_of({"train", "--config", at("card.yaml")});
  result_of({"merge", "--model", base(), "--adapter", at("card/adapter"), "--out", at("merged")});
  for (const std::string name : {"card/adapter/README.md", "merged/README.md"}) {
    const std::string card = core::read_file(path(name));
    EXPECT_THAT(card, HasSubstr("\nlicense: mit\n")) << name;
    EXPECT_THAT(card, HasSubstr("| training data | `task.jsonl` |\n")) << name;
    EXPECT_THAT(card, HasSubstr("| steps | 6 |\n")) << name;
    EXPECT_THAT(card, HasSubstr(" after step 6 on `task.jsonl` |\n")) << name;
    EXPECT_THAT(card, Not(HasSubstr(path("base").parent_path().string()))) << name;
  }
  // Scores of a later evaluation go to the adapter, where one is given, and not to its base.
  result_of({"eval", "--model", base(), "--adapter", at("card/adapter"), "--data", at("task.jsonl"),
             "--seq-len", "200", "--card"});
  EXPECT_THAT(core::read_file(path("card/adapter/README.md")),
              HasSubstr("| perplexity | `task.jsonl` | "));
  EXPECT_THAT(core::read_file(path("base/README.md")), Not(HasSubstr("Scores")));
  EXPECT_THAT(core::read_file(path("merged/README.md")), Not(HasSubstr("Scores")));
}

TEST_F(Pipeline, Bf16TrainingKeepsAdapterAndOptimizerInFp32) {
  for (const std::string precision : {"bf16", "fp32"}) {
    write(precision + ".yaml",
          train_config("method: lora\nlora: {rank: 4}\nprecision: " + precision +
                       "\ncheckpoint: {every: 2}\nout: " + at(precision)));
    result_of({"train", "--config", at(precision + ".yaml")});
  }
  for (const char* file :
       {"adapter/adapter_model.safetensors", "checkpoints/step-4/state.safetensors"}) {
    const std::string bytes = core::read_file(path("bf16") / file);
    const std::string header = bytes.substr(8, bytes.find("}}"));
    EXPECT_THAT(header, HasSubstr("\"F32\"")) << file;
    EXPECT_THAT(header, ::testing::Not(HasSubstr("\"BF16\""))) << file;
  }
  const auto rounded = losses("bf16");
  const auto exact = losses("fp32");
  ASSERT_EQ(rounded.size(), exact.size());
  // A loss near log(257) from bf16 activations: relative errors of 2^-8 that average out.
  for (std::size_t i = 0; i < exact.size(); ++i)
    EXPECT_NEAR(rounded[i].first, exact[i].first, 0.02) << i;
  EXPECT_NE(rounded, exact);
}

TEST_F(Pipeline, EvaluationOfATrainingIsThatOfEval) {
  write("lora.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  const Json trained = result_of({"train", "--config", at("lora.yaml"), "--set", "optim.lr=1e-2",
                                  "--set", "data.eval=[" + at("task.jsonl") + "]"});
  const Json found = result_of({"eval", "--model", base(), "--adapter", at("run/adapter"), "--data",
                                at("task.jsonl"), "--seq-len", "200"});
  // The adapter folded into fp32 weights, and beside them.
  EXPECT_NEAR(trained.at("eval_loss").get<double>(), found.at("nll").get<double>(), 1e-5);
}

TEST_F(Pipeline, SameSeedSameBytesAndPackingDoesNotChangeTheLoss) {
  for (const std::string name : {"one", "two"}) {
    write(name + ".yaml", train_config("method: lora\nlora: {rank: 4}\nout: " + at(name)));
    result_of({"train", "--config", at(name + ".yaml")});
  }
  EXPECT_EQ(core::read_file(path("one/adapter/adapter_model.safetensors")),
            core::read_file(path("two/adapter/adapter_model.safetensors")));
  write("apart.yaml", train_config("method: lora\nlora: {rank: 4}\nout: " + at("apart")));
  const double packed =
      result_of({"train", "--config", at("one.yaml"), "--set", "out=" + at("packed")})
          .at("loss")
          .get<double>();
  const double apart =
      result_of({"train", "--config", at("apart.yaml"), "--set", "data.packing=false"})
          .at("loss")
          .get<double>();
  EXPECT_NEAR(packed, apart, 1e-5 * packed);
}

TEST_F(Pipeline, AnAdaptersOwnRankIsResolvedAndAConflictIsRefused) {
  calibrate("facts.jsonl", "cov");
  result_of({"decompose", "--model", base(), "--covariance", at("cov"), "--rank", "4", "--out",
             at("start")});
  write("t.yaml", train_config("method: corda\nadapter: " + at("start") + "\nout: " + at("run")));
  const ProcessResult refused =
      run_corda({"train", "--config", at("t.yaml"), "--set", "lora.rank=8"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("lora.rank is 8, but the adapter"));
  result_of({"train", "--config", at("t.yaml"), "--set", "optim.max_steps=1"});
  EXPECT_THAT(core::read_file(path("run/config.resolved.yaml")), HasSubstr("rank: 4"));
}

TEST_F(Pipeline, ADivergedRunWritesNoAdapter) {
  write("t.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  const ProcessResult diverged =
      run_corda({"train", "--config", at("t.yaml"), "--set", "optim.lr=10", "--set",
                 "optim.weight_decay=10", "--set", "optim.epochs=200"});
  EXPECT_EQ(diverged.exit_code, 4) << diverged.err;
  EXPECT_THAT(diverged.err, HasSubstr("lower optim.lr"));
  EXPECT_FALSE(fs::exists(path("run/adapter")));
}

// The embedding of a byte that only the evaluation holds is not a number.
TEST_F(Pipeline, AnEvaluationLossThatIsNotFiniteEndsTheRun) {
  constexpr std::size_t kHidden = 32;
  const std::string file = at("base/model.safetensors");
  std::string bytes = core::read_file(file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const Json tensors = core::parse_json(bytes.substr(8, header), file);
  const auto begin =
      tensors.at("model.embed_tokens.weight").at("data_offsets").at(0).get<std::size_t>();
  const auto token = static_cast<std::size_t>('Z') + 1;
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + 8 + header + begin + token * kHidden * sizeof bad, &bad, sizeof bad);
  write("base/model.safetensors", bytes);
  write("other.jsonl", R"({"instruction": "Z", "output": "Z"})");
  write("t.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  const ProcessResult result = run_corda({"train", "--config", at("t.yaml"), "--set",
                                          "data.eval=[{path: " + at("other.jsonl") + "}]"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("the evaluation loss after step 6 is not finite"));
  EXPECT_FALSE(fs::exists(path("run/adapter")));
  EXPECT_EQ(losses("run").size(), 5U);
}

// A progress bar is only drawn on a terminal; `script` gives the program one.
TEST_F(Pipeline, EveryVerbRunsOnATerminal) {
  if (!fs::exists("/usr/bin/script")) GTEST_SKIP() << "no /usr/bin/script on this machine";
  const auto on_terminal = [&](const std::string& command) {
    return testing::run_process(
        {"/usr/bin/script", "-qec", std::string(CORDA_BINARY) + " " + command, "/dev/null"});
  };
  const std::string model = " --model " + base();
  const ProcessResult calibrated = on_terminal("calibrate" + model + " --data " + at("task.jsonl") +
                                               " --samples 4 --out " + at("cov"));
  EXPECT_EQ(calibrated.exit_code, 0) << calibrated.out;
  EXPECT_THAT(calibrated.out, HasSubstr("[########################] calibrate 2/2 blocks"));
  const ProcessResult decomposed = on_terminal("decompose" + model + " --covariance " + at("cov") +
                                               " --rank 2 --out " + at("start"));
  EXPECT_EQ(decomposed.exit_code, 0) << decomposed.out;
  EXPECT_THAT(decomposed.out, HasSubstr("14/14 layers"));
  const ProcessResult merged =
      on_terminal("merge" + model + " --adapter " + at("start") + " --out " + at("merged"));
  EXPECT_EQ(merged.exit_code, 0) << merged.out;
  EXPECT_THAT(merged.out, HasSubstr("14/14 layers"));
}

// Leaves a model two tokens: each of them is the likeliest where the other is not.
void speak_only(const fs::path& model, std::size_t one, std::size_t other) {
  std::string bytes = core::read_file(model / "model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const Json head = Json::parse(bytes.substr(8, header)).at("lm_head.weight");
  const auto rows = head.at("shape")[0].get<std::size_t>();
  const auto width = head.at("shape")[1].get<std::size_t>();
  char* const data = bytes.data() + 8 + header + head.at("data_offsets")[0].get<std::size_t>();
  std::vector<float> weights(rows * width, 0.0F);
  for (std::size_t i = 0; i < width; ++i) {
    weights[one * width + i] = i % 2 == 0 ? 0.5F : -0.25F;
    weights[other * width + i] = -weights[one * width + i];
  }
  std::memcpy(data, weights.data(), weights.size() * sizeof(float));
  std::ofstream(model / "model.safetensors", std::ios::binary) << bytes;
}

TEST_F(Pipeline, AnAnswerEndsAtEveryEndTokenAndHoldsNoSpecialOne) {
  // SQuAD's normalisation leaves nothing of "the": the answer is right where it is empty.
  write("empty.jsonl", "{\"question\": \"Who?\", \"answer\": [\"the\"]}\n");
  const auto score = [&] {
    return result_of({"eval", "--model", base(), "--task", "qa", "--data", at("empty.jsonl"),
                      "--max-new-tokens", "3"})
        .at("score")
        .get<double>();
  };
  speak_only(base(), 100, 101);  // 'c' and 'd'
  EXPECT_EQ(score(), 0.0);
  write("base/generation_config.json", R"({"eos_token_id": [0, 100, 101]})");
  EXPECT_EQ(score(), 100.0);
  write("base/generation_config.json", "{}");
  EXPECT_EQ(score(), 0.0);
  write(
      "base/tokenizer_config.json",
      R"({"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "additional_special_tokens": ["c", "d"]})");
  EXPECT_EQ(score(), 100.0);
}

TEST_F(Pipeline, AnAnswerOfIdsBeyondTheTokenizerIsEmpty) {
  testing::write_tiny_model(base(), {.vocab = 264, .hidden = 32, .intermediate = 64});
  speak_only(base(), 260, 263);
  write("empty.jsonl", "{\"question\": \"Who?\", \"answer\": [\"the\"]}\n");
  EXPECT_EQ(result_of({"eval", "--model", base(), "--task", "qa", "--data", at("empty.jsonl"),
                       "--max-new-tokens", "3", "--stop", "x"})
                .at("score"),
            100.0);
}

TEST_F(Pipeline, QaScoresExactMatchesAndCountsSamples) {
  const Json result = result_of({"eval", "--model", base(), "--task", "qa", "--data",
                                 at("facts.jsonl"), "--max-new-tokens", "4"});
  EXPECT_EQ(result.at("task"), "qa");
  EXPECT_EQ(result.at("score_name"), "exact_match");
  EXPECT_EQ(result.at("samples"), 3);
  // " a rose" 7 bytes, " the sky" 8, " grass" 6, and an end token each.
  EXPECT_EQ(result.at("tokens"), 24);
}

}  // namespace
}  // namespace corda
