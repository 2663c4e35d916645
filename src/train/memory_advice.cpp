// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/memory_advice.h"

#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "train/recompute.h"

namespace corda::train {

std::string memory_advice(const TrainSettings& settings, at::Device device, std::int64_t sample,
                          std::int64_t batch) {
  constexpr const char* kMicroBatch = "optim.micro_batch_tokens";
  std::vector<std::string> continued;  // what a continuation may change
  std::vector<std::string> anew;
  // A micro-batch holds one sample at least.
  if (settings.data.packing && sample < batch) {
    TrainSettings copy = settings;
    const core::SettingsList list = settings_of(copy);
    (list.find(kMicroBatch)->free() ? continued : anew)
        .push_back(std::string("lower ") + kMicroBatch);
  }
  if (settings.gradients == "fused" && settings.recompute != name_of(Recompute::kBlock)) {
    continued.push_back("set recompute to " + name_of(Recompute::kBlock));
  } else if (settings.gradients == "fused" && settings.offload != "true" && device.is_cuda()) {
    continued.emplace_back("set offload to true");
  }
  anew.emplace_back("lower data.max_length");
  if (continued.empty()) continued.emplace_back("use a device with more free memory");
  return core::concat(core::join(continued, " or "), " (--resume allows it), or start anew and ",
                      core::join(anew, " or "));
}

}  // namespace corda::train
