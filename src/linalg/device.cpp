// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/device.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::linalg {

c10::Device device_of(const std::string& name) {
  const auto count = static_cast<std::int64_t>(at::getNumGPUs());
  if (name == "cpu" || (name == "auto" && count == 0)) return at::kCPU;
  std::int64_t index = 0;
  if (name.starts_with("cuda:")) {
    const auto number = core::parse_int(std::string_view(name).substr(5));
    index = number.value_or(-1);
  } else if (name != "cuda" && name != "auto") {
    index = -1;
  }
  if (index < 0 || index > 127) {
    throw core::ConfigError(core::concat("'device' must be auto, cpu, cuda or cuda:N; it is '", name, "'",
                                         core::suggestion(name, {"auto", "cpu", "cuda"})));
  }
  if (index >= count) {
    throw core::ResourceError(core::concat("the device '", name, "' does not exist: this machine has ", count,
                                           " usable GPU(s); use --device cpu or auto"));
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace corda::linalg
