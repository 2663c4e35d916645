// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What users have and how they ask: the Hugging Face cache, patterns, configuration, completion.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "cli/job.h"
#include "corda/core/config_node.h"
#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kCommit = "0123456789012345678901234567890123456789";

class FrontDoor : public Job {
 protected:
  // The folder's files as a repository of a cache: blobs, and links to them in a snapshot.
  void cache(const fs::path& files, const std::string& repository) const {
    const fs::path root = path("hub") / repository;
    fs::create_directories(root / "blobs");
    fs::create_directories(root / "refs");
    std::ofstream(root / "refs/main") << kCommit;
    for (const auto& entry : fs::recursive_directory_iterator(files)) {
      if (entry.is_directory()) continue;
      const fs::path name = entry.path().lexically_relative(files);
      std::string blob = name.string();
      std::replace(blob.begin(), blob.end(), '/', '-');
      fs::copy_file(entry.path(), root / "blobs" / blob);
      const fs::path link = root / "snapshots" / kCommit / name;
      fs::create_directories(link.parent_path());
      fs::create_symlink(fs::relative(root / "blobs" / blob, link.parent_path()), link);
    }
  }
  ProcessResult run_with(const std::string& variable, std::vector<std::string> arguments) const {
    std::vector<std::string> argv = {"/usr/bin/env", "-u",     "HF_HOME",   "-u",
                                     "HF_HUB_CACHE", variable, CORDA_BINARY};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run_process(argv);
  }
  ProcessResult run_cached(std::vector<std::string> arguments) const {
    return run_with("HF_HUB_CACHE=" + at("hub"), std::move(arguments));
  }
};

TEST_F(FrontDoor, AModelOfTheCacheIsFoundByEveryVariableAndByNoOther) {
  cache(base(), "models--org--tiny");
  write("lines.txt", "hello\n");
  const std::vector<std::string> verb = {"tokenize", "--model", "org/tiny", "--data",
                                         at("lines.txt")};
  const std::string expected =
      run_corda({"tokenize", "--model", base(), "--data", at("lines.txt")}).out;
  EXPECT_THAT(expected, StartsWith("["));
  EXPECT_EQ(run_cached(verb).out, expected);
  fs::create_directory_symlink(path("hub"), path("linked"));
  EXPECT_EQ(run_with("HF_HUB_CACHE=" + at("linked"), verb).out, expected);
  fs::create_directories(path("home/huggingface"));
  fs::create_directory_symlink(path("hub"), path("home/huggingface/hub"));
  EXPECT_EQ(run_with("HF_HOME=" + at("home/huggingface"), verb).out, expected);
  EXPECT_EQ(run_with("XDG_CACHE_HOME=" + at("home"), verb).out, expected);
  const ProcessResult none = run_with("HF_HOME=" + at("nowhere"), verb);
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_EQ(none.err,
            "corda: error: there is no folder 'org/tiny', and the Hugging Face "
            "cache (" +
                at("nowhere/hub") +
                ") has no model 'org/tiny'; fetch it with: hf "
                "download org/tiny\n");
}

// Folders may be called so: LibTorch comes out of a Python package.
TEST_F(FrontDoor, TheProgramNeedsNoPython) {
  const ProcessResult loaded =
      run_process({"/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", CORDA_BINARY});
  ASSERT_EQ(loaded.exit_code, 0) << loaded.err;
  EXPECT_THAT(loaded.out, HasSubstr("libtorch_cpu.so"));
  std::istringstream lines(loaded.out);
  for (std::string line; std::getline(lines, line);)
    EXPECT_THAT(line.substr(0, line.find(" => ")), Not(HasSubstr("python")));
  // Nothing that a PATH leads to is started.
  const std::vector<std::string> train = {"/usr/bin/env",
                                          "-i",
                                          "PATH=" + at("nowhere"),
                                          CORDA_BINARY,
                                          "train",
                                          "--set",
                                          "model=" + base(),
                                          "--set",
                                          "method=lora",
                                          "--set",
                                          "lora.rank=2",
                                          "--set",
                                          "data.train=" + at("task.jsonl"),
                                          "--set",
                                          "device=cpu",
                                          "--out",
                                          at("run")};
  const ProcessResult trained = run_process(train);
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
}

TEST_F(FrontDoor, AnAdapterNamesItsBaseAsTheHubDoes) {
  cache(base(), "models--org--tiny");
  const ProcessResult made = run_cached({"decompose", "--model", "org/tiny", "--method", "pissa",
                                         "--rank", "2", "--out", at("start"), "--device", "cpu"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(core::read_json(path("start/adapter_config.json"))["base_model_name_or_path"],
            "org/tiny");
  const ProcessResult merged = run_cached(
      {"merge", "--model", "hf://org/tiny", "--adapter", at("start"), "--out", at("merged")});
  EXPECT_EQ(merged.exit_code, 0) << merged.err;
}

TEST_F(FrontDoor, DataOfTheCacheAndPatternsAreTheirFiles) {
  fs::create_directories(path("set/data"));
  fs::copy_file(path("task.jsonl"), path("set/data/train-1.jsonl"));
  fs::copy_file(path("task.jsonl"), path("set/data/train-2.jsonl"));
  fs::copy_file(path("facts.jsonl"), path("set/facts.jsonl"));
  write("set/README.md", "# a card");
  cache(path("set"), "datasets--org--set");
  const auto samples = [&](const std::string& data) {
    write("t.yaml", "model: " + base() + "\nmethod: lora\nlora: {rank: 2}\nout: " + at("run") +
                        "\ndata: {train: " + data + "}\n");
    const ProcessResult result =
        run_cached({"train", "--config", at("t.yaml"), "--dry-run", "--json"});
    if (result.exit_code != 0) return result.err;
    return std::to_string(core::parse_json(result.out, "plan")["samples"].get<int>());
  };
  EXPECT_EQ(samples("hf://datasets/org/set/data/train-1.jsonl"), "24");
  EXPECT_EQ(samples("[{path: 'hf://datasets/org/set/data/train-*.jsonl', count: 10}]"), "20");
  EXPECT_EQ(samples("['" + at("set/data") + "/train-?.jsonl', " + at("task.jsonl") + "]"), "72");
  EXPECT_THAT(samples("'" + at("none-*.jsonl") + "'"),
              HasSubstr("error: 'data.train': no file matches '" + at("none-*.jsonl") + "'"));
  EXPECT_THAT(samples("hf://datasets/org/set"),
              HasSubstr("'hf://datasets/org/set' holds 3 files; name one, or a pattern, behind it: "
                        "data/train-1.jsonl, data/train-2.jsonl, facts.jsonl"));
  EXPECT_THAT(samples("hf://datasets/org/set/test.jsonl"),
              HasSubstr("fetch it with: hf download org/set test.jsonl --repo-type dataset"));
  EXPECT_THAT(samples("hf://datasets/org/other/a.jsonl"),
              HasSubstr("has no dataset 'org/other'; fetch it with: hf download org/other a.jsonl "
                        "--repo-type dataset"));
}

TEST_F(FrontDoor, AMixtureTrainsOnEachPartAsItsWeightSays) {
  write("a.jsonl",
        "{\"prompt\": \"a\", \"completion\": \"a\"}\n{\"prompt\": \"b\", "
        "\"completion\": \"b\"}\n");
  const auto config = [&](const std::string& weights) {
    write("t.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
    return std::vector<std::string>{"train",
                                    "--config",
                                    at("t.yaml"),
                                    "--set",
                                    "data.train=[{path: " + at("task.jsonl") + weights + "]",
                                    "--json"};
  };
  const ProcessResult one = run_corda(config("}, {path: " + at("a.jsonl") + ", weight: 1}"));
  EXPECT_EQ(one.exit_code, 2);
  EXPECT_THAT(one.err, HasSubstr("task.jsonl' has no weight and others do"));
  const ProcessResult mixed =
      run_corda(config(", weight: 1}, {path: " + at("a.jsonl") + ", weight: 1}"));
  EXPECT_EQ(mixed.exit_code, 0) << mixed.err;
  EXPECT_THAT(core::read_file(path("run/config.resolved.yaml")), HasSubstr("weight: 1"));
}

TEST_F(FrontDoor, TheSchemaInTheFolderOfConfigurationsIsTheProgramsOwn) {
  const fs::path configs = fs::path(CORDA_SOURCE_DIR) / "configs";
  EXPECT_EQ(run_corda({"config", "--schema"}).out, core::read_file(configs / "train.schema.json"));
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(configs)) {
    // Files of studies have settings of their own (study_test reads them).
    if (entry.path().extension() != ".yaml" || entry.path().parent_path().filename() == "studies")
      continue;
    ++files;
    const std::string schema =
        fs::relative(configs / "train.schema.json", entry.path().parent_path()).string();
    EXPECT_THAT(core::read_file(entry.path()),
                HasSubstr("# yaml-language-server: $schema=" + schema + "\n"))
        << entry.path();
  }
  EXPECT_EQ(files, 21);
}

TEST_F(FrontDoor, ThePageOfSettingsInDocsIsTheProgramsOwn) {
  // To renew it: corda config --markdown > docs/settings.md
  EXPECT_EQ(run_corda({"config", "--markdown"}).out,
            core::read_file(fs::path(CORDA_SOURCE_DIR) / "docs/settings.md"));
}

TEST_F(FrontDoor, ASettingOrAFlagIsExplained) {
  EXPECT_THAT(run_corda({"config", "--explain", "optim.lr"}).out,
              StartsWith("optim.lr: learning rate at its peak\n"));
  EXPECT_THAT(
      run_corda({"config", "--explain", "--damping"}).out,
      StartsWith(
          "corda decompose --damping: c of C + c mean(diag C) I (modes kpa, ipa, dual, cloq)\n"));
  const ProcessResult foreign = run_corda({"config", "--explain", "gradient_accumulation_steps"});
  EXPECT_EQ(foreign.exit_code, 2);
  EXPECT_THAT(foreign.err, HasSubstr("optim.batch_size"));
  EXPECT_THAT(run_corda({"config"}).err,
              HasSubstr("corda config wants one of: --schema, --markdown, --explain SETTING, init "
                        "METHOD"));
}

TEST_F(FrontDoor, AFileThatInitWroteFitsTheModelAndCanBeRun) {
  for (const std::string method : {"lora", "full"}) {
    const std::string file = at(method + ".yaml");
    const ProcessResult made =
        run_corda({"config", "init", method, "--model", base(), "--data", at("task.jsonl"),
                   "--eval-data", at("task.jsonl"), "--out", file});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const ProcessResult plan =
        run_corda({"train", "--config", file, "--dry-run", "--json", "--out", at("run-" + method)});
    ASSERT_EQ(plan.exit_code, 0) << plan.err << core::read_file(file);
    const Json settings = core::parse_json(plan.out, "plan")["settings"];
    EXPECT_EQ(settings["data"]["train"][0]["format"], "alpaca");
    if (method == "lora") {
      EXPECT_EQ(settings["lora"]["rank"], 8);  // k_proj has 16 rows
    }
  }
  const std::string dual = run_corda({"config", "init", "dual", "--model", base(), "--data",
                                      at("task.jsonl"), "--knowledge", at("facts.jsonl")})
                               .out;
  EXPECT_THAT(dual, HasSubstr("--mode dual --rank 8 --data " + at("facts.jsonl") + " --task-data " +
                              at("task.jsonl") + " --out adapters/dual\n"));
  // docs/dual.md says why it decays; docs_test holds both values to that page.
  EXPECT_THAT(dual, HasSubstr("optim:\n  lr: 2.0e-3 "));
  EXPECT_THAT(dual, HasSubstr("\n  decay_total: 1 "));
  EXPECT_THAT(core::read_file(at("lora.yaml")), Not(HasSubstr("decay")));
  const ProcessResult again = run_corda({"config", "init", "lora", "--out", at("lora.yaml")});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, HasSubstr("is there already"));
}

TEST_F(FrontDoor, InitSaysThatRecordsCannotBeRead) {
  write("bad.jsonl", R"({"instruction": "a"
{"instruction": "a", "output": "b"}
{"instruction": "a", "output": "c"}
)");
  const ProcessResult made =
      run_corda({"config", "init", "lora", "--model", base(), "--data", at("bad.jsonl")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("\n  # skip_bad: true "));
  EXPECT_THAT(made.out, HasSubstr("# 1 of the first 500 records cannot be read: without this "
                                  "training stops there\n"));
  EXPECT_THAT(made.out, HasSubstr("# samples a step, of 2\n"));
}

TEST_F(FrontDoor, APlanNeedsNoWeightsNoDataAndNoGpu) {
  fs::remove(path("base/model.safetensors"));
  write("t.yaml", "model: " + base() + "\nmethod: lora\nlora: {rank: 2}\nout: " + at("run") +
                      "\ndata: {train: [" + at("later.jsonl") + "], max_length: 256}\n");
  const std::vector<std::string> verb = {"plan", "--config", at("t.yaml"), "--gpu", "3090"};
  const Json plan = result_of(verb);
  EXPECT_EQ(plan["gpu"], "RTX 3090");
  EXPECT_EQ(plan["fits"], true);
  EXPECT_EQ(plan["rank"], 2);
  EXPECT_EQ(plan["steps"], 0);
  std::int64_t sum = 0;
  for (const auto& [what, bytes] : plan["bytes"].items()) sum += bytes.get<std::int64_t>();
  EXPECT_EQ(plan["total_bytes"], sum);
  write("later.jsonl", core::read_file(path("task.jsonl")));
  EXPECT_EQ(result_of(verb)["steps"], 1);  // 24 samples in batches of 128
  const ProcessResult none = run_corda({"plan", "--config", at("t.yaml")});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("this machine has no GPU to plan for; name one with --gpu"));
}

TEST_F(FrontDoor, OtherVerbsArePlannedToo) {
  const Json calibrate = result_of({"plan", "calibrate", "--model", base(), "--gpu", "H100"});
  // Two blocks: inputs of 32 features at three sites and of 64 at one.
  EXPECT_EQ(calibrate["disk_bytes"], 2 * 4 * (3 * (32 * 33 / 2) + 64 * 65 / 2));
  const Json decompose = result_of(
      {"plan", "decompose", "--model", base(), "--gpu", "H100", "--stored-rank", "4", "--dual"});
  EXPECT_GT(decompose["total_bytes"], 0);
  const Json merge = result_of({"plan", "merge", "--model", base()});
  EXPECT_EQ(merge["disk_bytes"], 2 * (2 * 257 * 32 + 2 * (32 * 96 + 3 * 32 * 64 + 64) + 32));
}

TEST_F(FrontDoor, TheDoctorTestsEveryBackend) {
  const ProcessResult result =
      run_corda({"doctor", "--device", "cpu", "--disk", folder_.path().string(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json report = core::parse_json(result.out, "doctor");
  EXPECT_EQ(report["self_test"].size(), 8U);
  for (const Json& check : report["self_test"])
    EXPECT_TRUE(check["passed"].get<bool>()) << check.dump();
  EXPECT_GT(report["disk"]["write_bytes_per_second"], 0.0);
  EXPECT_THAT(report["software"]["torch"].get<std::string>(), StartsWith("2."));
}

TEST_F(FrontDoor, AnAdapterIsInspectedAndMadeSmaller) {
  result_of(
      {"decompose", "--model", base(), "--method", "pissa", "--rank", "4", "--out", at("start")});
  const Json adapter = result_of({"inspect", at("start"), "--model", base()});
  EXPECT_EQ(adapter["fit"]["fits"], true);
  EXPECT_EQ(adapter["stored_rank"], 8);
  EXPECT_THAT(run_corda({"inspect", at("start")}).out, StartsWith("kind: adapter\npath: "));
  EXPECT_EQ(
      result_of({"export", "--adapter", at("start"), "--rank", "3", "--out", at("small")})["rank"],
      3);
  EXPECT_EQ(result_of({"inspect", at("small"), "--model", base()})["fit"]["fits"], true);
  const ProcessResult missing = run_corda({"inspect"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("missing setting 'path'"));
}

// What bash offers for the words, the last of which is being written.
std::vector<std::string> offered(const std::vector<std::string>& words) {
  std::string line = "source <(\"$1\" completion bash) && COMP_WORDS=(";
  for (const auto& word : words) line += "'" + word + "' ";
  line += ") && COMP_CWORD=" + std::to_string(words.size() - 1) +
          " && _corda && printf '%s\\n' \"${COMPREPLY[@]}\"";
  const ProcessResult result = run_process({"/bin/bash", "-c", line, "bash", CORDA_BINARY});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  auto lines = core::split(result.out, '\n');
  std::erase(lines, "");
  return lines;
}

TEST_F(FrontDoor, BashCompletesVerbsFlagsWordsSettingsAndFiles) {
  EXPECT_THAT(offered({"corda", "de"}), ElementsAre("decompose"));
  EXPECT_THAT(offered({"corda", "merge", "--max"}), ElementsAre("--max-shard-size"));
  EXPECT_THAT(offered({"corda", "decompose", "--mode", ""}),
              ElementsAre("kpa", "ipa", "dual", "null", "sc", "eva", "milora", "mica", "cloq"));
  EXPECT_THAT(offered({"corda", "train", "--set", "optim.l"}),
              ElementsAre("optim.lr=", "optim.lora_plus_ratio="));
  EXPECT_THAT(offered({"corda", "config", "--explain", "checkpoint.b"}),
              ElementsAre("checkpoint.best"));
  EXPECT_THAT(offered({"corda", "config", "init", "pi"}), ElementsAre("pissa"));
  write("with space.yaml", "");
  EXPECT_THAT(offered({"corda", "train", "--config", at("with")}),
              ElementsAre(at("with space.yaml")));
  EXPECT_THAT(offered({"corda", "inspect", at("fac")}), ElementsAre(at("facts.jsonl")));
  EXPECT_THAT(offered({"corda", "calibrate", "--samples", ""}), ElementsAre());
}

TEST_F(FrontDoor, OtherShellsReadTheirScriptsWhereTheyAreInstalled) {
  for (const std::string shell : {"zsh", "fish"}) {
    const std::string script = run_corda({"completion", shell}).out;
    EXPECT_THAT(script, HasSubstr("decompose")) << shell;
    write("script", script);
    if (run_process({"/bin/sh", "-c", "command -v " + shell}).exit_code != 0) continue;
    const ProcessResult read = run_process({"/usr/bin/env", shell, "-n", at("script")});
    EXPECT_EQ(read.exit_code, 0) << shell << read.err;
  }
}

TEST_F(FrontDoor, TheManualPageHasEveryVerbFlagAndSetting) {
  const std::string page = run_corda({"man"}).out;
  EXPECT_THAT(page, StartsWith(".TH CORDA 1"));
  for (const char* part :
       {".SH decompose\n", "\\fB\\-\\-batch\\-tokens\\fR", "\\fBoptim.lr\\fR", ".SH EXIT STATUS"})
    EXPECT_THAT(page, HasSubstr(part));
  for (const auto& line : core::split(page, '\n'))
    EXPECT_THAT(line, Not(StartsWith("'"))) << "a line that roff takes for a request";
}

}  // namespace
}  // namespace corda::testing
