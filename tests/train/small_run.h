// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A run on the CPU that is over in a moment: eight steps of two samples.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "corda/core/file.h"
#include "corda/core/reporter.h"
#include "corda/train/settings.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::testing {

class SmallRun : public ::testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_.path() / "base", {.vocab = 257});
    std::ofstream data(folder_.path() / "task.jsonl");
    for (int i = 0; i < 16; ++i)
      data << R"({"prompt": "Add one to )" << i << R"(", "completion": ")" << i + 1 << "\"}\n";
  }

  train::TrainSettings small_settings(const std::string& out) const {
    train::TrainSettings result;
    result.model = (folder_.path() / "base").string();
    result.lora.rank = 4;
    result.data.train = {{.path = folder_.path() / "task.jsonl"}};
    result.optim.lr = 1e-3;
    result.optim.batch_size = 2;
    result.device = "cpu";
    result.threads = 1;
    result.out = (folder_.path() / out).string();
    return result;
  }

  static std::string adapter_of(const train::TrainSettings& settings) {
    return core::read_file(std::filesystem::path(settings.out) /
                           "adapter/adapter_model.safetensors");
  }

  TemporaryDirectory folder_;
  core::Reporter reporter_;
};

}  // namespace corda::testing
