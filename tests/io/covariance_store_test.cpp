// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/covariance_store.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "corda/kernels/pack_lower.h"
#include "core/json.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::io {
namespace {

using ::corda::testing::error_of;
using ::corda::testing::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kSite = "model.layers.0.mlp.input";

at::Tensor symmetric(std::int64_t n) {
  at::manual_seed(static_cast<std::uint64_t>(n));
  const at::Tensor x = at::randn({n, n});
  return x + x.t();
}

CovarianceManifest manifest_of_test() {
  CovarianceManifest manifest;
  manifest.model = "sha256-sampled:ab";
  manifest.model_name = "base";
  manifest.tokens = 1000;
  manifest.samples = 4;
  manifest.activation_scaling = "reference";
  manifest.settings = core::parse_yaml("seq_len: 256\nformat: qa\nlist: [1, x]\n", "t");
  return manifest;
}

fs::path write(const fs::path& directory, CovarianceStorage storage, const at::Tensor& c) {
  CovarianceWriter writer(directory, storage);
  const auto stored = [&](const at::Tensor& square) {
    return storage == CovarianceStorage::kPacked ? kernels::pack_lower(square) : square;
  };
  writer.add(kSite, {"model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"}, 900, stored(c));
  writer.add("model.layers.0.mlp.down_proj.input", {"model.layers.0.mlp.down_proj"}, 900,
             stored(c.narrow(0, 0, 3).narrow(1, 0, 3).contiguous()));
  EXPECT_FALSE(fs::exists(directory / "manifest.json")) << "nothing may appear before finish()";
  writer.finish(manifest_of_test());
  return directory;
}

TEST(CovarianceStore, WhatIsUnpackedStoodRowByRow) {
  const at::Tensor c =
      at::tensor({1.0f, 2.0f, 4.0f, 2.0f, 3.0f, 5.0f, 4.0f, 5.0f, 6.0f}).reshape({3, 3});
  EXPECT_TRUE(at::equal(unpack_lower(at::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}), 3), c));
}

TEST(CovarianceStore, UnpackingUndoesPackingAcrossBlocks) {
  for (const std::int64_t n : {1, 63, 64, 65, 200}) {
    const at::Tensor c = symmetric(n);
    EXPECT_TRUE(at::equal(unpack_lower(kernels::pack_lower(c), n), c)) << n;
  }
}

TEST(CovarianceStore, FullAndPackedGiveBackTheSameMatrix) {
  const TemporaryDirectory scratch;
  const at::Tensor c = symmetric(70);
  for (const auto storage : {CovarianceStorage::kFull, CovarianceStorage::kPacked}) {
    const bool full = storage == CovarianceStorage::kFull;
    const CovarianceReader reader(write(scratch.path() / (full ? "full" : "packed"), storage, c));
    EXPECT_TRUE(at::equal(reader.load(kSite), c));
    EXPECT_EQ(reader.load("model.layers.0.mlp.down_proj.input").sizes(), (at::IntArrayRef{3, 3}));
    const SafetensorsFile file(reader.directory() / (kSite + ".safetensors"));
    EXPECT_EQ(file.tensors().at(kSite).shape,
              (full ? std::vector<std::int64_t>{70, 70} : std::vector<std::int64_t>{70 * 71 / 2}));
    EXPECT_EQ(file.tensors().at(kSite).dtype, DType::kF32);
  }
}

TEST(CovarianceStore, ManifestComesBack) {
  const TemporaryDirectory scratch;
  const CovarianceReader reader(
      write(scratch.path() / "cov", CovarianceStorage::kPacked, symmetric(5)));
  const CovarianceManifest& m = reader.manifest();
  EXPECT_EQ(m.model, "sha256-sampled:ab");
  EXPECT_EQ(m.model_name, "base");
  EXPECT_EQ(m.tokens, 1000);
  EXPECT_EQ(m.samples, 4);
  EXPECT_EQ(m.activation_scaling, "reference");
  EXPECT_EQ(m.settings.find("seq_len")->text, "256");
  EXPECT_EQ(m.settings.find("list")->items.at(1).text, "x");
  ASSERT_EQ(m.sites.size(), 2u);
  EXPECT_EQ(m.sites.at(kSite).in_features, 5);
  EXPECT_EQ(m.sites.at(kSite).tokens, 900);
  EXPECT_THAT(m.sites.at(kSite).modules,
              ElementsAre("model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"));
  EXPECT_EQ(reader.site_of("model.layers.0.mlp.up_proj"), kSite);
  EXPECT_EQ(reader.site_of("lm_head"), "");
  const core::Json json = core::read_json(reader.directory() / "manifest.json");
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["settings"]["seq_len"], 256);
  EXPECT_EQ(json["sites"][kSite]["storage"], "packed");
}

TEST(CovarianceStore, OnlyACentredOneSaysSo) {
  const TemporaryDirectory scratch;
  for (const bool centered : {false, true}) {
    const fs::path directory = scratch.path() / (centered ? "centred" : "whole");
    CovarianceWriter writer(directory, CovarianceStorage::kFull);
    writer.add(kSite, {"m"}, 1, symmetric(2));
    CovarianceManifest manifest = manifest_of_test();
    manifest.centered = centered;
    writer.finish(manifest);
    const core::Json json = core::read_json(directory / "manifest.json");
    EXPECT_EQ(json.contains("centered"), centered);
    EXPECT_EQ(json["version"], centered ? 2 : 1);  // which programs that know of none refuse
    const CovarianceReader reader(directory);
    EXPECT_EQ(reader.manifest().centered, centered);
    EXPECT_EQ(error_of<core::ConfigError>([&] { require_uncentred(reader, "somebody"); }),
              centered
                  ? "the covariance '" + directory.string() +
                        "' is centred, so it does not know what the mean of the inputs does, which "
                        "counts for somebody; give one that corda calibrate made without --center"
                  : "no error");
  }
}

TEST(CovarianceStore, FingerprintFollowsContentAndNotTheFolder) {
  const TemporaryDirectory scratch;
  const at::Tensor c = symmetric(5);
  at::Tensor other = c.clone();
  other[2][2] += 1;
  const auto print = [&](const char* name, const at::Tensor& values) {
    return CovarianceReader(write(scratch.path() / name, CovarianceStorage::kPacked, values))
        .fingerprint();
  };
  const std::string first = print("a", c);
  EXPECT_EQ(first, print("b", c));
  EXPECT_NE(first, print("c", other));
}

TEST(CovarianceStore, WhatIsNotOfTheStoragesShapeIsRefused) {
  const TemporaryDirectory scratch;
  const auto error = [&](CovarianceStorage storage, const at::Tensor& stored) {
    CovarianceWriter writer(scratch.path() / "cov", storage);
    return error_of<core::ShapeError>([&] { writer.add(kSite, {"m"}, 1, stored); });
  };
  EXPECT_THAT(
      error(CovarianceStorage::kFull, at::ones({2, 3})),
      HasSubstr("the covariance of 'model.layers.0.mlp.input' must be square; it is [2, 3]"));
  EXPECT_THAT(error(CovarianceStorage::kFull, at::ones({2, 8})), HasSubstr("must be square"));
  EXPECT_THAT(error(CovarianceStorage::kFull, at::ones({4})), HasSubstr("must be square"));
  EXPECT_THAT(error(CovarianceStorage::kPacked, at::ones({2, 3})),
              HasSubstr("must be a lower triangle, packed; it is [2, 3]"));
  EXPECT_THAT(error(CovarianceStorage::kPacked, at::ones({5})),
              HasSubstr("must be a lower triangle, packed; it is [5]"));
}

TEST(CovarianceStore, NothingRemainsOfAnAbandonedWriter) {
  const TemporaryDirectory scratch;
  {
    CovarianceWriter(scratch.path() / "cov", CovarianceStorage::kFull)
        .add(kSite, {"m"}, 1, symmetric(2));
  }
  EXPECT_TRUE(fs::is_empty(scratch.path()));
}

TEST(CovarianceStore, HostileDirectoriesAreRefusedWithTheReason) {
  const TemporaryDirectory scratch;
  EXPECT_THAT(error_of<core::IoError>([&] { CovarianceReader{scratch.path()}; }),
              HasSubstr("is not a covariance directory"));
  const fs::path directory =
      write(scratch.path() / "cov", CovarianceStorage::kPacked, symmetric(4));
  const core::Json good = core::read_json(directory / "manifest.json");
  const auto with = [&](const std::function<void(core::Json&)>& change) {
    core::Json changed = good;
    change(changed);
    core::write_json(directory / "manifest.json", changed);
    return error_of<core::FormatError>([&] { CovarianceReader(directory).load(kSite); });
  };
  EXPECT_EQ(with([](core::Json&) {}), "no error");
  EXPECT_THAT(with([](core::Json& j) { j["version"] = 7; }),
              HasSubstr("version 7 was written by another corda"));
  EXPECT_THAT(with([](core::Json& j) { j.erase("model"); }),
              HasSubstr("the key 'model' is missing"));
  for (const std::string file : {"../x", "..", ".x", ""}) {
    EXPECT_THAT(with([&](core::Json& j) { j["sites"][kSite]["file"] = file; }),
                HasSubstr("'file' must be a plain file name; it is '" + file + "'"));
  }
  EXPECT_THAT(with([](core::Json& j) { j["sites"][kSite]["storage"] = "sparse"; }),
              HasSubstr("'storage' must be full or packed"));
  EXPECT_THAT(with([](core::Json& j) { j["sites"][kSite]["storage"] = "full"; }),
              HasSubstr("must hold 'model.layers.0.mlp.input' F32 [4, 4]; it holds F32 [10]"));
  EXPECT_THAT(with([](core::Json& j) { j["sites"][kSite]["in_features"] = 3000000000; }),
              HasSubstr("'in_features' must be a whole number"));
  EXPECT_THAT(with([](core::Json& j) { j["centered"] = "yes"; }), HasSubstr("'centered' must be"));
  EXPECT_THAT(with([](core::Json& j) { j["sites"][kSite]["in_features"] = -4; }),
              HasSubstr("'in_features' must be a whole number"));
  EXPECT_THAT(with([](core::Json& j) {
                j["sites"][kSite]["modules"].push_back("model.layers.0.mlp.down_proj");
              }),
              HasSubstr("stands in two sites"));
  EXPECT_THAT(error_of<core::ShapeError>([] { unpack_lower(at::ones({5}), 3); }),
              HasSubstr("must be fp32 [6]"));
  EXPECT_THAT(error_of<core::ConfigError>([] { covariance_storage_of("dense"); }),
              HasSubstr("it is 'dense'"));
}

}  // namespace
}  // namespace corda::io
