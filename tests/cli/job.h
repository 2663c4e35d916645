// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A random byte-level model with data for the whole job, and verbs to run on them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::testing {

namespace fs = std::filesystem;
using core::Json;

class Job : public ::testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(
        base(),
        {.vocab = 257, .hidden = 32, .intermediate = 64, .layers = 2, .heads = 4, .kv_heads = 2});
    write("facts.jsonl",
          "{\"question\": \"What is red?\", \"answer\": [\"a rose\"]}\n{\"question\": \"What is "
          "blue?\", \"answer\": [\"the sky\", \"sky\"]}\n"
          "{\"question\": \"What is green?\", \"answer\": [\"grass\"]}\n");
    std::string task;
    for (int i = 0; i < 24; ++i) {
      task += Json({{"instruction", "Add one to " + std::to_string(i)},
                    {"output", std::to_string(i + 1)}})
                  .dump() +
              "\n";
    }
    write("task.jsonl", task);
  }

  fs::path path(const std::string& name) const { return folder_.path() / name; }
  std::string at(const std::string& name) const { return path(name).string(); }
  std::string base() const { return at("base"); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name)) << content;
  }

  // Runs a verb that must succeed and returns its JSON result.
  Json result_of(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    const ProcessResult result = run_corda(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments[0] << ": " << result.err;
    return core::parse_json(result.out, arguments[0]);
  }

  void calibrate(const std::string& data, const std::string& out) const {
    result_of({"calibrate", "--model", base(), "--data", at(data), "--samples", "8", "--seq-len",
               "64", "--out", at(out)});
  }

  std::string train_config(const std::string& extra) const {
    return "model: " + base() + "\ndata: {train: [" + at("task.jsonl") +
           "], eval: [{path: " + at("task.jsonl") +
           ", count: 4}], max_length: 200}\noptim: {lr: 1.0e-3, batch_size: 8, micro_batch_tokens: "
           "512, epochs: 2}\nthreads: 1\n" +
           extra;
  }

  // The training that writes `run`, stopped by a SIGINT once it has written a step.
  ProcessResult interrupted(const std::vector<std::string>& command, const std::string& run) const {
    return run_disturbed(command, interrupt_when_written(at(run + "/metrics.jsonl")),
                         [&] { fs::remove_all(path(run)); });
  }

  // Training and evaluation loss of every step.
  std::vector<std::pair<double, double>> losses(const std::string& run) const {
    std::vector<std::pair<double, double>> values;
    std::ifstream file(path(run + "/metrics.jsonl"));
    for (std::string line; std::getline(file, line);) {
      const Json metrics = core::parse_json(line, run);
      values.emplace_back(metrics.at("loss").get<double>(), metrics.value("eval_loss", 0.0));
    }
    return values;
  }

  TemporaryDirectory folder_;
};

}  // namespace corda::testing
