// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Studies and reports from the command line.
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
using ::testing::StartsWith;

class StudyCommand : public testing::Job {
 protected:
  void write_study() const {
    write("study.yaml",
          "model: " + base() + "\nout: " + at("s") +
              "\ndevice: cpu\nthreads: 1\ntrain:\n  data: {train: " + at("task.jsonl") +
              "}\n  lora: {rank: 2}\n  optim: {max_steps: 2, batch_size: 4}\n" +
              "methods: {lora: {}, dora: {}}\nrates: [1e-3]\nevaluate:\n  task: {task: perplexity, "
              "data: " +
              at("task.jsonl") + "}\n");
  }
};

TEST_F(StudyCommand, AComparisonIsListedDoneAndSkipped) {
  write_study();
  const ProcessResult names =
      run_corda({"study", "compare", "--config", at("study.yaml"), "--dry-run"});
  EXPECT_EQ(names.out, "lora-lr0.001-s0\ndora-lr0.001-s0\n") << names.err;
  EXPECT_FALSE(fs::exists(path("s")));
  const Json first = result_of({"study", "compare", "--config", at("study.yaml")});
  EXPECT_EQ(first["done"], 2);
  const Json second =
      result_of({"study", "compare", "--config", at("study.yaml"), "--set", "seeds=[0,1]"});
  EXPECT_EQ(second["done"], 2);
  EXPECT_EQ(second["skipped"], 2);
  EXPECT_THAT(core::read_file(second["report"].get<std::string>()), StartsWith("<!DOCTYPE html>"));
}

TEST_F(StudyCommand, AReportOfItsRunsGoesToAFileOrToStdout) {
  write_study();
  result_of({"study", "compare", "--config", at("study.yaml")});
  const std::string runs = at("s/runs/");
  const Json made = result_of({"report", runs + "lora-lr0.001-s0", runs + "dora-lr0.001-s0",
                               "--spectra", "--out", at("r.html")});
  EXPECT_EQ(made["runs"], 2);
  EXPECT_EQ(made["bytes"], fs::file_size(path("r.html")));
  EXPECT_THAT(core::read_file(path("r.html")), HasSubstr("Singular values of the update, q_proj"));
  const ProcessResult printed =
      run_corda({"report", runs + "lora-lr0.001-s0", "--format", "markdown"});
  EXPECT_THAT(printed.out, StartsWith("# lora-lr0.001-s0\n"));
  EXPECT_THAT(printed.err, ::testing::Not(HasSubstr("--task")));
  EXPECT_THAT(run_corda({"report", runs + "lora-lr0.001-s0", "--task", "poems"}).err,
              HasSubstr("--task: no run was measured on 'poems'; "));
  EXPECT_THAT(printed.out, HasSubstr("This page was made by corda "));
  const ProcessResult none = run_corda({"report", at("task.jsonl")});
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.err, HasSubstr("task.jsonl' is no run of corda train"));
}

TEST_F(StudyCommand, ATruncationPrintsItsTable) {
  const ProcessResult result =
      run_corda({"study", "truncation", "--set", "model=" + base(), "--set",
                 "calibrations={c: {data: " + at("facts.jsonl") + ", samples: 2, seq_len: 16}}",
                 "--set", "tests={t: {data: " + at("task.jsonl") + "}}", "--set", "ranks=[0, 4]",
                 "--device", "cpu", "--out", at("rows.jsonl"), "--quiet"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("| dropped | svd | asvd (c) | co-svd (c) |\n"));
  EXPECT_THAT(core::read_file(path("rows.jsonl")),
              HasSubstr(R"({"method":"co-svd","calibration":"c","test":"t","dropped":4,)"));
}

TEST_F(StudyCommand, WhatIsWrongWithTheCommandIsSaid) {
  EXPECT_THAT(run_corda({"study"}).err, HasSubstr("corda study wants one of: compare, truncation"));
  const ProcessResult unknown = run_corda({"study", "compare", "--set", "rate=[1]"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("rates"));
  EXPECT_THAT(run_corda({"study", "truncation", "--settings"}).out, HasSubstr("| `asvd_alpha` |"));
}

}  // namespace
}  // namespace corda
