// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which device to work on, in which precision, and how much memory that took.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

namespace corda::linalg {

// "auto" (the first GPU, else the CPU), "cpu", "cuda" or "cuda:N". Throws ConfigError for another
// word, ResourceError where there is no such GPU or it cannot run corda.
at::Device device_of(const std::string& name);
// Why a GPU of this product name and compute capability cannot run corda; "" where it can.
std::string gpu_refusal(const std::string& product, int major, int minor);

// "auto" (bf16 on a GPU, fp32 on the CPU), "bf16" or "fp32". Throws ConfigError.
at::ScalarType dtype_of(const std::string& name, at::Device device);
// The name of one of these two, "bf16" or "fp32".
std::string name_of(at::ScalarType dtype);

// "cpu" or the GPU's product name.
std::string describe(at::Device device);

// Threads of CPU work; 0 leaves the default.
void set_threads(std::int64_t threads);

// Bytes of the GPU that can still be allocated, those that the allocator holds unused included; of
// the machine's memory for the CPU.
std::int64_t free_memory_bytes(at::Device device);

// Highest use so far, bytes: of the GPU's allocator, or of this process's resident memory.
std::int64_t peak_memory_bytes(at::Device device);
// Counts it from now on. Nothing for a CPU.
void reset_peak_memory(at::Device device);

// Multiplications and additions a second that the GPU's tensor cores can do at its highest clock in
// 16 bits, dense, summed in fp32; 0 where that is not known (the CPU, kinds of GPU not listed).
double peak_16bit_flops(at::Device device);
// The same of a GPU of this product name and compute capability with so many multiprocessors.
double peak_16bit_flops(const std::string& product, int major, int minor, int multiprocessors,
                        double hertz);

}  // namespace corda::linalg
