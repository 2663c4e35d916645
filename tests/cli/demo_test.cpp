// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The demo's scripts, run in a copy of what they need, so that nothing of the checkout changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <regex>

#include "corda/core/file.h"
#include "core/json.h"
#include "support/process.h"
#include "support/temporary_directory.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using testing::ProcessResult;

class Demo : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::run_process({"/usr/bin/env", "python3", "--version"}).exit_code != 0)
      GTEST_SKIP() << "no python3 on this machine";
    const fs::path source = CORDA_SOURCE_DIR;
    fs::create_directories(root() / "configs");
    fs::copy(source / "configs/demo", root() / "configs/demo");
    fs::create_directories(root() / "scripts");
    for (const char* script : {"quickstart.sh", "bootstrap.sh"})
      fs::copy(source / "scripts" / script, root() / "scripts" / script);
    fs::copy(source / "scripts/demo", root() / "scripts/demo", fs::copy_options::recursive);
  }

  fs::path root() const { return folder_.path(); }
  ProcessResult run(const std::string& script, std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"/usr/bin/env", "bash", (root() / script).string()});
    return testing::run_process(arguments, {}, testing::Gpus::kVisible);  // as a user has them
  }

  testing::TemporaryDirectory folder_;
};

// Two of the sixty epochs; the whole takes a minute (TESTING.md).
TEST_F(Demo, TheBaseModelIsMadeAgainByOneCommand) {
  const fs::path config = root() / "configs/demo/base.yaml";
  std::string yaml = core::read_file(config);
  const std::string whole = "epochs: 60";
  ASSERT_NE(yaml.find(whole), std::string::npos);
  core::write_file_atomic(config, yaml.replace(yaml.find(whole), whole.size(), "epochs: 2"));
  const fs::path model = root() / "scripts/demo/model";
  const std::string old_weights = core::read_file(model / "model.safetensors");
  const ProcessResult made = run("scripts/demo/make_base.sh", {CORDA_BINARY});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  std::int64_t same = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(CORDA_SOURCE_DIR) / "scripts/demo/model")) {
    const std::string name = entry.path().filename();
    if (name == "model.safetensors") continue;
    EXPECT_EQ(core::read_file(model / name), core::read_file(entry.path())) << name;
    ++same;
  }
  EXPECT_EQ(same, 4);
  const std::string weights = core::read_file(model / "model.safetensors");
  EXPECT_EQ(weights.size(), old_weights.size());
  EXPECT_NE(weights, old_weights);
  std::vector<double> losses;
  std::ifstream metrics(root() / "runs/demo-base/run/metrics.jsonl");
  for (std::string line; std::getline(metrics, line);)
    losses.push_back(core::parse_json(line, "metrics").at("loss").get<double>());
  ASSERT_EQ(losses.size(), 36U);
  EXPECT_GT(losses.front(), 6.0);  // a random model of 640 tokens: log(640) = 6.46
  EXPECT_LT(losses.back(), losses.front() - 2.0);
}

// The table of a run that prints "NAME  KNOWN %  LOSS ...".
TEST_F(Demo, TheTableShowsWhatTheMethodsAreFor) {
  const ProcessResult demo = run("scripts/quickstart.sh", {"--corda", CORDA_BINARY});
  ASSERT_EQ(demo.exit_code, 0) << demo.err;
  struct Row {
    double known = 0;
    double loss = 0;
  };
  std::map<std::string, Row> table;
  const std::regex line(
      R"((base model|LoRA|CorDA KPA|CorDA IPA|CorDA dual) +([0-9.]+) % +([0-9.]+).*)");
  for (std::sregex_iterator row(demo.out.begin(), demo.out.end(), line), end; row != end; ++row)
    table[(*row)[1]] = {std::stod((*row)[2]), std::stod((*row)[3])};
  ASSERT_EQ(table.size(), 5U) << demo.out;
  const Row lora = table["LoRA"];
  EXPECT_EQ(table["base model"].known, 100.0);
  const std::string facts = core::read_file(root() / "runs/demo/data/facts.jsonl");
  EXPECT_EQ(std::count(facts.begin(), facts.end(), '\n'), 256);
  EXPECT_LT(lora.known, 95.0) << "LoRA forgets";
  EXPECT_GT(table["CorDA KPA"].known, lora.known + 5) << "KPA forgets less";
  EXPECT_LT(table["CorDA KPA"].loss, 1.1 * lora.loss) << "at like task loss";
  EXPECT_LT(table["CorDA IPA"].loss, 0.95 * lora.loss) << "IPA learns faster";
  EXPECT_GT(table["CorDA dual"].known, lora.known + 5) << "dual does both";
  EXPECT_LT(table["CorDA dual"].loss, 0.95 * lora.loss) << "dual does both";
}

}  // namespace
}  // namespace corda
