// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Conversations through the program: preview, training, and the template in what it writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "corda/core/file.h"
#include "core/json.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::HasSubstr;
using testing::ProcessResult;
using testing::run_corda;

constexpr const char* kDated =
    "{% for m in messages %}{{ 'On ' + strftime_now('%d %b %Y') + ': ' }}{% generation %}"
    "{{ m.content }}{% endgeneration %}{% endfor %}";

class ChatCli : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(
        at("base"),
        {.vocab = 257, .hidden = 32, .intermediate = 64, .layers = 1, .heads = 4, .kv_heads = 2});
    std::string lines;
    for (int i = 0; i < 6; ++i) {
      lines +=
          Json{{"messages", Json::array({{{"role", "user"}, {"content", "q" + std::to_string(i)}},
                                         {{"role", "assistant"}, {"content", "an answer"}}})}}
              .dump() +
          "\n";
    }
    write("chat.jsonl", lines);
  }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(at(name)) << content;
  }
  ProcessResult preview(std::vector<std::string> more,
                        const std::string& data = "chat.jsonl") const {
    std::vector<std::string> arguments = {"preview", "--model",    at("base"), "--data",
                                          at(data),  "--template", "chatml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_corda(arguments);
  }
  ProcessResult train(const std::string& template_name, const std::string& method,
                      const std::string& out, std::vector<std::string> more = {}) const {
    write("train.yaml", "model: " + at("base") + "\nmethod: " + method + "\ndata: {train: [" +
                            at("chat.jsonl") + "], template: " + template_name +
                            ", max_length: 256}\noptim: {batch_size: 3, max_steps: 2}\n"
                            "lora: {rank: 2}\nthreads: 1\nout: " +
                            at(out) + "\n");
    std::vector<std::string> arguments = {"train", "--config", at("train.yaml")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_corda(arguments);
  }
  Json json(const std::string& name) const { return core::read_json(at(name)); }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(ChatCli, PreviewShowsMaskTotalsAndWarnings) {
  const ProcessResult result = preview({"--json", "--samples", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json shown = core::parse_json(result.out, "preview");
  EXPECT_EQ(shown["samples"].size(), 2U);
  EXPECT_EQ(shown["totals"]["samples"], 6);
  EXPECT_EQ(shown["totals"]["with_eos"], 6);
  EXPECT_EQ(shown["template"], "chatml");
  const Json& first = shown["samples"][0];
  EXPECT_THAT(first["place"].get<std::string>(), HasSubstr("chat.jsonl:1:1"));
  EXPECT_THAT(first["text"].get<std::string>(), HasSubstr("<|im_start|>user\nq0<|im_end|>\n"));
  EXPECT_EQ(first["ids"].size(), first["supervised"].size());
  EXPECT_EQ(first["ids"].size(), first["pieces"].size());
  EXPECT_GE(first["borders"].size(), 3U);
  // The bytes of a byte-level vocabulary: every character of "an answer<|im_end|>\n", and EOS.
  std::int64_t supervised = 0;
  for (const auto& one : first["supervised"]) supervised += one.get<std::int64_t>();
  EXPECT_EQ(supervised, 9 + 10 + 1 + 1);
  EXPECT_THAT(shown["warnings"].dump(), HasSubstr("no special tokens of this vocabulary"));
}

TEST_F(ChatCli, PreviewMarksWhatIsLearntWithAndWithoutColour) {
  const ProcessResult plain = preview({"--sample", "3"});
  EXPECT_THAT(plain.out, HasSubstr("sample 3 ("));
  EXPECT_THAT(plain.out, HasSubstr("q3"));
  EXPECT_THAT(plain.out, HasSubstr("«an answer»|«<|im_end|>\n"));
  const ProcessResult color = preview({"--sample", "3", "--color", "always"});
  EXPECT_THAT(color.out, HasSubstr("\x1B[32man answer\x1B[0m"));
  EXPECT_EQ(color.out.find("«"), std::string::npos);
}

TEST_F(ChatCli, PreviewWritesAPageWithEscapedText) {
  const ProcessResult result = preview({"--html", at("page.html"), "--samples", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string page = core::read_file(at("page.html"));
  EXPECT_THAT(page, HasSubstr("<span class=\"y b\">an answer</span>"));
  EXPECT_THAT(page, HasSubstr("&lt;|im_start|&gt;user"));
}

TEST_F(ChatCli, PreviewReplacesAnEarlierPageAndNoOtherFile) {
  ASSERT_EQ(preview({"--html", at("page.html"), "--samples", "1"}).exit_code, 0);
  ASSERT_EQ(preview({"--html", at("page.html"), "--samples", "2"}).exit_code, 0);
  const std::string page = core::read_file(at("page.html"));
  EXPECT_THAT(page, HasSubstr("sample 1 ("));
  write("page.jsonl", page);  // even as data a page is no place for one
  write("notes.html", "<!DOCTYPE html>\n<html lang=\"en\">mine");
  fs::create_directory_symlink(at("base"), at("link"));
  const auto refuses = [&](const std::string& file, const std::string& why,
                           const std::string& data = "chat.jsonl") {
    const auto content = [&] {
      return fs::exists(at(file)) ? core::read_file(at(file)) : std::string("none");
    };
    const std::string before = content();
    const ProcessResult result = preview({"--html", at(file)}, data);
    EXPECT_EQ(result.exit_code, 2) << file;
    EXPECT_THAT(result.err, HasSubstr("--html '" + at(file) + "' " + why));
    EXPECT_EQ(result.out, "") << file;
    EXPECT_EQ(content(), before) << file;
  };
  refuses("notes.html", "already exists and is no page of an earlier preview");
  refuses("page.jsonl", "is a file of --data", "page.jsonl");
  refuses("base/config.json", "lies in --model");
  refuses("link/new.html", "lies in --model");
}

TEST_F(ChatCli, PreviewShowsTruncationAndAnswersWrongRequests) {
  const ProcessResult cut = preview({"--max-length", "60", "--samples", "1"});
  EXPECT_THAT(cut.out, HasSubstr("60 tokens"));
  EXPECT_THAT(cut.out, HasSubstr(", cut from "));
  EXPECT_THAT(cut.out, HasSubstr("6 samples were longer than 60 tokens"));
  EXPECT_EQ(preview({"--sample", "6"}).exit_code, 2);
  EXPECT_EQ(preview({"--template", "chat"}).exit_code, 2);  // given twice, or no such template
  write("bad.jsonl", "{\"messages\": [}\n");
  const ProcessResult bad = preview({}, "bad.jsonl");
  EXPECT_EQ(bad.exit_code, 3);
  EXPECT_THAT(bad.err, HasSubstr("bad.jsonl:1:15"));
}

TEST_F(ChatCli, TheTemplateOfTheTrainingIsWrittenIntoTheMergedModel) {
  const ProcessResult trained = train("chatml", "lora", "run");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("no special tokens of this vocabulary"));
  const Json notes = json("run/adapter/corda.json");
  EXPECT_EQ(notes["template"]["name"], "chatml");
  const ProcessResult merged = run_corda(
      {"merge", "--model", at("base"), "--adapter", at("run/adapter"), "--out", at("merged")});
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  Json config = json("merged/tokenizer_config.json");
  EXPECT_EQ(config["chat_template"], notes["template"]["chat_template"]);
  EXPECT_THAT(config["chat_template"].get<std::string>(), HasSubstr("<|im_start|>"));
  config.erase("chat_template");
  EXPECT_EQ(config, json("base/tokenizer_config.json"));
  EXPECT_FALSE(fs::exists(at("merged/chat_template.jinja")));
  for (const char* name : {"config.json", "tokenizer.json"})
    EXPECT_EQ(core::read_file(at("merged/") + name), core::read_file(at("base/") + name)) << name;
  // The merged model carries the template: `chat` now means the same samples.
  const ProcessResult again = run_corda(
      {"preview", "--model", at("merged"), "--data", at("chat.jsonl"), "--json", "--samples", "6"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  const Json own = core::parse_json(again.out, "preview");
  const Json named = core::parse_json(preview({"--json", "--samples", "6"}).out, "preview");
  EXPECT_EQ(own["template"], "chat");
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(own["samples"][i]["ids"], named["samples"][i]["ids"]);
    EXPECT_EQ(own["samples"][i]["supervised"], named["samples"][i]["supervised"]);
  }
}

TEST_F(ChatCli, FullFineTuningWritesTheTemplateToo) {
  const ProcessResult trained = train("vicuna", "full", "run");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(json("run/model/tokenizer_config.json")["chat_template"].get<std::string>(),
              HasSubstr("ASSISTANT:"));
}

TEST_F(ChatCli, TheModelsOwnTemplateLeavesItsFilesAlone) {
  write("base/chat_template.jinja",
        "{% for m in messages %}{{ m.role + ': ' }}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% endfor %}");
  const ProcessResult trained = train("chat", "lora", "run");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_EQ(json("run/adapter/corda.json")["template"]["chat_template"], "");
  const ProcessResult merged = run_corda(
      {"merge", "--model", at("base"), "--adapter", at("run/adapter"), "--out", at("merged")});
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  for (const char* name : {"tokenizer_config.json", "chat_template.jinja"})
    EXPECT_EQ(core::read_file(at("merged/") + name), core::read_file(at("base/") + name)) << name;
}

TEST_F(ChatCli, PreviewShowsTheDateItIsGiven) {
  write("own.jinja", kDated);
  const std::vector<std::string> command = {
      "preview", "--model", at("base"), "--data", at("chat.jsonl"), "--template", at("own.jinja")};
  std::vector<std::string> dated = command;
  dated.insert(dated.end(), {"--date", "2020-02-02"});
  EXPECT_THAT(run_corda(dated).out, HasSubstr("On 02 Feb 2020: |"));
  dated.back() = "2020-02-30";
  const ProcessResult wrong = run_corda(dated);
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("'2020-02-30' is no day"));
}

TEST_F(ChatCli, AResumedRunKeepsTheDateOfItsStart) {
  write("own.jinja", kDated);
  const auto go = [&](std::vector<std::string> more, bool kill) {
    train(at("own.jinja"), "lora", "run", {"--dry-run"});  // writes train.yaml
    std::vector<std::string> arguments = {
        "train", "--config",          at("train.yaml"), "--set", "checkpoint.every=1",
        "--set", "optim.max_steps=60"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    if (!kill) return run_corda(arguments);
    return testing::run_disturbed(
        arguments,
        [&](pid_t process, const std::string&) {
          if (!fs::exists(at("run/checkpoints/step-1/state.json"))) return true;
          ::kill(process, SIGKILL);
          return false;
        },
        [&] { fs::remove_all(at("run")); });
  };
  EXPECT_EQ(go({"--set", "data.date=2020-02-02"}, true).exit_code, 128 + SIGKILL);
  const ProcessResult other = go({"--resume", "--set", "data.date=2021-02-02"}, false);
  EXPECT_EQ(other.exit_code, 2) << other.err;
  EXPECT_THAT(other.err, HasSubstr("the settings differ"));
  const ProcessResult resumed = go({"--resume"}, false);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(core::read_file(at("run/config.resolved.yaml")), HasSubstr("date: 2020-02-02"));
  // What is not given is the day of the start, and is recorded.
  ASSERT_EQ(train(at("own.jinja"), "lora", "now").exit_code, 0);
  EXPECT_THAT(core::read_file(at("now/config.resolved.yaml")),
              ::testing::ContainsRegex("date: [0-9]{4}-[0-9]{2}-[0-9]{2}"));
}

TEST_F(ChatCli, ACacheGivesTheSameAdapterAndIsFoundAgain) {
  ASSERT_EQ(train("chatml", "lora", "plain").exit_code, 0);
  const std::vector<std::string> cache = {"--set", "data.cache=" + at("cache")};
  ASSERT_EQ(train("chatml", "lora", "first", cache).exit_code, 0);
  const ProcessResult second = train("chatml", "lora", "second", cache);
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("tokenised data from"));
  const std::string expected = core::read_file(at("plain/adapter/adapter_model.safetensors"));
  for (const char* run : {"first", "second"})
    EXPECT_EQ(core::read_file(at(run) + "/adapter/adapter_model.safetensors"), expected) << run;
}

}  // namespace
}  // namespace corda
