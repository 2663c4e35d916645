// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The model card (README.md) of an adapter or a model that corda made: front matter as the Hugging
// Face Hub reads it, then what was trained on which data, how it is loaded, and under which
// licence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/config_node.h"

namespace corda::card {

namespace fs = std::filesystem;

// What stands in the directory that a card is for: a PEFT adapter, or a whole model.
enum class Artifact { kAdapter, kModel };

// What a card says of the base.
struct Base {
  std::string name = {};  // "org/name" on the hub, else the name of its folder
  bool on_hub = false;    // whether `name` means the same on other machines
  // The keys of these names in the front matter of its README.md; "" where it has none.
  std::string license = {};
  std::string license_name = {};
  std::string license_link = {};
  std::vector<std::string> languages = {};
};

// Of a model's directory, perhaps a snapshot in the Hugging Face cache. A README.md that is absent,
// larger than 1 MB, or without front matter that can be read says nothing.
Base base_of(const fs::path& model);

// The base that the card of an adapter's directory names, as corda, PEFT and others write it; an
// empty name where there is no card or it names none.
Base base_in_card(const fs::path& adapter);

// How the weights were changed.
struct Tuning {
  std::string method = {};  // lora | dora | pissa | corda | full
  std::string mode = {};    // of corda: kpa, ipa, dual ...
  std::int64_t rank = 0;
  std::int64_t stored_rank = 0;  // of the files; twice the rank where the start is subtracted
  double alpha = 0;              // of the adapter itself, not of the files
  std::vector<std::string> modules = {};  // full names of the adapted layers
};

// The run that left the directory `result` (RUN/adapter or RUN/model).
struct Run {
  struct Evaluation {
    std::int64_t step = 0;
    double loss = 0;
  };
  core::ConfigNode settings;             // of RUN/config.resolved.yaml
  std::int64_t steps = 0;                // in RUN/metrics.jsonl
  std::optional<Evaluation> evaluation;  // of the step that `result` is of
};

// nullopt where no config.resolved.yaml stands beside `result`. Metrics are read up to a line that
// cannot be: a card is no reason to fail.
std::optional<Run> run_of(const fs::path& result);

// The card. Data are called by their name on the hub or by the file's name, never by a path of this
// machine. What is not known is left out, except for the licence: that nothing is known of it is
// said.
std::string text_of(Artifact artifact, const Base& base, const Tuning& tuning,
                    const std::optional<Run>& run);

// Writes README.md into a directory that is being made and has not got its final name yet, so none
// that a user wrote or edited can stand there. One that was copied with the base becomes
// README-of-base.md, unless corda wrote it too: then an older card of that name is the base's own.
// Throws ResourceError.
void write(const fs::path& directory, const std::string& text);

}  // namespace corda::card
