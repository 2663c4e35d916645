// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The result of the step with the lowest evaluation loss, kept while a run goes on: what the run
// would leave stands in RUN/best/step-N.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/fields.h"

namespace corda::train {

namespace fs = std::filesystem;

struct BestSoFar {
  std::int64_t step = 0;
  double loss = 0;
  std::int64_t worse = 0;  // evaluations since
  std::string data;        // fingerprint of the evaluation's samples
};

core::Json to_json(const BestSoFar& best);
// Throws FormatError.
BestSoFar best_from_json(const core::Fields& json);

class BestResult {
 public:
  // `data` is the fingerprint of the samples that losses are of.
  BestResult(const fs::path& run, std::string data);

  // Takes up what a checkpoint knew. False, and nothing is known, where the losses are of other
  // samples or its directory is gone.
  bool restore(const BestSoFar& best);
  // The loss after `step`; where it is the lowest, `save(directory)` is called to write the result,
  // and directories that no checkpoint can need any more are removed. What `save` throws is thrown,
  // and the best stays what it was.
  void evaluated(std::int64_t step, double loss, const std::function<void(const fs::path&)>& save);
  // A checkpoint that knows the present state is being written.
  void checkpointed();

  const std::optional<BestSoFar>& now() const { return best_; }
  // Gives the best result a model card, if that is not empty, and its place; removes the directory.
  void move_to(const fs::path& result, const std::string& card = "");

 private:
  fs::path directory_of(std::int64_t step) const;
  void remove_all_but_needed() const;

  fs::path directory_;
  std::string data_;
  std::optional<BestSoFar> best_;
  // Steps that the last two checkpoints name: the newest of them may not be complete yet.
  std::array<std::int64_t, 2> named_{};
};

}  // namespace corda::train
