// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// NCCL, with as many ranks as one GPU allows: one.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "support/temporary_directory.h"

namespace corda::dist {
namespace {

TEST(GpuWorld, OfOneRankSumsAndSendsToItself) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const testing::TemporaryDirectory folder;
  const core::Reporter quiet;
  const auto world = join(
      {.launcher = "a test", .file = (folder.path() / "meeting").string(), .start = "one"}, quiet);
  const at::Device device = world->device_of("auto");
  ASSERT_TRUE(device.is_cuda());
  const at::Tensor values =
      at::arange(1 << 20, at::TensorOptions().device(device).dtype(at::kFloat));
  const at::Tensor expected = values.clone();
  const at::Tensor other = values * 2;
  const auto pending = world->begin_sum({values, other});
  pending->wait();
  EXPECT_TRUE(at::equal(values, expected));
  EXPECT_TRUE(at::equal(other, expected * 2));
  world->sum_to(values, 0);
  world->broadcast(values, 0);
  EXPECT_TRUE(at::equal(values, expected));
  const at::Tensor gathered = at::zeros_like(values);
  world->begin_gather(gathered, values)->wait();
  EXPECT_TRUE(at::equal(gathered, expected));
  const at::Tensor piece = at::zeros_like(values);
  world->begin_scatter_sum(piece, gathered)->wait();
  EXPECT_TRUE(at::equal(piece, expected));
  EXPECT_EQ(world->gather("hello"), std::vector<std::string>{"hello"});
  EXPECT_FALSE(world->any(false));
  world->check();
}

}  // namespace
}  // namespace corda::dist
