// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <sstream>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "report/well_formed.h"
#include "support/captured_log.h"
#include "support/error_of.h"

namespace corda::report {
namespace {

namespace fs = std::filesystem;
using corda::testing::elements_of;
using corda::testing::error_of;
using ::testing::HasSubstr;
using ::testing::Not;

class Report : public ::testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories(at(name).parent_path());
    std::ofstream(at(name), std::ios::binary) << text;
  }
  // A run of some steps, whose loss falls as 10 / step.
  void write_run(const std::string& name, int steps, const std::string& settings = "") const {
    write(name + "/config.resolved.yaml",
          "model: base\nmethod: lora\n" + (settings.empty() ? "optim:\n  lr: 0.001\n" : settings));
    std::ostringstream metrics;
    for (int step = 1; step <= steps; ++step) metrics << line(step, 10.0 / step) << "\n";
    write(name + "/metrics.jsonl", metrics.str());
  }
  static std::string line(int step, double loss) {
    std::ostringstream text;
    text << R"({"step":)" << step << R"(,"epoch":0.5,"loss":)" << loss
         << R"(,"lr":0.001,"grad_norm":1.5,"tokens":100,"supervised_tokens":50,)"
         << R"("supervised_share":0.5,"tokens_per_second":2000,"utilisation":0.0,)"
         << R"("peak_memory_bytes":1500000000})";
    return text.str();
  }
  std::string page(const std::vector<std::string>& names, const std::string& format = "html",
                   const Supplement& supplement = {}) {
    std::vector<std::string> runs;
    for (const auto& name : names) runs.push_back(at(name).string());
    return report({.runs = runs, .base = base_, .format = format}, log_, supplement);
  }
  static void expect_page(const std::string& html) {
    EXPECT_EQ(elements_of(html).error, "");
    EXPECT_THAT(html, Not(HasSubstr("nan")));
    // Nothing is fetched and nothing is run.
    for (const char* reference : {"http:", "https:", "src=", "href=", "url(", "@import", "<script",
                                  "<link", "<iframe", "<object", "onload"})
      EXPECT_THAT(html, Not(HasSubstr(reference)));
  }

  corda::testing::TemporaryDirectory folder_;
  corda::CapturedLog log_;
  std::string base_;
};

TEST_F(Report, ARunIsAPageOfCurves) {
  write_run("a", 30);
  const std::string html = page({"a"});
  expect_page(html);
  for (const char* title : {"Training loss", "Learning rate", "Gradient norm", "Throughput",
                            "Peak memory", "Settings", "Origins"})
    EXPECT_THAT(html, HasSubstr(title));
  EXPECT_THAT(html, Not(HasSubstr("Use of the GPU")));  // not known
  EXPECT_THAT(html, HasSubstr("unfinished, 30 steps"));
  EXPECT_THAT(html, HasSubstr("3 000"));  // tokens
  EXPECT_THAT(html, HasSubstr("1.5 GB"));
  EXPECT_EQ(log_.text, "");
}

TEST_F(Report, OneStepIsADot) {
  write_run("a", 1);
  const std::string html = page({"a"});
  expect_page(html);
  EXPECT_EQ(elements_of(html).count["circle"], 5);  // loss, rate, norm, throughput, memory
  EXPECT_THAT(html, HasSubstr("unfinished, 1 step<"));
}

TEST_F(Report, ARunWithoutStepsIsSaidToHaveNone) {
  write("a/config.resolved.yaml", "model: base\nmethod: lora\n");
  const std::string html = page({"a"});
  expect_page(html);
  EXPECT_THAT(html, HasSubstr("No run has made a step."));
}

TEST_F(Report, RunsAreOverlaidWithALegendAndDifferencesComeFirst) {
  write_run("x/a", 5, "seed: 1\noptim:\n  lr: 0.001\n");
  write_run("y/a", 5, "seed: 2\noptim:\n  lr: 0.001\n");
  const std::string html = page({"x/a", "y/a"});
  expect_page(html);
  // Names as long as they must be to differ.
  EXPECT_THAT(html, HasSubstr("class=\"line c1\" d=\"M1 5L25 5\"/></svg>y/a</li>"));
  EXPECT_LT(html.find("What the runs differ in"), html.find("What they share"));
  const std::string differ = html.substr(html.find("What the runs differ in"));
  EXPECT_LT(differ.find("<th class=\"t\">seed</th>"), differ.find("What they share"));
  EXPECT_GT(differ.find("optim.lr"), differ.find("What they share"));
}

TEST_F(Report, ABrokenLineIsNamedByFileAndLineAndLeftOut) {
  write_run("a", 2);
  std::ofstream(at("a/metrics.jsonl"), std::ios::app) << "{\"step\": 3, \"lo\n[1]\n{\"loss\": 1}\n"
                                                      << line(4, 2.5) << "\n{\"step\": 5, \"lo";
  const std::string html = page({"a"});
  expect_page(html);
  const std::string file = at("a/metrics.jsonl").string();
  EXPECT_EQ(log_.text, "warning: " + file +
                           ":3: it is no JSON, where a step was expected; the line is left "
                           "out\nwarning: " +
                           file +
                           ":4: it is no JSON object, where a step was expected; the line "
                           "is left out\nwarning: " +
                           file +
                           ":5: it has no number 'step', where a step was "
                           "expected; the line is left out\n");
  EXPECT_THAT(html, HasSubstr("What could not be read"));
  EXPECT_THAT(html, HasSubstr(":3: it is no JSON"));
  EXPECT_THAT(html, HasSubstr("unfinished, 4 steps"));  // the last line was being written
}

TEST_F(Report, OfManyBrokenLinesFiveAreNamed) {
  write_run("a", 1);
  std::ofstream file(at("a/metrics.jsonl"), std::ios::app);
  for (int i = 0; i < 1000; ++i) file << "?\n";
  file.close();
  page({"a"});
  EXPECT_THAT(log_.text, HasSubstr(":6: it is no JSON"));
  EXPECT_THAT(log_.text, Not(HasSubstr(":7: ")));
  EXPECT_THAT(log_.text, HasSubstr("995 more lines that are no steps are left out"));
}

TEST_F(Report, StepsThatWereTakenAgainReplaceTheEarlierOnes) {
  write_run("a", 10);
  std::ofstream file(at("a/metrics.jsonl"), std::ios::app);
  for (int step = 6; step <= 8; ++step) file << line(step, 0.25) << "\n";
  file.close();
  const std::string markdown = page({"a"}, "markdown");
  // Steps 1 to 5 as before, 6 to 8 anew, 9 and 10 not yet.
  EXPECT_THAT(markdown, HasSubstr("| 5 | 2 |\n| 6 | 0.25 |\n| 7 | 0.25 |\n| 8 | 0.25 |\n\n"));
  EXPECT_THAT(page({"a"}), HasSubstr("<title>resumed</title>"));
}

TEST_F(Report, ANullIsAValueThatWasNotFinite) {
  write_run("a", 3);
  std::ofstream(at("a/metrics.jsonl"), std::ios::app) << R"({"step": 4, "loss": null, "tokens": 7})"
                                                      << "\n";
  const std::string html = page({"a"});
  expect_page(html);
  EXPECT_THAT(html, HasSubstr("a: not finite at 4"));
  EXPECT_THAT(html, HasSubstr("<td>3.333</td>"));  // the last finite loss, of step 3
  EXPECT_THAT(page({"a"}, "markdown"), HasSubstr("| 4 | not finite |"));
}

TEST_F(Report, NamesAndValuesAreEscaped) {
  const std::string name = "a<b>&\"'|*`";
  write_run(name, 2, "system: '</table><script>alert(1)</script>'\noptim:\n  lr: 0.001\n");
  const std::string html = page({name});
  EXPECT_EQ(elements_of(html).error, "");
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("&lt;/table&gt;&lt;script&gt;alert(1)"));
  const std::string markdown = page({name}, "markdown");
  EXPECT_THAT(markdown, HasSubstr("# a&lt;b&gt;&amp;&#34;&#39;\\|\\*\\`\n"));
}

// The second and third step are taken again after a resumption; the first is of an older version,
// which wrote no kinds.
TEST_F(Report, TheGaugeIsACurveInAllAndByKindAndAPlaceForEveryLayer) {
  write_run("a", 1);
  write("a/metrics.jsonl",
        "{\"step\":1,\"loss\":2,\"forgetting\":0.0625}\n"
        "{\"step\":2,\"loss\":2,\"forgetting\":9.0,\"forgetting_by_kind\":{\"q_proj\":9.0}}\n"
        "{\"step\":3,\"loss\":2}\n"
        "{\"step\":2,\"loss\":2,\"forgetting\":0.125,"
        "\"forgetting_by_kind\":{\"q_proj\":0.25,\"up_proj\":0.5}}\n"
        "{\"step\":3,\"loss\":2}\n"
        "{\"step\":4,\"loss\":2,\"forgetting\":0.375,"
        "\"forgetting_by_kind\":{\"q_proj\":0.75,\"up_proj\":null}}\n");
  write("a/forgetting.json",
        R"({"step":4,"in_all":0.375,"layers":[
            {"module":"model.layers.0.self_attn.q_proj","forgetting":0.625},
            {"module":"model.layers.1.self_attn.q_proj","forgetting":0.875},
            {"module":"model.layers.1.mlp.up_proj","forgetting":null}]})");
  const std::string markdown = page({"a"}, "markdown");
  EXPECT_THAT(markdown, HasSubstr("**Forgetting gauge F** (F)\n\n| step | a |\n|---:|---:|\n"
                                  "| 1 | 0.0625 |\n| 2 | 0.125 |\n| 4 | 0.375 |\n\n"));
  EXPECT_THAT(markdown, HasSubstr("**Forgetting gauge F by kind of layer** (F)\n\n"
                                  "| step | q\\_proj | up\\_proj |\n|---:|---:|---:|\n"
                                  "| 2 | 0.25 | 0.5 |\n| 4 | 0.75 | not finite |\n\n"));
  EXPECT_THAT(markdown, HasSubstr("**Forgetting gauge F of each layer after step 4** (F)\n\n"
                                  "| block | q\\_proj |\n|---:|---:|\n| 0 | 0.625 |\n"
                                  "| 1 | 0.875 |\n\n"));
  EXPECT_THAT(log_.text, Not(HasSubstr("left out")));
  const std::string html = page({"a"});
  expect_page(html);
  for (const char* title :
       {"<figcaption>Forgetting gauge F</figcaption>",
        "<figcaption>Forgetting gauge F by kind of layer</figcaption>",
        "<figcaption>Forgetting gauge F of each layer after step 4</figcaption>"})
    EXPECT_THAT(html, HasSubstr(title));
  write("a/forgetting.json", R"({"step":4,"layers":[{"forgetting":1}]})");
  EXPECT_THAT(page({"a"}, "markdown"), Not(HasSubstr("of each layer")));
  EXPECT_THAT(log_.text, HasSubstr("forgetting.json': a layer: the key 'module' is missing"));
}

// Where a resumed run was evaluated on other data, a lower loss on those before is no loss of it.
TEST_F(Report, TheLowestEvaluationIsOneOnTheDataOfTheLast) {
  write_run("a", 1);
  write("a/metrics.jsonl",
        "{\"step\":1,\"loss\":2,\"eval_loss\":0.125,\"eval_data\":\"aa\"}\n"
        "{\"step\":2,\"loss\":2,\"eval_loss\":2.5,\"eval_data\":\"bb\"}\n"
        "{\"step\":3,\"loss\":2,\"eval_loss\":2.75,\"eval_data\":\"bb\"}\n");
  EXPECT_THAT(page({"a"}, "markdown"), HasSubstr(" | 2.75 | 2.5 | "));
}

TEST_F(Report, UnknownNumbersAreCurvesToo) {
  write_run("a", 1);
  write("a/metrics.jsonl", "{\"step\":1,\"loss\":2,\"new_thing\":3,\"word\":\"w\"}\n");
  const std::string markdown = page({"a"}, "markdown");
  EXPECT_THAT(markdown,
              HasSubstr("**new thing** (new thing)\n\n| step | a |\n|---:|---:|\n| 1 | 3 |\n"));
  EXPECT_THAT(markdown, Not(HasSubstr("**word**")));
}

TEST_F(Report, A100000StepRunIsAPageOfBoundedSizeInBoundedTime) {
  write_run("a", 100000);
  const auto begin = std::chrono::steady_clock::now();
  const std::string html = page({"a"});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  expect_page(html);
  EXPECT_LT(html.size(), 200000U);
  EXPECT_LT(seconds.count(), 20);  // about one second on an idle core
  EXPECT_THAT(html, HasSubstr("unfinished, 100 000 steps"));
  EXPECT_THAT(html, HasSubstr("Bold: the mean of the 2000 steps around each; faint: every step."));
}

// Two methods at two rates, two seeds of one, measured by a task and a kept measure.
class Comparison : public Report {
 protected:
  void SetUp() override {
    add("lora-1-0", "lora", 1e-3, 0, 2.0, 60);
    add("lora-1-1", "lora", 1e-3, 1, 2.2, 64);
    add("lora-4-0", "lora", 4e-3, 0, 1.8, 40);
    add("dual-1-0", "dual", 1e-3, 0, 1.9, 95);
    evaluation("base", "task", 5, 0);
    evaluation("base", "facts", 4, 99.5);
    base_ = at("base").string();
  }
  void evaluation(const std::string& run, const std::string& name, double nll, double score) const {
    std::ostringstream json;
    if (name == "task")
      json << R"({"task":"perplexity","score":)" << std::exp(nll)
           << R"(,"score_name":"perplexity","nll":)" << nll << R"(,"samples":9})";
    else
      json << R"({"task":"qa","score":)" << score << R"(,"score_name":"exact_match","nll":)" << nll
           << R"(,"samples":9})";
    write(run + "/evaluations/" + name + ".json", json.str());
  }
  void add(const std::string& name, const std::string& group, double rate, int seed, double loss,
           double kept) const {
    write_run(name, 3);
    std::ostringstream json;
    json << R"({"group":")" << group << R"(","rate":)" << rate << R"(,"seed":)" << seed << "}";
    write(name + "/study.json", json.str());
    evaluation(name, "task", loss, 0);
    evaluation(name, "facts", 4, kept);
  }
  const std::vector<std::string> all_ = {"lora-1-0", "lora-1-1", "lora-4-0", "dual-1-0"};
};

TEST_F(Comparison, IsAMeanWithItsSpreadOverSeedsAndTheBestRate) {
  const std::string markdown = page(all_, "markdown");
  EXPECT_THAT(markdown,
              HasSubstr("| method | rate | runs | task, nats a token | facts, exact\\_match |\n"
                        "|---|---:|---:|---:|---:|\n"
                        "| base model |  |  | 5.0000 | 99.50 |\n"
                        "| lora | 0.001 | 2 | 2.1000 (0.2000) | 62.00 (4.00) |\n"
                        "| lora | 0.004 \xE2\x97\x86 | 1 | 1.8000 | 40.00 |\n"
                        "| dual | 0.001 \xE2\x97\x86 | 1 | 1.9000 | 95.00 |\n"));
}

TEST_F(Comparison, HasACurveOfTaskLossAgainstEachKeptMeasure) {
  const std::string html = page(all_);
  expect_page(html);
  EXPECT_THAT(html, HasSubstr("facts against task"));
  EXPECT_THAT(html, HasSubstr("<title>lora-1-1, rate 0.001: 2.2000, 64.00</title>"));
  EXPECT_THAT(html, HasSubstr(">base model</text>"));
  EXPECT_THAT(html, HasSubstr("Further left: learnt more. Higher: kept more."));
}

TEST_F(Comparison, AStudySaysWhatIsFinishedAndWhatFailed) {
  write("lora-1-0/study.json", R"({"state": "done"})");
  write("lora-1-1/study.json", R"({"state": "failed"})");
  const std::string markdown = page(all_, "markdown");
  EXPECT_THAT(markdown, HasSubstr("| lora-1-0 | lora | finished, 3 steps |"));
  EXPECT_THAT(markdown, HasSubstr("| lora-1-1 | lora | failed, 3 steps |"));
  EXPECT_THAT(markdown, HasSubstr("| dual-1-0 | lora | unfinished, 3 steps |"));
}

TEST_F(Comparison, AnEvaluationThatCannotBeReadIsNamed) {
  write("dual-1-0/evaluations/facts.json", "{");
  write("dual-1-0/evaluations/other.json", "{\"score\": 1}");
  const std::string markdown = page(all_, "markdown");
  EXPECT_THAT(markdown, HasSubstr("| dual | 0.001 \xE2\x97\x86 | 1 | 1.9000 | - |\n"));
  EXPECT_THAT(log_.text, HasSubstr("facts.json:1:"));
  EXPECT_THAT(log_.text, HasSubstr("other.json': the key 'task' is missing"));
}

TEST_F(Report, LayersShowEnergiesOfTheAdapterAndWhatInspectSays) {
  write_run("a", 2);
  write("a/adapter/corda.json",
        R"({"mode": "kpa", "base": {"name": "b", "fingerprint": "sha256-sampled:12ab"},
    "covariances": ["sha256-sampled:34cd"], "layers": {
    "model.layers.0.self_attn.q_proj": {"energy": 1, "total_energy": 100},
    "model.layers.1.self_attn.q_proj": {"energy": 2, "total_energy": 100},
    "model.layers.1.mlp.up_proj": {"rank": 4}}})");
  const std::string inspected = R"({"result": {"layers": [
    {"module": "model.layers.0.self_attn.q_proj", "update_norm": 5, "singular_values": [4, 3]},
    {"module": "model.layers.1.self_attn.q_proj", "update_norm": 5, "singular_values": [2, 1]}]}})";
  const std::string markdown =
      page({"a"}, "markdown", {.program = "corda 9", .inspected = {{at("a").string(), inspected}}});
  EXPECT_THAT(markdown,
              HasSubstr("| block | q\\_proj |\n|---:|---:|\n| 0 | 0.01 |\n| 1 | 0.02 |\n"));
  EXPECT_THAT(markdown,
              HasSubstr("| index | mean of the blocks |\n|---:|---:|\n| 1 | 3 |\n| 2 | 2 |\n"));
  EXPECT_THAT(markdown, HasSubstr("| a | base | sha256-sampled:12ab |\n"));
  EXPECT_THAT(markdown, HasSubstr("| a | covariance | sha256-sampled:34cd |\n"));
  EXPECT_THAT(markdown, HasSubstr("| a | lora kpa | finished, 2 steps |"));
  EXPECT_THAT(markdown, HasSubstr("This page was made by corda 9."));
  expect_page(page({"a"}, "html", {.inspected = {{at("a").string(), inspected}}}));
}

TEST_F(Report, TheFormatIsThatOfTheNameAndWhatIsNoRunIsNamed) {
  write_run("a", 2);
  core::Reporter silent;
  const std::string out = at("r.md").string();
  const std::string text = report({.runs = {at("a").string()}, .out = out}, silent);
  EXPECT_EQ(text.substr(0, 4), "# a\n");
  EXPECT_EQ(core::read_file(out), text);
  EXPECT_EQ(error_of<core::IoError>([&] { report({.runs = {at("none").string()}}, silent); }),
            "'" + at("none").string() + "' is no run of corda train: it does not exist");
  EXPECT_THAT(error_of<core::ConfigError>([&] { report({}, silent); }), HasSubstr("runs"));
}

}  // namespace
}  // namespace corda::report
