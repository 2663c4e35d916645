// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Models and datasets in this machine's Hugging Face cache. Nothing is ever downloaded.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace corda::core {

enum class HubKind { kModel, kDataset };

// A repository of the hub, perhaps a file in it.
struct HubAddress {
  HubKind kind = HubKind::kModel;
  std::string id = {};  // "org/name", or the "name" of an old model
  std::string revision = "main";
  std::string file = {};  // in the repository, may be a pattern; "": the repository
};

// What a text of the form "org/name", "org/name@revision" or "hf://..." names, nullopt where it has
// none of these forms. As huggingface_hub has it, "hf://datasets/org/name/file" is a dataset's
// file; where a dataset is `wanted`, "datasets/" may be left out. Throws ConfigError for a text
// that begins with "hf://" and goes on otherwise.
std::optional<HubAddress> parse_hub_address(std::string_view text, HubKind wanted);

// The `hf download` command that fetches it.
std::string download_command(const HubAddress& address);

// Whether the cache, laid out as huggingface_hub lays it out (models--org--name/{refs,snapshots,
// blobs}), knows the repository in any revision.
bool in_hub_cache(const std::filesystem::path& cache, const HubAddress& address);

// The folder of the revision: refs/REVISION names it, or it is a commit itself. Throws IoError,
// with the command that fetches it, where the repository or the revision is not there, where a link
// of it leads nowhere, and where a model's folder lacks config.json or a shard of its index.
std::filesystem::path find_snapshot(const std::filesystem::path& cache, const HubAddress& address);

// "org/name" of a folder in such a cache, any other text as it is: a name that means the same on
// other machines.
std::string hub_name_of(const std::string& path);

}  // namespace corda::core
