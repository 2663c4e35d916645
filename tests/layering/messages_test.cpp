// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A user knows nothing of our folders: only errors that are bugs of ours, which are to be reported,
// name the function that found them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace corda {
namespace {

namespace fs = std::filesystem;

// The folders of src/, one of which begins a name such as "io::stored".
std::string folders() {
  std::string names;
  for (const auto& entry : fs::directory_iterator(fs::path(CORDA_SOURCE_DIR) / "src")) {
    if (entry.is_directory())
      names += (names.empty() ? "" : "|") + entry.path().filename().string();
  }
  return names;
}

// The end of the comment, character or text that begins at `at`, or `at` where none begins.
std::size_t end_of_other(const std::string& code, std::size_t at) {
  if (code.compare(at, 2, "//") == 0) return code.find('\n', at);
  if (code.compare(at, 2, "/*") == 0) return code.find("*/", at) + 2;
  if (code.compare(at, 3, "R\"(") == 0) return code.find(")\"", at) + 2;
  // A quote between digits separates them (10'000) and begins no character.
  const bool separates = at > 0 && std::isalnum(static_cast<unsigned char>(code[at - 1])) != 0;
  if (code[at] != '"' && (code[at] != '\'' || separates)) return at;
  std::size_t end = at + 1;
  while (end < code.size() && code[end] != code[at]) end += code[end] == '\\' ? 2 : 1;
  return end + 1;
}

// String literals that name a function of ours in a statement that throws no InternalError.
std::vector<std::string> named_functions(const std::string& code) {
  static const std::regex name("\\b(" + folders() + ")::");
  std::vector<std::string> found;
  std::size_t statement = 0;
  for (std::size_t at = 0; at < code.size(); ++at) {
    const std::size_t end = std::min(end_of_other(code, at), code.size());
    if (end == at) {
      if (code[at] == ';' || code[at] == '{' || code[at] == '}') statement = at + 1;
      continue;
    }
    const std::string text = code.substr(at, end - at);
    const bool is_text = text.front() == '"' || text.front() == 'R';
    const bool is_bug =
        code.substr(statement, at - statement).find("InternalError(") != std::string::npos;
    if (is_text && !is_bug && std::regex_search(text, name)) found.push_back(text);
    at = end - 1;
  }
  return found;
}

TEST(Messages, NameNoFunctionOfOursButInErrorsThatAreBugs) {
  int files = 0;
  for (const char* folder : {"src", "include", "tools"}) {
    for (const auto& entry :
         fs::recursive_directory_iterator(fs::path(CORDA_SOURCE_DIR) / folder)) {
      const std::string ending = entry.path().extension().string();
      if (ending != ".cpp" && ending != ".h" && ending != ".cu" && ending != ".cuh") continue;
      std::ostringstream code;
      code << std::ifstream(entry.path()).rdbuf();
      EXPECT_THAT(named_functions(code.str()), ::testing::IsEmpty()) << entry.path();
      ++files;
    }
  }
  EXPECT_GT(files, 300);
}

TEST(Messages, OneThatDoesIsFound) {
  EXPECT_THAT(named_functions("f();\nthrow FormatError(concat(\"[io::read] no\"));"),
              ::testing::SizeIs(1));
  EXPECT_THAT(named_functions("throw InternalError(\"x\"); reporter.warn(\"core::f: no\");"),
              ::testing::SizeIs(1));
  EXPECT_THAT(named_functions("throw core::InternalError(\n    \"[io::read] no\");"),
              ::testing::IsEmpty());
  EXPECT_THAT(named_functions("a(\"x\", io::y, '\"', 10'000, \"z\");"), ::testing::IsEmpty());
  EXPECT_THAT(named_functions("a('\"', \"io::y \\\" \");"), ::testing::SizeIs(1));
  EXPECT_THAT(named_functions("// as \"io::read\" does\nio::read(\"a.json\");"),
              ::testing::IsEmpty());
}

}  // namespace
}  // namespace corda
