// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a checkpoint holds of a run, parameters and moments by name, wherever they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "corda/dist/world.h"
#include "corda/train/optimizer.h"
#include "train/sharded_parameters.h"

namespace corda::train {

// An fp32 tensor of a checkpoint: a parameter by its name; "NAME.exp_avg", "NAME.exp_avg_sq",
// "NAME.step".
struct StateEntry {
  std::string name;
  std::vector<std::int64_t> sizes;
};

// Tensors that are asked for one after the other.
struct StateTensors {
  std::vector<StateEntry> entries;
  // Of the entry of this number.
  std::function<at::Tensor(std::size_t entry)> value;
  std::int64_t bytes() const;
};

// Rank 0 alone reads and restores it, and where it is split the others must serve it meanwhile.
class TrainedState {
 public:
  TrainedState() = default;
  TrainedState(const TrainedState&) = delete;
  TrainedState& operator=(const TrainedState&) = delete;
  virtual ~TrainedState() = default;

  // To be called by every rank: rank 0 does `work`, and during it everything below may be called
  // there; the others return when it is done, or fails. What it throws is thrown on rank 0.
  virtual void by_first(const std::function<void()>& work) = 0;

  // Neighbours in the list come from one place. Valid as long as this; of a split state each value
  // as long as no other was asked for.
  virtual StateTensors tensors() = 0;
  virtual bool is_split() const = 0;
  // Puts what `stored` gives for every entry in its place.
  virtual void restore(const std::function<at::Tensor(const StateEntry& entry)>& stored) = 0;
  // Throws NumericalError naming the first parameter, or part of them, that is not finite.
  virtual void require_finite() = 0;

  // The parameter of this name, as `tensors` gives it.
  at::Tensor parameter(const std::string& name);
};

// Of an optimizer that has everything. It must outlive the state.
std::unique_ptr<TrainedState> whole_state(const AdamW& optimizer, bool is_first = true);
// Of one that trains `parameters.pieces()`. All must outlive the state.
std::unique_ptr<TrainedState> split_state(const AdamW& optimizer, ShardedParameters& parameters,
                                          dist::World& world);

}  // namespace corda::train
