// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A flag that would change nothing where it is given is refused, in a sentence that says what it is
// for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "cli/job.h"
#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProcessResult;
using testing::run_corda;

// A command, its words between spaces, and what is said of it. BASE is a model, ADAPTER a LoRA of
// it, COV a covariance, RUN a run without a result, FULL one that made a model; TASK, FACTS and
// TEXT are data.
struct Row {
  const char* command;
  const char* sentence;
};

constexpr const char* kOfMeasuring = " for --verify and several values of --scale";
constexpr const char* kOfWriting =
    " for a model that is written, and several values of --scale write none";

const std::vector<Row> kRefused = {
    // decompose: what other modes, methods and ranks look at, and what is said of data not given
    {"decompose --model BASE --covariance COV --beta 0.5 --out OUT",
     "'beta' is for mode sc, not mode kpa"},
    {"decompose --model BASE --covariance COV --base fp8 --out OUT",
     "'base' is for mode cloq, not mode kpa"},
    {"decompose --model BASE --covariance COV --mode eva --damping 0.1 --out OUT",
     "'damping' is for modes kpa, ipa, dual and cloq, not mode eva"},
    {"decompose --model BASE --mode mica --damping 0.1 --out OUT",
     "'damping' is for modes kpa, ipa, dual and cloq, not mode mica"},
    {"decompose --model BASE --method pissa --mode ipa --out OUT",
     "'mode' is for method corda, not method pissa"},
    {"decompose --model BASE --method pissa --rho 3 --out OUT",
     "'rho' is for --ranks explained and compact; all layers have the rank"},
    {"decompose --model BASE --covariance COV --dtype bf16 --date 2020-02-02 --out OUT",
     "'date', 'dtype' are for --data, which is not given"},
    // merge: --verify and several values of --scale have flags of their own
    {"merge --model BASE --adapter ADAPTER --out OUT --samples 4",
     "'samples' is for several values of --scale"},
    {"merge --model BASE --adapter ADAPTER --out OUT --verify --samples 4",
     "'samples' is for several values of --scale"},
    {"merge --model BASE --adapter ADAPTER --out OUT --template alpaca", kOfMeasuring},
    {"merge --model BASE --adapter ADAPTER --out OUT --verify --format alpaca --system S",
     "'format', 'system' are for --data, which is not given"},
    {"merge --model BASE --adapter ADAPTER --out OUT --base nf4",
     "'base' is for --into quantised-base and for --verify"},
    {"merge --model BASE --adapter ADAPTER --scale 0,1 --data TASK --dtype fp16", kOfWriting},
    {"merge --model BASE --adapter ADAPTER --scale 0,1 --data TASK --max-shard-size 1GB",
     kOfWriting},
    {"merge --model BASE --adapter ADAPTER --out OUT --damping 0.1",
     "'damping' is for --covariance, which is not given"},
    {"merge --model BASE --adapter ADAPTER --out OUT --covariance COV",
     "--covariance is for rounding to 16 bits, and the merged weights are written in fp32"},
    {"merge --model BASE --adapter ADAPTER --out OUT --covariance HEAD --dtype bf16",
     "knows none of the adapted layers"},
    // inspect: each kind of directory looks at some
    {"inspect BASE --spectra", "'spectra' is of an adapter, and a model is in '"},
    {"inspect COV --spectra", "'spectra' is of an adapter, and a covariance is in '"},
    {"inspect COV --covariance COV", "is a covariance itself"},
    {"inspect FULL --spectra", "'spectra' is of an adapter, and a model is in '"},
    // eval, generate, preview, quantize
    {"eval --model BASE --data TEXT --template alpaca --system S",
     "'template', 'system' are for records, and the data are plain text"},
    {"eval --model BASE --data TASK --add-bos",
     "'add_bos' is for windows of plain text, and the data are records"},
    {"eval --model BASE --data FACTS --task qa --shots-data FACTS",
     "'shots_data' is for examples, of which --shots asks none, and 'task' is qa"},
    {"eval --model BASE --data FACTS --task generate --predictions OUT --skip-bad",
     "'skip_bad' is for tasks that are scored here, and 'task' is generate"},
    {"generate --model BASE --prompt P --date 2020-02-02", "'date' is for chat templates"},
    {"chat --model BASE --template alpaca --top-k 3",
     "'top_k' is for drawn answers, which need 'temperature' above 0"},
    {"chat --model BASE --batch-tokens 64", "corda chat has no flag '--batch-tokens'"},
    {"preview --model BASE --data TASK --sample 1 --samples 2",
     "'samples' is for the first samples, and --sample shows one"},
    {"preview --model BASE --data TASK --max-length 0 --overlong drop",
     "'overlong' is for samples longer than --max-length, which is 0"},
    {"preview --model BASE --data TASK --json --color always", "--color is for text"},
    {"quantize --model BASE --to nf4 --out OUT --damping 0.1",
     "'damping' is for --covariance, which is not given"},
    // plan: each verb's plan looks at some
    {"plan --model BASE",
     "--model is for corda plan calibrate, decompose, merge; corda plan train"},
    {"plan train --stored-rank 4", "--stored-rank is for corda plan decompose; corda plan train"},
    {"plan calibrate --model BASE --gpu H100 --dual", "--dual is for corda plan decompose; corda"},
    {"plan calibrate --model BASE --gpu H100 --gpus 2", "--gpus is for corda plan train; corda"},
    {"plan merge --model BASE --gpu H100",
     "--gpu is for corda plan train, calibrate, decompose; c"},
    {"plan merge --model BASE --samples 3", "--samples is for corda plan calibrate, decompose; c"},
    {"plan decompose --model BASE --gpu H100 --set optim.lr=1",
     "--set is for corda plan train; corda plan decompose does not look at it"},
    // config, study, man
    {"config --schema --markdown", "one thing at a time, and --schema, --markdown are 2"},
    {"config --explain optim.lr --model BASE",
     "--model is for corda config init; --explain does not look at it"},
    {"config init lora --knowledge FACTS",
     "--knowledge says what is to be kept, and lora does not"},
    {"config init eva --knowledge FACTS", "and eva does not ask; leave it out"},
    {"study compare --settings --json", "corda study --settings prints text; leave --json out"},
    {"man --json", "corda man has no flag '--json'"},
};

class UnusedFlags : public testing::Job {
 protected:
  void SetUp() override {
    Job::SetUp();
    write("text.txt", "A plain text without any record in it, long enough for a window.\n");
    write("t.yaml", "model: " + base() + "\ndata: {train: [" + at("task.jsonl") +
                        "]}\nthreads: 1\ndevice: cpu\nout: " + at("run") + "\n");
  }

  // The words of a command, with the places that its capitals stand for.
  std::vector<std::string> words_of(const std::string& command) const {
    const std::map<std::string, std::string> places = {
        {"BASE", base()},           {"ADAPTER", at("adapter")},   {"COV", at("cov")},
        {"HEAD", at("head")},       {"RUN", at("unfinished")},    {"FULL", at("full")},
        {"TASK", at("task.jsonl")}, {"FACTS", at("facts.jsonl")}, {"TEXT", at("text.txt")},
        {"YAML", at("t.yaml")},     {"OUT", at("out")},           {"OUT2", at("out2")}};
    std::vector<std::string> words = core::split(command, ' ');
    for (std::string& word : words)
      if (const auto place = places.find(word); place != places.end()) word = place->second;
    return words;
  }
  // Makes what the commands name.
  void make_places() const {
    result_of({"calibrate", "--model", base(), "--data", at("facts.jsonl"), "--samples", "8",
               "--seq-len", "64", "--out", at("cov")});
    result_of({"decompose", "--method", "pissa", "--model", base(), "--rank", "2",
               "--target-modules", "q_proj", "--out", at("start")});
    result_of({"export", "--adapter", at("start"), "--out", at("adapter")});
    // A covariance of the same model that knows other layers.
    fs::copy(path("cov"), path("head"), fs::copy_options::recursive);
    Json manifest = core::parse_json(core::read_file(path("head/manifest.json")), "manifest");
    for (auto& [name, site] : manifest.at("sites").items()) site["modules"] = {"other." + name};
    write("head/manifest.json", manifest.dump());
    for (const char* run : {"unfinished", "full"}) {
      fs::create_directory(path(run));
      write(std::string(run) + "/config.resolved.yaml",
            "method: full\nmodel: " + base() + "\nadapter: \"\"\n");
    }
    fs::copy(base(), path("full/model"), fs::copy_options::recursive);
  }
};

TEST_F(UnusedFlags, AreRefusedInASentenceThatSaysWhatTheyAreFor) {
  make_places();
  for (const Row& row : kRefused) {
    const ProcessResult result = run_corda(words_of(row.command));
    EXPECT_EQ(result.exit_code, 2) << row.command << "\n" << result.err;
    EXPECT_THAT(result.err, HasSubstr("corda: error: ")) << row.command;
    EXPECT_THAT(result.err, HasSubstr(row.sentence)) << row.command;
    EXPECT_EQ(result.out, "") << row.command;
    EXPECT_FALSE(fs::exists(path("out"))) << row.command;
  }
  EXPECT_EQ(kRefused.size(), 45U);
}

// The same flags where something looks at them, and at their usual values, where they ask for
// nothing.
TEST_F(UnusedFlags, AreTakenWhereTheyMeanSomething) {
  make_places();
  const std::vector<const char*> taken = {
      "inspect ADAPTER --spectra --json",
      "inspect BASE --assume-family llama --json",
      "inspect FULL --model BASE --json",
      "merge --model BASE --adapter ADAPTER --out OUT --base auto --samples 256 --json",
      "merge --model BASE --adapter ADAPTER --scale 0,1 --data TASK --samples 2 --json",
      "preview --model BASE --data TASK --template alpaca --sample 1 --json",
      "eval --model BASE --data TASK --template alpaca --samples 2 --json",
      "plan merge --model BASE --json",
      // What names hardware or the model's family is said to every verb by scripts.
      "merge --model BASE --adapter ADAPTER --out OUT2 --device cpu --assume-family llama --json",
      "inspect ADAPTER --assume-family llama --json",
      // A run that still trains is looked at as it will be when it is done.
      "inspect RUN --spectra --model BASE --json",
      "preview --model BASE --data TASK --template alpaca --json --color never",
  };
  for (const char* command : taken) {
    const ProcessResult result = run_corda(words_of(command));
    EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.err;
    EXPECT_THAT(result.out, EndsWith("}\n")) << command;
  }
}

// Data of several kinds and runs of several methods may share settings, so what one of them does
// not look at is said, not refused.
TEST_F(UnusedFlags, WhatDataAndMethodsDoNotLookAtIsSaid) {
  const auto said = [&](const std::string& command) {
    const ProcessResult result = run_corda(words_of(command));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  const auto calibrated = [&](const std::string& out, const std::string& more) {
    return said("calibrate --model BASE --samples 2 --seq-len 16 --quiet --out " + at(out) + " " +
                more);
  };
  EXPECT_THAT(calibrated("c1", "--data TEXT --template alpaca"),
              HasSubstr("these data are read as they are, without a template: 'template' changes "
                        "nothing"));
  EXPECT_THAT(calibrated("c2", "--data TASK --template alpaca --qa-text question"),
              HasSubstr("'qa_text' is of question-answer data; for these it changes nothing"));
  EXPECT_THAT(calibrated("c3", "--data TASK --template alpaca"), Not(HasSubstr("changes nothing")));
  const std::string train = "train --config YAML --dry-run --quiet --set method=lora ";
  const std::string on_text = train + "--set data.train=" + at("text.txt") + " --set ";
  EXPECT_THAT(said(on_text + "data.template=alpaca"), HasSubstr("'template' changes nothing"));
  EXPECT_THAT(said(on_text + "data.template=plain"), Not(HasSubstr("changes nothing")));
  EXPECT_THAT(
      said(train + "--set method=full --set lora.rank=4 --set lora.dropout=0.1"),
      HasSubstr("'lora.rank', 'lora.dropout' are for an adapter, and method full has none"));
  EXPECT_THAT(said(train + "--set loss.eaft_power=2"),
              HasSubstr("'loss.eaft_power' is for 'loss.weighting: eaft'"));
  EXPECT_THAT(said(train + "--set optim.epochs=2 --set optim.max_steps=3"),
              HasSubstr("optim.max_steps is 3, so the run ends after that and optim.epochs (2) "
                        "changes nothing"));
}

}  // namespace
}  // namespace corda
