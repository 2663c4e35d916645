// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/cuda/CUDAContext.h>

#include <algorithm>
#include <cctype>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/linalg/device.h"
#include "corda/train/estimate.h"

namespace corda::train {

namespace {

constexpr std::int64_t kGibibyte = std::int64_t{1} << 30;

// Letters and digits, without what makers put around a name.
std::string essence(const std::string& name) {
  std::string text;
  for (const char c : core::to_lower_ascii(name)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) text += c;
  }
  for (const char* word : {"nvidia", "geforce", "rtx", "tesla", "sxm5", "sxm4", "sxm"}) {
    if (const auto at = text.find(word); at != std::string::npos && text != word)
      text.erase(at, std::string(word).size());
  }
  return text;
}

}  // namespace

// Memory is what the driver gives to programs; operations are those of the makers' data sheets,
// without sparsity; the last two are the compute capability.
const std::vector<Gpu>& known_gpus() {
  static const std::vector<Gpu> kGpus = {
      {"B200", 178 * kGibibyte, 2250e12, 10, 0},       {"H200", 139 * kGibibyte, 989e12, 9, 0},
      {"GH200", 94 * kGibibyte, 989e12, 9, 0},         {"H100", 79 * kGibibyte, 989e12, 9, 0},
      {"H100 NVL", 93 * kGibibyte, 835e12, 9, 0},      {"H100 PCIe", 79 * kGibibyte, 756e12, 9, 0},
      {"H20", 95 * kGibibyte, 148e12, 9, 0},           {"A100", 79 * kGibibyte, 312e12, 8, 0},
      {"A100 40GB", 39 * kGibibyte, 312e12, 8, 0},     {"A30", 23 * kGibibyte, 165e12, 8, 0},
      {"RTX PRO 6000", 95 * kGibibyte, 503e12, 12, 0}, {"L40S", 44 * kGibibyte, 362e12, 8, 9},
      {"L40", 44 * kGibibyte, 181e12, 8, 9},           {"L20", 44 * kGibibyte, 119e12, 8, 9},
      {"RTX 6000 Ada", 47 * kGibibyte, 364e12, 8, 9},  {"A6000", 47 * kGibibyte, 155e12, 8, 6},
      {"A40", 44 * kGibibyte, 150e12, 8, 6},           {"RTX 5090", 31 * kGibibyte, 210e12, 12, 0},
      {"A10", 22 * kGibibyte, 125e12, 8, 6},           {"A10G", 22 * kGibibyte, 70e12, 8, 6},
      {"A5000", 23 * kGibibyte, 111e12, 8, 6},         {"L4", 22 * kGibibyte, 121e12, 8, 9},
      {"RTX 4090", 23 * kGibibyte, 165e12, 8, 9},      {"RTX 3090", 23 * kGibibyte, 71e12, 8, 6},
      {"RTX 4080", 15 * kGibibyte, 97e12, 8, 9},       {"RTX 3080", 9 * kGibibyte, 59e12, 8, 6},
      {"RTX 3060", 11 * kGibibyte, 25e12, 8, 6},
  };
  return kGpus;
}

Gpu gpu_named(const std::string& name) {
  std::vector<std::string> names;
  std::string wanted = essence(name);
  if (wanted.ends_with("80gb")) wanted.resize(wanted.size() - 4);
  for (const Gpu& gpu : known_gpus()) {
    if (essence(gpu.name) == wanted) return gpu;
    names.push_back(gpu.name);
  }
  throw core::ConfigError(core::concat("the GPU '", name, "' is not known; the names are ",
                                       core::join(names, ", "),
                                       ", and auto is this machine's; a GPU before Ampere (V100, "
                                       "T4 and older) cannot be used"));
}

Gpu gpu_of(at::Device device) {
  const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(device.index());
  return {.name = linalg::describe(device),
          .memory_bytes = linalg::free_memory_bytes(device),
          .flops = linalg::peak_16bit_flops(device),
          .major = properties.major,
          .minor = properties.minor};
}

}  // namespace corda::train
