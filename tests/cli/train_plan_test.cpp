// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Settings as people write them, and a run looked at before it is begun.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/job.h"
#include "corda/core/file.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::HasSubstr;
using testing::ProcessResult;
using testing::run_corda;

class TrainPlan : public testing::Job {
 protected:
  // --dry-run of the smallest configuration with more settings.
  ProcessResult dry_run(const std::string& extra, const std::vector<std::string>& more = {}) const {
    write("t.yaml", "model: " + base() + "\nmethod: lora\ndata: {train: [" + at("task.jsonl") +
                        "]}\nout: " + at("run") + "\n" + extra);
    std::vector<std::string> arguments = {"train", "--config", at("t.yaml"), "--dry-run"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_corda(arguments);
  }
  ProcessResult with_home(const std::string& command) const {
    return testing::run_process({"/bin/sh", "-c",
                                 "cd " + at(".") + " && HOME=" + at("home") +
                                     " CUDA_VISIBLE_DEVICES= exec " + CORDA_BINARY + " " +
                                     command});
  }
};

TEST_F(TrainPlan, ADryRunPrintsSettingsAndWhatTheRunWouldBe) {
  const std::string extra = "lora: {rank: 4}\noptim: {epochs: 2, batch_size: 8, lr: 2e-5}\n";
  const ProcessResult text = dry_run(extra);
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("\n  lr: 2e-05\n"));
  EXPECT_THAT(text.out, HasSubstr("\n# 6 steps of up to 8 samples, 3 an epoch"));
  const Json plan = core::parse_json(dry_run(extra, {"--json"}).out, "plan");
  EXPECT_EQ(plan.at("steps"), 6);
  EXPECT_EQ(plan.at("samples"), 24);
  EXPECT_DOUBLE_EQ(plan.at("supervised_share").get<double>(),
                   plan.at("supervised_tokens").get<double>() / plan.at("tokens").get<double>());
  // Rank 4 on hidden 32, intermediate 64, two heads of keys and values: r (in + out), two layers.
  EXPECT_EQ(plan.at("trained_parameters"), 2 * 4 * (64 + 48 + 48 + 64 + 96 + 96 + 96));
  const Json& settings = plan.at("settings");
  EXPECT_EQ(settings.at("optim").at("lr"), 2e-5);
  EXPECT_EQ(settings.at("optim").at("betas"), Json({0.9, 0.999}));
  EXPECT_EQ(settings.at("data").at("packing"), true);
  EXPECT_EQ(settings.at("data").at("train").at(0).at("path"), at("task.jsonl"));
  EXPECT_EQ(settings.at("lora").at("rank"), 4);
  EXPECT_FALSE(fs::exists(path("run")));
}

TEST_F(TrainPlan, ADryRunRefusesWhatTheRunWouldRefuse) {
  const auto refused = [&](const std::string& extra, int code, const std::string& text) {
    const ProcessResult result = dry_run(extra);
    EXPECT_EQ(result.exit_code, code) << extra;
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_EQ(result.out, "");
  };
  refused("lora: {rank: 999}\n", 2, "lora.rank");
  refused("lora: {rank: 4, target_modules: [query_key_value]}\n", 2, "query_key_value");
  refused("lora: {rank: 4}\ndevice: cuda:99\n", 5, "cuda:99");
  refused("lora: {rank: 4}\nadapter: " + at("nowhere") + "\n", 3, "nowhere");
  fs::remove(path("task.jsonl"));
  refused("lora: {rank: 4}\n", 3, "task.jsonl");
}

TEST_F(TrainPlan, YamlIsReadAsItIsMeantOrRefusedWithItsLine) {
  const auto has = [&](const std::string& extra, const std::string& text) {
    const ProcessResult result = dry_run("lora: {rank: 4}\n" + extra);
    EXPECT_EQ(result.exit_code, 0) << extra << result.err;
    EXPECT_THAT(result.out, HasSubstr(text)) << extra;
  };
  has("optim: {batch_size: 1_000}\n", "batch_size: 1000");
  has("optim: {batch_size: 1e2}\n", "batch_size: 100");
  has("seed: 0x10\n", "seed: 16");
  has("optim: {lr: \"1e-4\", epochs: \"2\"}\n", "lr: 1e-04");
  has("x-base: &b {lr: 1e-3}\noptim: {<<: *b, epochs: 2}\n", "lr: 0.001");
  has("optim: {lr: 0.001}\r\nseed: 7\r\n", "seed: 7");
  const auto refused = [&](const std::string& extra, const std::string& text) {
    const ProcessResult result = dry_run("lora: {rank: 4}\n" + extra);
    EXPECT_NE(result.exit_code, 0) << extra;
    EXPECT_THAT(result.err, HasSubstr(text)) << extra;
  };
  refused("seed: 010\n", "t.yaml:6: 'seed' is 010, which some programs read as octal");
  refused("optim: {lr: 1,0e-4}\n", "t.yaml:6: unknown setting 'optim.0e-4'");
  refused("optim: {lr: .inf}\n", "t.yaml:6: 'optim.lr' must be a number; it is '.inf'");
  refused("optim: {lr: [1e-4]}\n", "t.yaml:6: 'optim.lr' must be a single value");
  refused("optim:\n  lr:1e-4\n", "put a space behind the colon of 'lr:1e-4'");
  refused("optim:\n\tlr: 1\n", "t.yaml:7: not valid YAML");
}

TEST_F(TrainPlan, SettingsOfOneNameOrGroupAreExplained) {
  const ProcessResult one = run_corda({"train", "--settings", "optim.lr"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("optim.lr: learning rate at its peak\n  number"));
  EXPECT_THAT(one.out, HasSubstr("Beside it: optim.schedule"));
  EXPECT_THAT(run_corda({"train", "--settings", "checkpoint"}).out,
              HasSubstr("| `checkpoint.minutes` | number | 10 |"));
  EXPECT_THAT(run_corda({"train", "--settings"}).out, HasSubstr("| `model` | text | required |"));
  const std::string files = run_corda({"train", "--settings", "data.train"}).out;
  for (const std::string entry : {"path", "format", "columns", "first", "count"})
    EXPECT_THAT(files, HasSubstr("| `" + entry + "` |"));
  EXPECT_THAT(run_corda({"train", "--settings"}).out,
              HasSubstr("| `data.eval[].count` | integer |"));
  const ProcessResult foreign = run_corda({"train", "--settings", "gradient_accumulation_steps"});
  EXPECT_EQ(foreign.exit_code, 2);
  EXPECT_THAT(foreign.err, HasSubstr("here optim.batch_size is the samples of a whole"));
}

TEST_F(TrainPlan, SettingsAreExplainedAsJsonToo) {
  const auto explained = [](std::vector<std::string> name) {
    name.insert(name.begin(), {"train", "--json", "--settings"});
    const ProcessResult result = run_corda(name);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return core::parse_json(result.out, "settings");
  };
  const Json rank = explained({"lora.rank"});
  ASSERT_EQ(rank.size(), 1U);
  EXPECT_EQ(rank[0].at("name"), "lora.rank");
  EXPECT_EQ(rank[0].at("type"), "integer");
  EXPECT_EQ(rank[0].at("default"), 0);
  EXPECT_EQ(rank[0].at("max").dump(), "65536");
  EXPECT_EQ(explained({"method"})[0].at("choices"),
            Json({"corda", "lora", "pissa", "dora", "full"}));
  EXPECT_EQ(explained({"checkpoint"}).size(), 4U);
  const Json file = explained({"data.train"})[0];
  EXPECT_EQ(file.at("required"), true);
  EXPECT_EQ(file.at("entries").at(4).at("name"), "count");
  EXPECT_EQ(file.at("entries").at(4).at("default"), -1);
  const Json all = explained({});
  const Json resolved = core::parse_json(dry_run("lora: {rank: 4}\n", {"--json"}).out, "plan");
  for (const auto& setting : all) {  // the names are those of the settings that a run prints
    std::string name = setting.at("name");
    const Json* place = &resolved.at("settings");
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.')) {
      place = &place->at(name.substr(0, dot));
      name.erase(0, dot + 1);
    }
    EXPECT_TRUE(place->contains(name)) << setting;
  }
}

TEST_F(TrainPlan, ATildeIsTheHomeFolderInEveryPath) {
  fs::create_directory(path("home"));
  fs::rename(path("base"), path("home/base"));
  fs::rename(path("task.jsonl"), path("home/task.jsonl"));
  write("home/t.yaml",
        "model: ~/base\nmethod: lora\nlora: {rank: 2}\ndata: {train: [{path: ~/task.jsonl}]}\nout: "
        "~/run\noptim: {max_steps: 1}\ndevice: cpu\n");
  const ProcessResult train = with_home("train --config '~/t.yaml'");
  EXPECT_EQ(train.exit_code, 0) << train.err;
  EXPECT_TRUE(fs::exists(path("home/run/adapter/adapter_config.json")));
  const ProcessResult merge =
      with_home("merge --model '~/base' --adapter '~/run/adapter' --out '~/merged'");
  EXPECT_EQ(merge.exit_code, 0) << merge.err;
  EXPECT_TRUE(fs::exists(path("home/merged/config.json")));
  write("home/line.txt", "a\n");
  EXPECT_EQ(with_home("tokenize --model '~/base' --data '~/line.txt'").out, "[0,98]\n");
  EXPECT_FALSE(fs::exists(path("~")));
  const ProcessResult nobody = with_home("train --config '~/t.yaml' --out '~nobody-here/run'");
  EXPECT_EQ(nobody.exit_code, 2);
  EXPECT_THAT(nobody.err, HasSubstr("'out': the home folder that '~nobody-here'"));
  // The way to a folder of that name.
  EXPECT_EQ(with_home("train --config '~/t.yaml' --out ./~").exit_code, 0);
  EXPECT_TRUE(fs::exists(path("~/adapter")));
}

TEST_F(TrainPlan, AVariableInAPathIsRefused) {
  for (const std::string out : {"${HOME}/run", "$HOME/run", "runs/$JOB"}) {
    const ProcessResult result = dry_run("lora: {rank: 4}\n", {"--out", out});
    EXPECT_EQ(result.exit_code, 2) << out;
    EXPECT_THAT(result.err, HasSubstr("'out': '" + out + "' holds the variable $"));
  }
  EXPECT_EQ(dry_run("lora: {rank: 4}\n", {"--out", at("cost-5$")}).exit_code, 0);
}

}  // namespace
}  // namespace corda
