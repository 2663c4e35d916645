// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Uploads on the CPU; the GPU's copies are in gpu_test.cpp.
#include "corda/linalg/upload.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::linalg {
namespace {

using ::corda::testing::error_of;
using ::testing::HasSubstr;

TEST(Upload, GivesTheTensorsInTheOrderOfTheRequestEachRowMadeOnce) {
  Uploader uploader(at::kCPU);
  const at::Tensor first = at::arange(21, at::kFloat).view({7, 3});
  const at::Tensor second = at::arange(10, at::kBFloat16).view({5, 2});
  std::atomic<std::int64_t> rows = 0;
  HostRows counted = rows_of(first);
  counted.fill = [&rows, fill = counted.fill](std::int64_t begin, std::int64_t end, std::byte* to) {
    rows += end - begin;
    fill(begin, end, to);
  };
  auto one = uploader.start({counted, rows_of(second)});
  auto other = uploader.start({rows_of(second)});
  const auto tensors = one.wait();
  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_TRUE(at::equal(tensors[0], first));
  EXPECT_TRUE(at::equal(tensors[1], second));
  EXPECT_FALSE(tensors[0].is_alias_of(first));
  EXPECT_EQ(rows, 7);
  EXPECT_TRUE(at::equal(other.wait().front(), second));
}

TEST(Upload, TensorsWithoutRowsAreEmpty) {
  Uploader uploader(at::kCPU);
  EXPECT_EQ(uploader.start({rows_of(at::empty({0, 4}))}).wait().front().sizes(),
            (std::vector<std::int64_t>{0, 4}));
}

TEST(Upload, WhatReadingThrowsComesOutOfTheWait) {
  Uploader uploader(at::kCPU);
  HostRows bad{.shape = {64, 2}, .type = at::kFloat, .fill = [](auto, auto, auto) {
                 throw core::IoError("the disk is gone");
               }};
  auto upload = uploader.start({bad});
  EXPECT_EQ(error_of<core::IoError>([&] { upload.wait(); }), "the disk is gone");
}

TEST(Upload, MayBeDroppedAndIsWaitedForOnce) {
  Uploader uploader(at::kCPU);
  { auto dropped = uploader.start({rows_of(at::ones({8, 8}))}); }
  auto upload = uploader.start({rows_of(at::ones({8, 8}))});
  upload.wait();
  EXPECT_THAT(error_of<core::InternalError>([&] { upload.wait(); }),
              HasSubstr("nothing to wait for"));
  EXPECT_THAT(error_of<core::InternalError>([&] {
                rows_of(at::ones({4, 4}).t());
              }),
              HasSubstr("must be contiguous"));
}

}  // namespace
}  // namespace corda::linalg
