// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How cards write texts and the names of data.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace corda::card {

namespace fs = std::filesystem;

constexpr const char* kName = "README.md";
// A comment in every card that corda writes: without it the card is the user's own.
constexpr const char* kMark = "<!-- Written by corda. -->";
// The section that a card's scores are put in front of.
constexpr std::string_view kLoading = "## Loading it\n";

// A text in a sentence or a cell of a table: what Markdown reads as a mark gets a backslash.
std::string plain(const std::string& text);

struct Data {
  std::string name;     // "org/name" on the hub, else a file's name
  bool on_hub = false;  // a data set of the hub
};

Data data_of(const fs::path& path);
// The data at some paths, each once.
std::vector<Data> data_at(const std::vector<std::string>& paths);
std::string listed(const std::vector<Data>& data);

}  // namespace corda::card
