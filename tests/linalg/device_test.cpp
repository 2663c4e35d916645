// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

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

// Multiprocessors, boost clock and dense bf16 TFLOPS of the data sheets.
TEST(Device, PeaksAreThoseOfTheDataSheets) {
  struct Card {
    const char* product;
    int major;
    int minor;
    int multiprocessors;
    double megahertz;
    double teraflops;
  };
  for (const Card& card : std::vector<Card>{
           {"NVIDIA A100-SXM4-80GB", 8, 0, 108, 1410, 312},
           {"NVIDIA A30", 8, 0, 56, 1440, 165},
           {"NVIDIA A10", 8, 6, 72, 1695, 125},
           {"NVIDIA A10G", 8, 6, 80, 1710, 70},
           {"NVIDIA A16", 8, 6, 10, 1755, 17.9},
           {"NVIDIA A40", 8, 6, 84, 1740, 149.7},
           {"NVIDIA RTX A5000", 8, 6, 64, 1695, 111.1},
           {"NVIDIA GeForce RTX 3080", 8, 6, 68, 1710, 59.5},
           {"NVIDIA RTX A6000", 8, 6, 84, 1800, 154.8},
           {"NVIDIA GeForce RTX 3090", 8, 6, 82, 1695, 71},
           {"NVIDIA L4", 8, 9, 58, 2040, 121},
           {"NVIDIA L20", 8, 9, 92, 2520, 119.5},
           {"NVIDIA L40", 8, 9, 142, 2490, 181.05},
           {"NVIDIA L40S", 8, 9, 142, 2520, 362.05},
           {"NVIDIA RTX 6000 Ada Generation", 8, 9, 142, 2505, 364},
           {"NVIDIA GeForce RTX 4080", 8, 9, 76, 2505, 97.5},
           {"NVIDIA GeForce RTX 4090", 8, 9, 128, 2520, 165.2},
           {"NVIDIA H100 PCIe", 9, 0, 114, 1620, 756},
           {"NVIDIA H100 80GB HBM3", 9, 0, 132, 1830, 989},
           {"NVIDIA H20", 9, 0, 78, 1830, 148},
           {"NVIDIA H800", 9, 0, 132, 1830, 989},
           {"NVIDIA H200", 9, 0, 132, 1830, 989},
           {"NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 12, 0, 188, 2617, 503.8},
           {"NVIDIA GeForce RTX 5090", 12, 0, 170, 2407, 209.5}}) {
    const double found = peak_16bit_flops(card.product, card.major, card.minor,
                                          card.multiprocessors, 1e6 * card.megahertz);
    // Data sheets round, and name clocks to 15 MHz.
    EXPECT_NEAR(found, 1e12 * card.teraflops, 0.015e12 * card.teraflops) << card.product;
  }
  EXPECT_EQ(peak_16bit_flops("NVIDIA of tomorrow", 15, 0, 100, 2e9), 0);
}

}  // namespace
}  // namespace corda::linalg
