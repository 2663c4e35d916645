// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tests that ask PEFT and transformers. Skipped where CORDA_PYTHON, set at configure time, is no
// Python with both.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "corda/core/random.h"
#include "corda/core/reporter.h"
#include "corda/merge/merge.h"
#include "support/process.h"
#include "support/temporary_directory.h"

namespace corda::testing {

namespace fs = std::filesystem;

inline const fs::path kSource = CORDA_SOURCE_DIR;
inline const fs::path kBase = kSource / "tests/golden/models/llama3-gqa";
inline const std::string kPython = CORDA_PYTHON;

inline ProcessResult python(const std::string& script, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {kPython, (kSource / "tests/interop" / script).string()});
  return run_process(arguments);
}

class Interop : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kPython.empty())
      GTEST_SKIP() << "CORDA_PYTHON is not set; configure with -DCORDA_PYTHON=<python with peft "
                      "and transformers>";
    if (run_process({kPython, "-c", "import peft, transformers"}).exit_code != 0) {
      GTEST_SKIP() << kPython << " has no peft and transformers";
    }
  }
  fs::path merge_into(const fs::path& adapter, const std::string& name) const {
    core::Reporter quiet;
    const fs::path out = scratch_.path() / name;
    merge::merge({.model = kBase.string(),
                  .adapter = adapter.string(),
                  .out = out.string(),
                  .dtype = "auto",
                  .max_shard_size = ""},
                 quiet);
    return out;
  }

  // Base + adapter beside `merged`, in PEFT and transformers.
  static ProcessResult in_peft(const fs::path& adapter, const fs::path& merged,
                               const std::string& tolerance) {
    return python("peft_loads_adapter.py", {"--base", kBase.string(), "--adapter", adapter.string(),
                                            "--merged", merged.string(), "--tolerance", tolerance,
                                            "--ids", "[[1, 5, 9, 2, 7, 7, 3], [4, 4, 8]]"});
  }

  TemporaryDirectory scratch_;
};

// Uniform between -1 and 1.
inline at::Tensor noise(const at::Tensor& like, std::uint64_t seed) {
  core::Random random(seed);
  at::Tensor result = at::empty_like(like);
  for (std::int64_t i = 0; i < result.numel(); ++i)
    result.data_ptr<float>()[i] = static_cast<float>(2 * random.uniform() - 1);
  return result;
}

}  // namespace corda::testing
