// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/out_of_memory.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "corda/core/error.h"

namespace corda::linalg {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// LibTorch's own failure, so that a version with another text is noticed.
TEST(OutOfMemory, OfTheMachineIsSeenInLibTorchsText) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer ends a process that asks for too much";
#endif
  try {
    at::empty({std::int64_t{1} << 58}, at::kFloat);
    FAIL() << "2^60 bytes were allocated";
  } catch (const std::exception& error) {
    const auto found = out_of_memory(error);
    ASSERT_TRUE(found) << error.what();
    EXPECT_EQ(found->memory, "the machine's memory");
    EXPECT_THAT(found->detail, StartsWith("DefaultCPUAllocator: can't allocate memory: you tried "
                                          "to allocate 1152921504606846976 bytes"));
    EXPECT_THAT(found->detail, ::testing::Not(HasSubstr("\n")));
  }
}

TEST(OutOfMemory, OfTheGpuAndOfStandardContainersIsSeenByType) {
  const auto gpu = out_of_memory(c10::OutOfMemoryError({}, "CUDA out of memory.\nmore"));
  ASSERT_TRUE(gpu);
  EXPECT_EQ(gpu->memory, "the GPU's memory");
  EXPECT_EQ(gpu->detail, "CUDA out of memory.");
  const auto pinned = out_of_memory(c10::AcceleratorError({}, 2, "CUDA error: out of memory\n"));
  ASSERT_TRUE(pinned);
  EXPECT_EQ(pinned->memory, "memory for CUDA");
  const auto library = out_of_memory(
      c10::Error({}, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"));
  ASSERT_TRUE(library);
  EXPECT_EQ(library->memory, "the GPU's memory");
  const auto standard = out_of_memory(std::bad_alloc());
  ASSERT_TRUE(standard);
  EXPECT_EQ(standard->memory, "the machine's memory");
}

TEST(OutOfMemory, OtherErrorsAreNot) {
  EXPECT_FALSE(out_of_memory(c10::AcceleratorError({}, 700, "CUDA error: illegal access")));
  EXPECT_FALSE(out_of_memory(c10::Error({}, "a is out of bounds")));
  EXPECT_FALSE(out_of_memory(std::runtime_error("out of memory")));
  EXPECT_FALSE(out_of_memory(core::ResourceError("the disk is full")));
}

}  // namespace
}  // namespace corda::linalg
