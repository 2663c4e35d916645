// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using ::testing::HasSubstr;

const char* const kCommit = "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a";

// As huggingface_hub lays it out: blobs named by their hash, snapshots of links to them.
class HubCache : public ::testing::Test {
 protected:
  void put(const std::string& repository, const std::string& commit, const std::string& name,
           const std::string& content) {
    const fs::path root = cache() / repository;
    const std::string blob = "blob" + std::to_string(blobs_++);
    fs::create_directories(root / "blobs");
    std::ofstream(root / "blobs" / blob) << content;
    const fs::path file = root / "snapshots" / commit / name;
    fs::create_directories(file.parent_path());
    fs::create_symlink(fs::relative(root / "blobs" / blob, file.parent_path()), file);
  }
  void refer(const std::string& repository, const std::string& name, const std::string& commit) {
    const fs::path file = cache() / repository / "refs" / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << commit;  // without a line feed
  }
  std::string refusal(const HubAddress& address) const {
    return error_of<IoError>([&] { find_snapshot(cache(), address); });
  }
  fs::path cache() const { return folder_.path(); }

  testing::TemporaryDirectory folder_;
  int blobs_ = 0;
};

HubAddress parsed(const std::string& text, HubKind kind = HubKind::kModel) {
  const auto address = parse_hub_address(text, kind);
  EXPECT_TRUE(address) << text;
  return address.value_or(HubAddress{});
}

TEST(HubAddress, NamesAndSchemesAreRead) {
  EXPECT_EQ(parsed("meta-llama/Llama-3.2-1B").id, "meta-llama/Llama-3.2-1B");
  EXPECT_EQ(parsed("hf://org/name").id, "org/name");
  EXPECT_EQ(parsed("hf://models/org/name").id, "org/name");
  EXPECT_EQ(parsed("gpt2").id, "gpt2");
  EXPECT_EQ(parsed("org/name").revision, "main");
  EXPECT_EQ(parsed("org/name@v1.0").revision, "v1.0");
  EXPECT_EQ(parsed("org/name@refs/pr/7").revision, "refs/pr/7");
  const HubAddress file = parsed(
      "hf://datasets/openai/gsm8k@refs/convert/parquet/main/train/0000.parquet", HubKind::kDataset);
  EXPECT_EQ(file.id, "openai/gsm8k");
  EXPECT_EQ(file.revision, "refs/convert/parquet");
  EXPECT_EQ(file.file, "main/train/0000.parquet");
  EXPECT_EQ(parsed("hf://datasets/o/n@refs%2Fconvert%2Fparquet/a.parquet", HubKind::kDataset).file,
            "a.parquet");
  EXPECT_EQ(parsed("hf://o/n/data/*.jsonl", HubKind::kDataset).file, "data/*.jsonl");
}

TEST(HubAddress, PathsAreNoAddresses) {
  for (const char* path : {"/models/llama", "./org/name", "../org/name", "a/b/c", "org/", "/x",
                           "~/m", "org/name.", "a--b/c", "org/na me", "org/name@../../x", ""})
    EXPECT_FALSE(parse_hub_address(path, HubKind::kModel)) << path;
  EXPECT_FALSE(parse_hub_address("org/name", HubKind::kDataset));
}

TEST(HubAddress, WhatBeginsAsOneAndIsNoneIsRefused) {
  const auto refusal = [](const char* text, HubKind kind) {
    return error_of<ConfigError>([&] { parse_hub_address(text, kind); });
  };
  EXPECT_EQ(refusal("hf://datasets/gsm8k", HubKind::kDataset),
            "'hf://datasets/gsm8k' names no repository; write hf://datasets/org/name/file.jsonl, "
            "with @revision behind the name if it is not the main one");
  EXPECT_EQ(refusal("hf://datasets/o/n/a.jsonl", HubKind::kModel),
            "'hf://datasets/o/n/a.jsonl' is a dataset of the hub; a model was expected");
  EXPECT_EQ(refusal("hf://o/n/config.json", HubKind::kModel),
            "'hf://o/n/config.json' names a file; write hf://o/n, since a model is the whole "
            "repository");
}

TEST(HubAddress, TheCommandFetchesExactlyThat) {
  EXPECT_EQ(download_command(parsed("org/name")), "hf download org/name");
  EXPECT_EQ(download_command(parsed("org/name@v2")), "hf download org/name --revision v2");
  EXPECT_EQ(download_command(parsed("hf://datasets/o/n/a.jsonl", HubKind::kDataset)),
            "hf download o/n a.jsonl --repo-type dataset");
  EXPECT_EQ(download_command(parsed("hf://datasets/o/n@r/d/*.parquet", HubKind::kDataset)),
            "hf download o/n --include 'd/*.parquet' --repo-type dataset --revision r");
}

TEST_F(HubCache, ARevisionIsANameInRefsOrACommit) {
  put("models--org--name", kCommit, "config.json", "{}");
  refer("models--org--name", "main", kCommit);
  refer("models--org--name", "refs/pr/1", kCommit);
  const fs::path snapshot = cache() / "models--org--name" / "snapshots" / kCommit;
  EXPECT_EQ(find_snapshot(cache(), parsed("org/name")), snapshot);
  EXPECT_EQ(find_snapshot(cache(), parsed("org/name@refs/pr/1")), snapshot);
  EXPECT_EQ(find_snapshot(cache(), parsed(std::string("org/name@") + kCommit)), snapshot);
  EXPECT_EQ(hub_name_of(snapshot.string()), "org/name");
  EXPECT_EQ(hub_name_of(snapshot.string() + "/"), "org/name");
  EXPECT_EQ(hub_name_of("/home/me/llama"), "/home/me/llama");
  EXPECT_EQ(refusal(parsed("org/name@v9")), "the Hugging Face cache (" + cache().string() +
                                                ") has the model 'org/name' but not "
                                                "its revision 'v9' (it has " +
                                                kCommit +
                                                "); fetch it with: hf download org/name "
                                                "--revision v9");
}

TEST_F(HubCache, WhatIsAbsentComesWithTheCommandThatFetchesIt) {
  EXPECT_EQ(refusal(parsed("org/none")), "the Hugging Face cache (" + cache().string() +
                                             ") has no model 'org/none'; fetch it with: hf "
                                             "download org/none");
  put("datasets--org--data", kCommit, "a.jsonl", "{}");
  refer("datasets--org--data", "main", kCommit);
  EXPECT_THAT(refusal(parsed("org/data")), HasSubstr("has no model 'org/data'"));
  EXPECT_EQ(find_snapshot(cache(), parsed("hf://org/data", HubKind::kDataset)).filename(), kCommit);
}

TEST_F(HubCache, AHalfFetchedModelIsNamedAsSuch) {
  put("models--o--n", kCommit, "README.md", "");
  refer("models--o--n", "main", kCommit);
  EXPECT_THAT(refusal(parsed("o/n")), HasSubstr("holds the model 'o/n' without config.json; fetch "
                                                "it with: hf download o/n"));
  put("models--o--n", kCommit, "config.json", "{}");
  put("models--o--n", kCommit, "model-1-of-2.safetensors", "");
  put("models--o--n", kCommit, "model.safetensors.index.json",
      R"({"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}})");
  EXPECT_THAT(refusal(parsed("o/n")), HasSubstr("without model-2-of-2.safetensors"));
  put("models--o--n", kCommit, "model-2-of-2.safetensors", "");
  EXPECT_EQ(find_snapshot(cache(), parsed("o/n")).filename(), kCommit);
  fs::remove(cache() / "models--o--n" / "blobs" / "blob1");
  EXPECT_THAT(refusal(parsed("o/n")), HasSubstr("config.json' links to a file that is not there"));
}

}  // namespace
}  // namespace corda::core
