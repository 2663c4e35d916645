// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/device.h"

#include <gtest/gtest.h>

namespace corda::linalg {
namespace {

TEST(Device, GpusBeforeAmpereAreRefused) {
  EXPECT_EQ(gpu_refusal("NVIDIA T4", 7, 5),
            "the GPU 'NVIDIA T4' has compute capability 7.5, and corda needs 8.0 (Ampere) or "
            "newer; use --device cpu, or cuda:N for another");
  EXPECT_EQ(gpu_refusal("NVIDIA A100", 8, 0), "");
  EXPECT_EQ(gpu_refusal("NVIDIA L4", 8, 9), "");
  EXPECT_EQ(gpu_refusal("NVIDIA H100", 9, 0), "");
  EXPECT_EQ(gpu_refusal("NVIDIA B200", 10, 0), "");
}

}  // namespace
}  // namespace corda::linalg
