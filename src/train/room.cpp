// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/room.h"

#include <ATen/ATen.h>

#include <system_error>

#include "corda/core/error.h"
#include "corda/core/quantity.h"
#include "corda/core/room.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "train/run_directory.h"
#include "train/sharded_base.h"

namespace corda::train {

using core::concat;

namespace {

std::int64_t trained_parameters(Trainable& trainable) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : trainable.parameters()) count += tensor.numel();
  return count;
}

const char* what_is_smaller(const TrainSettings& settings, bool is_full) {
  if (is_full) return "take method lora, ";
  return settings.base == "nf4" ? "lower lora.rank, " : "set base to nf4, ";
}

}  // namespace

std::int64_t state_bytes(Trainable& trainable) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : trainable.model().parameters())
    bytes += static_cast<std::int64_t>(tensor->nbytes());
  const ShardedBase* sharded = nullptr;
  for (const model::Linear* linear : trainable.model().linear_layers()) {
    if (!linear->packed) continue;
    bytes -= static_cast<std::int64_t>(linear->weight.nbytes());
    if (const auto* store = dynamic_cast<const ShardedBase*>(linear->packed->store.get())) {
      sharded = store;
    } else {
      bytes += linear->packed->codes.bytes();
    }
  }
  if (sharded != nullptr) bytes += sharded->own_bytes() + sharded->whole_bytes();
  // Gradient and two moments in fp32, and an adapter's own values.
  return bytes + trained_parameters(trainable) * (trainable.is_full() ? 12 : 16);
}

void require_disk(const TrainSettings& settings, Trainable& shapes, core::Reporter& reporter) {
  const fs::path run = settings.out;
  // What an earlier process of the run had set apart is this one's.
  std::error_code none;
  const auto apart = fs::file_size(run / kReservedName, none);
  const std::int64_t result = shapes.saved_bytes() - (none ? 0 : static_cast<std::int64_t>(apart));
  core::require_disk_space(run, result, "the result");
  const bool saves = settings.checkpoint.every > 0 || settings.checkpoint.minutes > 0;
  const std::int64_t checkpoint = 12 * trained_parameters(shapes);  // values and moments, fp32
  const std::int64_t left = core::free_disk_bytes(run) - result;
  if (!saves || checkpoint <= left) return;
  reporter.warn(concat("the disk of '", run.string(), "' has ", core::size_text(left),
                       " beside the result, and a checkpoint needs ", core::size_text(checkpoint),
                       "; without one a killed run begins anew"));
}

void require_memory(const TrainSettings& settings, Trainable& shapes, at::Device device, int ranks,
                    int ranks_here) {
  // Of a split base this rank holds a part, that of all ranks at the least.
  std::int64_t bytes = state_bytes(shapes) / (settings.shard ? ranks : 1);
  std::string what = "the model with what is trained, gradients and moments";
  // A GPU is one rank's; the machine's memory is that of all its ranks.
  if (!device.is_cuda() && ranks_here > 1) {
    bytes *= ranks_here;
    what += concat(", of ", ranks_here, " ranks,");
  }
  linalg::require_memory(
      device, what, bytes,
      concat(what_is_smaller(settings, shapes.is_full()), "or use a device with more free memory"));
}

void require_room(const TrainSettings& settings, Trainable& shapes, dist::World& world,
                  core::Reporter& reporter) {
  const at::Device device = world.device_of(settings.device);  // asks the others too
  std::string refusal;
  try {
    if (world.is_first()) require_disk(settings, shapes, reporter);
    require_memory(settings, shapes, device, world.size(), world.local_size());
  } catch (const core::ResourceError& error) {
    refusal = error.what();
  }
  // No rank begins what another one cannot do.
  for (const std::string& said : world.gather(refusal))
    if (!said.empty()) throw core::ResourceError(said);
}

}  // namespace corda::train
