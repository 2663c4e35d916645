// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/card/card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::card {
namespace {

using corda::testing::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kSettings =
    "method: corda\n"
    "data:\n"
    "  train:\n"
    "    - {path: /home/me/private/task.jsonl, format: alpaca}\n"
    "    - {path: /cache/hub/datasets--openai--gsm8k/snapshots/0123/main/train.parquet}\n"
    "    - {path: /cache/hub/datasets--openai--gsm8k/snapshots/0123/socratic/train.parquet}\n"
    "  eval: [{path: /home/me/private/test.jsonl}]\n"
    "  template: /home/me/private/my.jinja\n"
    "  max_length: 512\n"
    "optim: {lr: 0.001, schedule: cosine, epochs: 1, batch_size: 32}\n"
    "precision: bf16\n"
    "seed: 42\n";

class Card : public ::testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  void write_file(const std::string& name, const std::string& text) const {
    fs::create_directories(at(name).parent_path());
    core::write_file_atomic(at(name), text);
  }
  Base base_with(const std::string& readme) const {
    write_file("model/README.md", readme);
    return base_of(at("model"));
  }
  card::Run run_with(const std::string& settings, const std::string& metrics) const {
    write_file("run/config.resolved.yaml", settings);
    write_file("run/metrics.jsonl", metrics);
    fs::create_directories(at("run/adapter"));
    return run_of(at("run/adapter")).value();
  }

  testing::TemporaryDirectory folder_;
};

const Base kHubBase{.name = "org/tiny", .on_hub = true, .license = "apache-2.0"};
const Tuning kDual{.method = "corda",
                   .mode = "dual",
                   .rank = 8,
                   .stored_rank = 8,
                   .alpha = 8,
                   .modules = {"model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj",
                               "model.layers.0.self_attn.q_proj"}};

TEST_F(Card, TheLicenceOfTheBaseComesFromItsFrontMatter) {
  const Base llama = base_with(
      "---\nlanguage:\n- en\n- 'no'\nlicense: other\nlicense_name: llama3\nlicense_link: LICENSE\n"
      "---\n# Llama\nlicense: mit\n");
  EXPECT_EQ(llama.name, "model");
  EXPECT_FALSE(llama.on_hub);
  EXPECT_EQ(llama.license, "other");
  EXPECT_EQ(llama.license_name, "llama3");
  EXPECT_EQ(llama.license_link, "LICENSE");
  EXPECT_THAT(llama.languages, ElementsAre("en", "no"));
  const std::string card = text_of(Artifact::kAdapter, llama, kDual, std::nullopt);
  EXPECT_THAT(card, HasSubstr("license: other\nlicense_name: llama3\nlicense_link: LICENSE\n"
                              "language:\n- en\n- \"no\"\n"));
  EXPECT_THAT(card, HasSubstr("That of the base: other (llama3)."));
}

TEST_F(Card, AFileOfTheLicenceIsThatOfTheBasesRepository) {
  Base base = kHubBase;
  base.license_link = "LICENSE";
  EXPECT_THAT(text_of(Artifact::kAdapter, base, kDual, std::nullopt),
              HasSubstr("license_link: \"https://huggingface.co/org/tiny/blob/main/LICENSE\"\n"));
  base.license_link = "https://example.org/licence";
  EXPECT_THAT(text_of(Artifact::kAdapter, base, kDual, std::nullopt),
              HasSubstr("license_link: \"https://example.org/licence\"\n"));
}

TEST_F(Card, ACardThatIsMissingOrBrokenSaysNothingOfTheLicence) {
  fs::create_directories(at("empty"));
  EXPECT_EQ(base_of(at("empty")).license, "");
  for (const std::string readme :
       {"# No front matter\nlicense: mit\n", "---\nlicense: mit\n", "---\na: [\n---\n",
        "---\nlicense: {a: b}\n---\n", "---\nlicense: \"a\\nb\"\n---\n"}) {
    const Base base = base_with(readme);
    EXPECT_EQ(base.license, "") << readme;
    EXPECT_THAT(text_of(Artifact::kAdapter, base, kDual, std::nullopt),
                HasSubstr("The files of the base do not say under which licence it stands."));
  }
}

TEST_F(Card, ASnapshotOfTheCacheIsCalledByItsNameOnTheHubAndAFolderIsNoBaseModel) {
  fs::create_directories(at("hub/models--org--tiny/snapshots/0123"));
  const Base cached = base_of(at("hub/models--org--tiny/snapshots/0123/"));
  EXPECT_EQ(cached.name, "org/tiny");
  EXPECT_TRUE(cached.on_hub);
  EXPECT_THAT(text_of(Artifact::kAdapter, cached, kDual, std::nullopt),
              StartsWith("---\nbase_model: org/tiny\nbase_model_relation: adapter\n"
                         "library_name: peft\npipeline_tag: text-generation\n"));
  fs::create_directories(at("folder"));
  EXPECT_THAT(text_of(Artifact::kAdapter, base_of(at("folder")), kDual, std::nullopt),
              StartsWith("---\nlibrary_name: peft\n"));
}

TEST_F(Card, AMergedModelIsAFinetuneForTransformers) {
  const std::string card = text_of(Artifact::kModel, kHubBase, kDual, std::nullopt);
  EXPECT_THAT(card, StartsWith("---\nbase_model: org/tiny\nbase_model_relation: finetune\n"
                               "library_name: transformers\n"));
  EXPECT_THAT(card, Not(HasSubstr("PeftModel")));
}

TEST_F(Card, DataAreCalledByNameAndNoPathOfTheMachineIsShown) {
  const card::Run run = run_with(kSettings, "");
  const std::string card = text_of(Artifact::kAdapter, kHubBase, kDual, run);
  EXPECT_THAT(card, HasSubstr("\ndatasets:\n- openai/gsm8k\ntags:\n- corda\n- lora\n---\n"));
  EXPECT_THAT(card, HasSubstr("| training data | `task.jsonl`, "
                              "[openai/gsm8k](https://huggingface.co/datasets/openai/gsm8k) |\n"));
  EXPECT_THAT(card, HasSubstr("| template | my.jinja |\n"));
  EXPECT_THAT(card, HasSubstr("| layers | `q_proj`, `up_proj` |\n"));
  EXPECT_THAT(card, HasSubstr("| learning rate | 0.001, cosine |\n"));
  EXPECT_THAT(card, Not(HasSubstr("/home")));
  EXPECT_THAT(card, Not(HasSubstr("/cache")));
}

TEST_F(Card, TheEvaluationLossIsThatOfTheStepThatWasKept) {
  const std::string metrics =
      "{\"step\": 1, \"eval_loss\": 2.5}\n{\"step\": 2, \"eval_loss\": 1.5}\n"
      "{\"step\": 3}\n{\"step\": 4, \"eval_loss\": 1.75}\n";
  const card::Run last = run_with(kSettings, metrics);
  EXPECT_EQ(last.steps, 4);
  EXPECT_EQ(last.evaluation.value().loss, 1.75);
  EXPECT_THAT(text_of(Artifact::kAdapter, kHubBase, kDual, last),
              HasSubstr("| evaluation loss | 1.75 after step 4 on `test.jsonl` |\n"));
  for (const std::string kept : {"checkpoint: {best: true}\n", "eval: {patience: 3}\n"}) {
    const card::Run best = run_with(kSettings + kept, metrics);
    EXPECT_EQ(best.evaluation.value().step, 2) << kept;
    EXPECT_EQ(best.evaluation.value().loss, 1.5) << kept;
  }
}

// A loss on other data says nothing of which step is the best.
TEST_F(Card, TheLowestLossIsOneOnTheDataThatWereEvaluatedOnLast) {
  const std::string first = "{\"step\": 1, \"eval_loss\": 1.0}\n";  // of an older corda
  const std::string tagged =
      "{\"step\": 2, \"eval_loss\": 0.5, \"eval_data\": \"aa\"}\n"
      "{\"step\": 3, \"eval_loss\": 0.75, \"eval_data\": \"aa\"}\n";
  const std::string others =
      "{\"step\": 4, \"eval_loss\": 3.5, \"eval_data\": \"bb\"}\n"
      "{\"step\": 5, \"eval_loss\": 2.5, \"eval_data\": \"bb\"}\n"
      "{\"step\": 6, \"eval_loss\": 2.75, \"eval_data\": \"bb\"}\n";
  const std::string settings = kSettings + std::string("checkpoint: {best: true}\n");
  EXPECT_EQ(run_with(settings, first + tagged).evaluation.value().step, 2);
  const card::Run changed = run_with(settings, first + tagged + others);
  EXPECT_EQ(changed.evaluation.value().step, 5);
  EXPECT_EQ(changed.evaluation.value().loss, 2.5);
  EXPECT_EQ(run_with(kSettings, first + tagged + others).evaluation.value().step, 6);
}

TEST_F(Card, ARunThatCannotBeReadIsNoReasonToFail) {
  EXPECT_FALSE(run_of(at("nowhere/adapter")).has_value());
  const card::Run damaged = run_with(kSettings, "{\"step\": 3}\n{\"step\": \"x\", \n");
  EXPECT_EQ(damaged.steps, 3);
  write_file("run/config.resolved.yaml", "- a list\n");
  EXPECT_FALSE(run_of(at("run/adapter")).has_value());
}

TEST_F(Card, TheRankOfTheFilesIsSaidWhereItIsAnother) {
  Tuning kpa = kDual;
  kpa.mode = "kpa";
  kpa.stored_rank = 16;
  const std::string card = text_of(Artifact::kAdapter, kHubBase, kpa, std::nullopt);
  EXPECT_THAT(card, HasSubstr("| method | CorDA KPA |\n| rank | 8 (16 in the files, which hold the "
                              "difference from the start) |\n"));
}

TEST_F(Card, WhatAStrangersFileSaysStaysTextInMarkdown) {
  const Base base = base_with("---\nlicense: \"[mit](http://x) | <b>\"\n---\n");
  EXPECT_THAT(text_of(Artifact::kAdapter, base, kDual, std::nullopt),
              HasSubstr("That of the base: \\[mit\\](http://x) \\| \\<b\\>."));
}

TEST_F(Card, EveryCopiedCardKeepsAPlaceAndWritingAgainChangesNothing) {
  write_file("out/README.md", "# The base\n");
  const std::string first = text_of(Artifact::kModel, kHubBase, kDual, std::nullopt);
  write(at("out"), first);
  EXPECT_EQ(core::read_file(at("out/README-of-base.md")), "# The base\n");
  // A model that was merged already, and brings both cards along.
  const std::string second = text_of(Artifact::kModel, kHubBase, {.method = "full"}, std::nullopt);
  for (int times = 0; times < 2; ++times) {
    write(at("out"), second);
    EXPECT_EQ(core::read_file(at("out/README.md")), second);
    EXPECT_EQ(core::read_file(at("out/README-of-base.md")), "# The base\n");
    EXPECT_EQ(core::read_file(at("out/README-of-base-2.md")), first);
    EXPECT_FALSE(fs::exists(at("out/README-of-base-3.md")));
  }
}

TEST_F(Card, ReplayedDataAreNamedWithTheirShare) {
  const card::Run run = run_with(
      "data:\n  train: [{path: task.jsonl}]\n  replay:\n    path:\n"
      "      - {path: /home/me/old.jsonl, format: auto}\n"
      "      - {path: /hub/datasets--org--kept/snapshots/0123/a.jsonl, format: auto}\n"
      "    share: 0.1\n",
      "");
  const std::string card = text_of(Artifact::kAdapter, kHubBase, kDual, run);
  EXPECT_THAT(card, HasSubstr("| replayed data | `old.jsonl`, [org/kept](https://huggingface.co/"
                              "datasets/org/kept), a share of 0.1 |\n"));
  EXPECT_THAT(card, HasSubstr("\ndatasets:\n- org/kept\n"));
}

TEST_F(Card, RanksThatDifferAreSaidFromTheLeastToTheGreatest) {
  Tuning tuning = kDual;
  tuning.smallest_rank = 2;
  tuning.largest_rank = 16;
  EXPECT_THAT(text_of(Artifact::kAdapter, kHubBase, tuning, std::nullopt),
              HasSubstr("| rank | 2 to 16, by layer |\n"));
  tuning.stored_rank = 16;
  EXPECT_THAT(text_of(Artifact::kAdapter, kHubBase, tuning, std::nullopt),
              HasSubstr("| rank | 2 to 16, by layer (twice that in the files, which hold the "
                        "difference from the start) |\n"));
}

TEST_F(Card, AStartSaysThatNothingIsTrainedAndWhichDataChoseIt) {
  write_file("cov/settings.resolved.yaml", "model: base\ndata: [/home/me/facts.jsonl]\n");
  write_file("cov-task/settings.resolved.yaml", "data: [task.jsonl, more.jsonl]\n");
  write_file("start/settings.resolved.yaml", "covariance: [" + at("cov").string() +
                                                 "]\ntask_covariance: " + at("cov-task").string() +
                                                 "\ndata: []\ntask_data: []\n");
  const Start start = start_of(at("start"));
  EXPECT_THAT(start.data, ElementsAre("/home/me/facts.jsonl"));
  EXPECT_THAT(start.task_data, ElementsAre("task.jsonl", "more.jsonl"));
  const std::string card = text_of_start(kHubBase, kDual, start);
  EXPECT_THAT(card, StartsWith("---\nbase_model: org/tiny\nbase_model_relation: adapter\n"
                               "library_name: peft\n"));
  EXPECT_THAT(card, HasSubstr("\nThe start of a low-rank adapter (CorDA dual) of "
                              "[org/tiny](https://huggingface.co/org/tiny). Nothing of it is "
                              "trained yet: with it the model computes what the base computes."));
  EXPECT_THAT(card, HasSubstr("| start calibrated on | `facts.jsonl` |\n"
                              "| start calibrated for the task on | `task.jsonl`, `more.jsonl` "
                              "|\n"));
  EXPECT_THAT(card, HasSubstr("\nmethod: corda\nadapter: path/to/this\n"));
  EXPECT_THAT(card, Not(HasSubstr("PeftModel")));
  EXPECT_THAT(card, Not(HasSubstr("/home")));
  // The card of what is trained from it names them too.
  const card::Run run = run_with("adapter: " + at("start").string() + "\n", "");
  EXPECT_THAT(text_of(Artifact::kAdapter, kHubBase, kDual, run),
              HasSubstr("| start calibrated on | `facts.jsonl` |\n"));
}

TEST_F(Card, AnAdapterThatMakesGoodWhatCodesLoseSaysOverWhichBaseItStands) {
  const Tuning cloq = {.method = "corda", .mode = "cloq", .rank = 8, .alpha = 8, .corrects = "nf4"};
  const auto over = HasSubstr(
      " It makes good part of what the base loses in NF4 (bitsandbytes' 4 bits, with double "
      "quantisation), so load the base in that; over other weights it adds an error.");
  const std::string trained = text_of(Artifact::kAdapter, kHubBase, cloq, std::nullopt);
  EXPECT_THAT(trained, over);
  EXPECT_THAT(trained, HasSubstr("A low-rank adapter (CLoQ) of "));
  const std::string start = text_of_start(kHubBase, cloq, {});
  EXPECT_THAT(start, over);
  EXPECT_THAT(start, Not(HasSubstr("computes what the base computes")));
  EXPECT_THAT(start, HasSubstr("\nadapter: path/to/this\nbase: nf4\n```\n"));
  EXPECT_THAT(text_of(Artifact::kModel, kHubBase, cloq, std::nullopt),
              Not(HasSubstr("load the base")));
}

TEST_F(Card, AModelInCodesSaysWhichAndHowItWasRounded) {
  const std::string plainly = text_of_quantised(kHubBase, {.format = "nf4"});
  EXPECT_THAT(plainly, StartsWith("---\nbase_model: org/tiny\nbase_model_relation: quantized\n"
                                  "library_name: transformers\n"));
  EXPECT_THAT(plainly, HasSubstr("\nlicense: apache-2.0\ntags:\n- corda\n---\n"));
  EXPECT_THAT(plainly,
              HasSubstr("| weights of the blocks' layers | NF4: 4 bits, blocks of 64 |\n"));
  EXPECT_THAT(plainly, HasSubstr("| rounding | to the nearest |\n"));
  EXPECT_THAT(plainly, HasSubstr("\nIt needs the package `bitsandbytes`.\n"));
  const std::string informed = text_of_quantised(
      kHubBase, {.format = "fp8", .knows_inputs = true, .data = {"/home/me/text.txt"}});
  EXPECT_THAT(informed, HasSubstr("float8 e4m3: 8 bits, tiles of 128 x 128 |\n"));
  EXPECT_THAT(informed, Not(HasSubstr("compressed-tensors")));
  const std::string rows = text_of_quantised(kHubBase, {.format = "fp8", .scale_a_row = true});
  EXPECT_THAT(rows, HasSubstr("float8 e4m3: 8 bits, a scale a row |\n"));
  EXPECT_THAT(rows, HasSubstr("\ntransformers needs the package `compressed-tensors`.\n"));
  EXPECT_THAT(informed, HasSubstr("| rounding | passes its error on to correlated inputs |\n"
                                  "| inputs of | `text.txt` |\n"));
}

class Scores : public Card {
 protected:
  Score qa(double value) const {
    return {.task = "qa",
            .data = {"/home/me/facts.jsonl"},
            .conditions = "12 samples, fp32",
            .metric = "exact_match",
            .value = value,
            .error = 0.125};
  }
  std::string card() const { return core::read_file(at("a/README.md")); }
};

TEST_F(Scores, StandInFrontOfHowItIsLoadedAndAllElseStays) {
  const std::string before = text_of(Artifact::kAdapter, kHubBase, kDual, std::nullopt);
  write_file("a/README.md", before);
  add_scores(at("a"), {qa(0.75)});
  const std::string table =
      "## Scores\n\n<!-- Scores, by corda eval. -->\n\n"
      "| task | data | how | metric | value |\n|---|---|---|---|---|\n"
      "| qa | `facts.jsonl` | 12 samples, fp32 | exact\\_match | 0.7500 ± 0.1250 |\n\n"
      "<!-- End of the scores. -->\n\n";
  std::string expected = before;
  expected.insert(before.find("## Loading it\n"), table);
  EXPECT_EQ(card(), expected);
}

TEST_F(Scores, ARowOfTheSameQuestionIsReplacedAndAnotherIsAdded) {
  write_file("a/README.md", text_of(Artifact::kAdapter, kHubBase, kDual, std::nullopt));
  add_scores(at("a"), {qa(0.75)});
  const std::string once = card();
  add_scores(at("a"), {qa(0.75)});
  EXPECT_EQ(card(), once);
  Score text{.task = "perplexity", .data = {"t.txt"}, .conditions = "", .metric = "perplexity"};
  text.value = 12.5;
  add_scores(at("a"), {qa(0.5), text});
  EXPECT_THAT(card(), HasSubstr("| exact\\_match | 0.5000 ± 0.1250 |\n"
                                "| perplexity | `t.txt` |  | perplexity | 12.5000 |\n\n<!-- End"));
  EXPECT_THAT(card(), Not(HasSubstr("0.7500")));
}

TEST_F(Scores, WhatTheUserWroteStays) {
  write_file("a/README.md", std::string("My words.\n<!-- Written by corda. -->\n") +
                                "<!-- Scores, by corda eval. -->\nno end\n");
  add_scores(at("a"), {qa(0.75)});
  EXPECT_THAT(card(), StartsWith("My words.\n<!-- Written by corda. -->\n"
                                 "<!-- Scores, by corda eval. -->\nno end\n## Scores\n"));
  add_scores(at("a"), {qa(0.25)});
  EXPECT_THAT(card(), HasSubstr("no end\n## Scores\n"));
  EXPECT_THAT(card(), Not(HasSubstr("0.7500")));
}

TEST_F(Scores, GoNeitherIntoCardsOfOthersNorIntoTheCache) {
  const auto refusal = [&](const std::string& name) {
    return error_of<core::ConfigError>([&] { require_own_card(at(name)); });
  };
  fs::create_directories(at("none"));
  EXPECT_THAT(refusal("none"), HasSubstr("README.md' is not there; --card puts scores into the "
                                         "card that corda wrote"));
  write_file("other/README.md", "# Of others\n");
  EXPECT_THAT(refusal("other"), HasSubstr("is not a card that corda wrote"));
  const std::string cached = "hub/models--org--tiny/snapshots/0123";
  write_file(cached + "/README.md", text_of(Artifact::kModel, kHubBase, kDual, std::nullopt));
  EXPECT_THAT(refusal(cached), HasSubstr("is in the Hugging Face cache, where nothing is changed"));
  EXPECT_THAT(refusal(cached + "/"), HasSubstr("is in the Hugging Face cache"));
}

TEST_F(Card, TheBaseOfAnAdaptersCardIsFoundAgain) {
  write_file("adapter/README.md", text_of(Artifact::kAdapter, kHubBase, kDual, std::nullopt));
  const Base again = base_in_card(at("adapter"));
  EXPECT_EQ(again.name, "org/tiny");
  EXPECT_TRUE(again.on_hub);
  EXPECT_EQ(again.license, "apache-2.0");
  EXPECT_EQ(base_in_card(at("nowhere")).name, "");
}

}  // namespace
}  // namespace corda::card
