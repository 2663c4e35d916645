// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::linalg {
namespace {

using ::corda::testing::error_of;
using ::testing::HasSubstr;

TEST(Device, GpusBeforeAmpereAreRefused) {
  EXPECT_EQ(gpu_refusal("NVIDIA T4", 7, 5),
            "the GPU 'NVIDIA T4' has compute capability 7.5, and corda needs 8.0 (Ampere) or "
            "newer; use --device cpu, or cuda:N for another");
  EXPECT_EQ(gpu_refusal("NVIDIA A100", 8, 0), "");
  EXPECT_EQ(gpu_refusal("NVIDIA L4", 8, 9), "");
  EXPECT_EQ(gpu_refusal("NVIDIA H100", 9, 0), "");
  EXPECT_EQ(gpu_refusal("NVIDIA B200", 10, 0), "");
}

TEST(Device, NamesAreCheckedAgainstTheMachine) {
  EXPECT_EQ(device_of("cpu"), c10::Device(at::kCPU));
  EXPECT_THAT(error_of<core::ConfigError>([] { device_of("gpu"); }),
              HasSubstr("'device' must be auto, cpu, cuda or cuda:N; it is 'gpu'"));
  EXPECT_THAT(error_of<core::ConfigError>([] { device_of("cuda:x"); }),
              HasSubstr("it is 'cuda:x'"));
  EXPECT_THAT(error_of<core::ResourceError>([] { device_of("cuda:99"); }),
              HasSubstr("'cuda:99' does not exist"));
}

}  // namespace
}  // namespace corda::linalg
