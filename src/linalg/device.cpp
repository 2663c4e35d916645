// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <sys/resource.h>

#include <fstream>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "corda/core/room.h"
#include "corda/core/text.h"

namespace corda::linalg {

using core::concat;

at::Device device_of(const std::string& name) {
  const std::int64_t gpus = c10::cuda::device_count();
  if (name == "cpu" || (name == "auto" && gpus == 0)) return at::kCPU;
  std::int64_t index = 0;
  if (name.starts_with("cuda:")) {
    index = core::parse_int(std::string_view(name).substr(5)).value_or(-1);
  } else if (name != "cuda" && name != "auto") {
    index = -1;
  }
  if (index < 0 || index > 127) {
    throw core::ConfigError(concat("'device' must be auto, cpu, cuda or cuda:N; it is '", name, "'",
                                   core::suggestion(name, {"auto", "cpu", "cuda"})));
  }
  if (index >= gpus) {
    throw core::ResourceError(concat("the device '", name, "' does not exist: this machine has ",
                                     gpus, " usable GPU(s); use --device cpu or auto"));
  }
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
  const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(device.index());
  const std::string refusal = gpu_refusal(properties.name, properties.major, properties.minor);
  if (!refusal.empty()) throw core::ResourceError(refusal);
  return device;
}

std::string gpu_refusal(const std::string& product, int major, int minor) {
  constexpr int kLeastMajor = 8;  // of the kernels' binaries and of flash attention
  if (major >= kLeastMajor) return "";
  return concat("the GPU '", product, "' has compute capability ", major, ".", minor,
                ", and corda needs 8.0 (Ampere) or newer; use --device cpu, or cuda:N for another");
}

at::ScalarType dtype_of(const std::string& name, at::Device device) {
  if (name == "auto") return device.is_cuda() ? at::kBFloat16 : at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  if (name == "fp32") return at::kFloat;
  throw core::ConfigError(concat("the precision must be auto, bf16 or fp32; it is '", name, "'"));
}

std::string name_of(at::ScalarType dtype) { return dtype == at::kBFloat16 ? "bf16" : "fp32"; }

std::string describe(at::Device device) {
  return device.is_cuda() ? std::string(at::cuda::getDeviceProperties(device.index())->name)
                          : "cpu";
}

void set_threads(std::int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

namespace {

c10::CachingDeviceAllocator::DeviceStats allocator_stats(at::Device device) {
  // The allocator knows no device before the first tensor of CUDA, or this.
  at::globalContext().lazyInitDevice(at::kCUDA);
  return c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
}

}  // namespace

std::int64_t free_memory_bytes(at::Device device) {
  if (!device.is_cuda()) return core::available_memory_bytes();
  const c10::cuda::CUDAGuard guard(device);
  std::size_t free = 0;
  std::size_t total = 0;
  if (const cudaError_t error = cudaMemGetInfo(&free, &total); error != cudaSuccess) {
    throw core::ResourceError(concat("cannot ask ", describe(device),
                                     " for its free memory: ", cudaGetErrorString(error)));
  }
  const auto stats = allocator_stats(device);
  return core::narrow<std::int64_t>(free) + stats.reserved_bytes[0].current -
         stats.allocated_bytes[0].current;
}

void reset_peak_memory(at::Device device) {
  if (device.is_cuda()) c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
}

std::int64_t peak_memory_bytes(at::Device device) {
  if (device.is_cuda()) {
    return allocator_stats(device).allocated_bytes[0].peak;
  }
  // getrusage counts the process that started this one too, as large as it was at exec.
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (constexpr std::string_view kPeak = "VmHWM:"; line.starts_with(kPeak))
      return std::stoll(line.substr(kPeak.size())) * 1024;
  }
  rusage usage{};  // where the kernel does not say
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

namespace {

// Operations a clock and multiprocessor. Data sheets give the peak at the boost clock; device_test
// holds one card of each kind against its own. Sources: the whitepapers of the A100, H100,
// Blackwell, GA102 and Ada architectures and the data sheets of A10, A10G, A16, A40, L4, L20, L40,
// L40S, H20, RTX A5000, RTX A6000, RTX 6000 Ada and RTX PRO 6000 (their dense figures: those "with
// sparsity" are twice as large).
double operations_per_clock(const std::string& product, int major, int minor) {
  const auto is = [&](const char* word) { return product.find(word) != std::string::npos; };
  switch (10 * major + minor) {
    case 80:
      return 2048;
    case 86:
    case 89:
    case 120: {
      // Chips that are sold for games and for work: sums in fp32 run at half speed on the former.
      // So they do on the A10G, L20 and L40, but not on the A10 and L40S.
      const bool half =
          is("GeForce") || is("TITAN") || is("A10G") || is("L20") || (is("L40") && !is("L40S"));
      return half ? 512 : 1024;
    }
    case 90:
      // The H20 is held to a quarter.
      return is("H20") && !is("H200") ? 1024 : 4096;
    case 100:
    case 103:
      return 8192;
    default:
      return 0;
  }
}

}  // namespace

double peak_16bit_flops(at::Device device) {
  if (!device.is_cuda()) return 0;
  const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(device.index());
  int kilohertz = 0;
  if (cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, device.index()) != cudaSuccess)
    return 0;
  return peak_16bit_flops(properties.name, properties.major, properties.minor,
                          properties.multiProcessorCount, 1e3 * kilohertz);
}

double peak_16bit_flops(const std::string& product, int major, int minor, int multiprocessors,
                        double hertz) {
  return operations_per_clock(product, major, minor) * multiprocessors * hertz;
}

}  // namespace corda::linalg
