// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The model card (README.md) of an adapter or a model that corda made: front matter as the Hugging
// Face Hub reads it, then what was trained on which data, how it scored, how it is loaded, and
// under which licence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "corda/card/evaluations.h"
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

// What is known of the base in a model's directory, perhaps a snapshot in the Hugging Face cache. A
// README.md that is absent, larger than 1 MB, or without front matter that can be read says
// nothing.
Base base_of(const fs::path& model);

// The base that the card of an adapter's directory names, as corda, PEFT and others write it; an
// empty name where there is no card or it names none.
Base base_in_card(const fs::path& adapter);

// How the weights were changed.
struct Tuning {
  std::string method = {};  // lora | dora | pissa | corda | full
  std::string mode = {};    // of corda: kpa, ipa, dual ...
  std::int64_t rank = 0;
  std::int64_t smallest_rank = 0;  // of single layers, where these differ from one another
  std::int64_t largest_rank = 0;   // likewise
  std::int64_t stored_rank = 0;    // of the files; twice the rank where the start is subtracted
  double alpha = 0;                // of the adapter itself, not of the files
  std::string corrects = {};       // nf4, fp8: it is for a base in these codes, whose loss it mends
  std::vector<std::string> modules = {};  // full names of the adapted layers
};

// The data whose inputs chose the directions that an adapter starts in; their paths.
struct Start {
  std::vector<std::string> data = {};
  std::vector<std::string> task_data = {};  // of modes with two, such as dual
};

// What the settings in an adapter's directory say of its start, or those in a covariance's
// directory of its data; empty where there are none.
Start start_of(const fs::path& directory);

// How a model came to its codes.
struct Quantisation {
  std::string format = {};             // nf4 | fp8
  bool scale_a_row = false;            // fp8: not a tile
  bool knows_inputs = false;           // whether a covariance guided the rounding
  std::vector<std::string> data = {};  // that this covariance is of; their paths
};

// The run that left the directory `result` (RUN/adapter or RUN/model).
struct Run {
  core::ConfigNode settings;             // of RUN/config.resolved.yaml
  std::int64_t steps = 0;                // in RUN/metrics.jsonl
  std::optional<Evaluation> evaluation;  // of the step that `result` is of
  Start start;                           // of the adapter that it went on with
};

// nullopt where no config.resolved.yaml stands beside `result`. What cannot be read of metrics is
// left out: a card is no reason to fail.
std::optional<Run> run_of(const fs::path& result);

// The card of a trained adapter or model. Data are called by their name on the hub or by the file's
// name, never by a path of this machine. What is not known is left out, except for the licence:
// that nothing is known of it is said.
std::string text_of(Artifact artifact, const Base& base, const Tuning& tuning,
                    const std::optional<Run>& run);
// The same of an adapter that `corda decompose` made and nothing trained yet.
std::string text_of_start(const Base& base, const Tuning& tuning, const Start& start);
// The same of a model in codes.
std::string text_of_quantised(const Base& base, const Quantisation& how);

// Writes README.md into a directory that is being made and has not got its final name yet, so none
// that a user wrote or edited can stand there. One that was copied with the base is kept as
// README-of-base.md, or under the first free name of README-of-base-2.md and so on where the base
// had brought one of that name itself. Throws ResourceError.
void write(const fs::path& directory, const std::string& text);

// One figure of an evaluation.
struct Score {
  std::string task = {};
  std::vector<std::string> data = {};  // paths of what was asked
  std::string conditions = {};         // how it was measured, in words
  std::string metric = {};
  double value = 0;
  std::optional<double> error = {};  // standard error of the value
};

// Throws ConfigError unless README.md of `directory` is a card that corda wrote and that may be
// written to: scores go neither into a card of others nor into the Hugging Face cache.
void require_own_card(const fs::path& directory);

// Puts scores into the card's table of them, which is made where there is none. A row of the same
// task, data, conditions and metric is replaced; all else stays as it is. Throws as
// `require_own_card`, and ResourceError.
void add_scores(const fs::path& directory, const std::vector<Score>& scores);

}  // namespace corda::card
