// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// libtorch.so exports broken std::filesystem functions: a program that links both must not get
// them.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

namespace corda {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// The library, or the program, that the function at this address stands in.
std::string file_of(void* function) {
  Dl_info info{};
  return ::dladdr(function, &info) != 0 ? info.dli_fname : "nowhere";
}

TEST(Linking, FilesystemFunctionsAreNotTorchs) {
  const auto remove_all = static_cast<std::uintmax_t (*)(const fs::path&)>(&fs::remove_all);
  const auto status = static_cast<fs::file_status (*)(const fs::path&)>(&fs::status);
  for (const std::string& file :
       {file_of(reinterpret_cast<void*>(remove_all)), file_of(reinterpret_cast<void*>(status))}) {
    EXPECT_THAT(file, Not(HasSubstr("torch")));
    EXPECT_NE(file, "nowhere");
  }
}

}  // namespace
}  // namespace corda
