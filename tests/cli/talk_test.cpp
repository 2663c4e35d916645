// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// `corda generate` and `corda chat`, seen from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "support/process.h"
#include "support/temporary_directory.h"

namespace corda {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProcessResult;

class Talk : public ::testing::Test {
 protected:
  const std::string model_ =
      (std::filesystem::path(CORDA_SOURCE_DIR) / "scripts" / "demo" / "model").string();
  const std::string river_ = "Question: Which river runs through Hendwick?\nAnswer:";
  // `corda chat` with these lines on stdin.
  ProcessResult chat(const std::string& lines, const std::string& more = "") const {
    std::ofstream(folder_.path() / "lines.txt") << lines;
    return testing::run_process(
        {"/bin/sh", "-c",
         std::string("'") + CORDA_BINARY + "' chat --model '" + model_ +
             "' --device cpu --template alpaca --max-new-tokens 12 --quiet " + more + " < '" +
             (folder_.path() / "lines.txt").string() + "'"});
  }
  testing::TemporaryDirectory folder_;
};

TEST_F(Talk, GeneratePrintsHowThePromptGoesOn) {
  const ProcessResult one = testing::run_corda({"generate", "--model", model_, "--device", "cpu",
                                                "--prompt", river_, "--max-new-tokens", "8"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("Nolt"));
  EXPECT_TRUE(one.out.ends_with("\n"));
  const ProcessResult two =
      testing::run_corda({"generate", "--model", model_, "--device", "cpu", "--prompt", river_,
                          "--prompt", "Mira", "--max-new-tokens", "8", "--json"});
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_THAT(two.out, HasSubstr("\"answer\":"));
  EXPECT_EQ(std::count(two.out.begin(), two.out.end(), '\n'), 2);
  EXPECT_EQ(testing::run_corda({"generate", "--model", model_}).exit_code, 2);
}

// The second answer stands behind a first turn, the third does not.
TEST_F(Talk, ChatAnswersLinesObeysCommandsAndSaysWhatIsWrong) {
  const ProcessResult talk =
      chat("Who is there?\nWho is there?\n/reset\nWho is there?\n/rest\n/adapter /nowhere\n//x\n",
           "--json");
  ASSERT_EQ(talk.exit_code, 0) << talk.err;
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < talk.out.size();) {
    const std::size_t end = talk.out.find('\n', at);
    lines.push_back(talk.out.substr(at, end - at));
    at = end + 1;
  }
  ASSERT_EQ(lines.size(), 4U) << talk.out;
  EXPECT_EQ(lines[0], lines[2]);
  EXPECT_THAT(lines[3], HasSubstr("\"message\":\"/x\""));
  EXPECT_THAT(talk.err, HasSubstr("there is no command '/rest' (did you mean '/reset'?)"));
  EXPECT_THAT(talk.err, HasSubstr("/nowhere"));
  EXPECT_THAT(chat("/exit\nWho?\n").out, Not(HasSubstr("Who")));
}

}  // namespace
}  // namespace corda
