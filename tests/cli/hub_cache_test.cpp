// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A cache that huggingface_hub itself filled, from a hub of our own. Skipped where CORDA_PYTHON is
// no Python with that package.
#include <gtest/gtest.h>

#include "cli/job.h"

namespace corda::testing {
namespace {

class HubCacheOfThePackage : public Job {};

TEST_F(HubCacheOfThePackage, IsReadAsItReadsIt) {
  const std::string python = CORDA_PYTHON;
  if (python.empty()) GTEST_SKIP() << "CORDA_PYTHON is not set";
  if (run_process({python, "-c", "import huggingface_hub"}).exit_code != 0)
    GTEST_SKIP() << python << " has no huggingface_hub";
  fs::create_directories(path("set/data"));
  fs::copy_file(path("task.jsonl"), path("set/data/train-0.jsonl"));
  fs::copy_file(path("task.jsonl"), path("set/data/train-1.jsonl"));
  const ProcessResult filled =
      run_process({python, std::string(CORDA_SOURCE_DIR) + "/tests/cli/hub_cache.py", at("hub"),
                   base(), at("set")});
  ASSERT_EQ(filled.exit_code, 0) << filled.err;
  const Json places = core::parse_json(filled.out, "hub_cache.py");
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"/usr/bin/env", "HF_HUB_CACHE=" + at("hub"), CORDA_BINARY});
    const ProcessResult result = run_process(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const Json model =
      core::parse_json(run({"inspect", "org/tiny", "--model", base(), "--json"}), "m");
  EXPECT_EQ(model["path"], places["model"]);
  EXPECT_EQ(model["name"], "org/tiny");
  EXPECT_EQ(model["fit"]["fits"], true);
  const Json plan = core::parse_json(
      run({"train", "--dry-run", "--json", "--set", "model=org/tiny", "--set", "lora.rank=2",
           "--set", "data.train=hf://datasets/org/set/data/train-*.jsonl", "--out", at("run")}),
      "plan");
  EXPECT_EQ(plan["samples"], 48);
  EXPECT_EQ(plan["settings"]["data"]["train"][1]["path"],
            places["dataset"].get<std::string>() + "/data/train-1.jsonl");
}

}  // namespace
}  // namespace corda::testing
