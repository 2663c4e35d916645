// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/utsname.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/linalg/device.h"
#include "data/table_reader.h"
#include "self_test.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

using core::concat;
using nlohmann::ordered_json;

struct DoctorFlags {
  std::string device = "auto";
  std::string disk = ".";
};

// A line of a file of the system's that begins so, what stands behind the colon; "" without one.
std::string line_of(const char* path, std::string_view beginning) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(beginning)) continue;
    const auto colon = line.find(':');
    return std::string(core::trim(line.substr(colon == std::string::npos ? 0 : colon + 1)));
  }
  return "";
}

std::string cuda_version(int version) {
  return version == 0 ? "none" : concat(version / 1000, ".", version % 1000 / 10);
}

// The version of the NCCL that torch has loaded; "" where it has loaded none.
std::string nccl_version() {
  void* library = ::dlopen("libnccl.so.2", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return "";
  using GetVersion = int (*)(int*);
  const auto get = reinterpret_cast<GetVersion>(::dlsym(library, "ncclGetVersion"));
  int version = 0;
  const bool known = get != nullptr && get(&version) == 0;
  ::dlclose(library);
  return known ? concat(version / 10000, ".", version / 100 % 100, ".", version % 100) : "";
}

ordered_json software() {
  utsname system{};
  ::uname(&system);
  int driver = 0;
  int runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  std::string distribution = line_of("/etc/os-release", "PRETTY_NAME");
  if (const auto quote = distribution.find('"'); quote != std::string::npos)
    distribution = distribution.substr(quote + 1, distribution.size() - quote - 2);
  return {{"corda", CORDA_VERSION},
          {"compiler", __VERSION__},
          {"system",
           concat(distribution, ", ", system.sysname, " ", system.release, " ", system.machine)},
          {"torch", TORCH_VERSION},
          {"cuda_runtime", cuda_version(runtime)},
          {"cuda_of_driver", cuda_version(driver)},
          {"driver", line_of("/proc/driver/nvidia/version", "NVRM version")},
          {"cudnn", at::globalContext().hasCuDNN() ? at::globalContext().versionCuDNN() : 0},
          {"nccl", nccl_version()},
          {"parquet", data::reads_tables()},
          {"hugging_face_cache", hub_cache_directory().string()}};
}

ordered_json hardware() {
  ordered_json gpus = ordered_json::array();
  const auto count = static_cast<c10::DeviceIndex>(at::getNumGPUs());
  for (c10::DeviceIndex i = 0; i < count; ++i) {
    const cudaDeviceProp& gpu = *at::cuda::getDeviceProperties(i);
    const at::Device device(at::kCUDA, i);
    gpus.push_back({{"name", gpu.name},
                    {"compute_capability", concat(gpu.major, ".", gpu.minor)},
                    {"memory_bytes", gpu.totalGlobalMem},
                    {"free_bytes", linalg::free_memory_bytes(device)},
                    {"peak_16bit_flops", linalg::peak_16bit_flops(device)},
                    {"refused", linalg::gpu_refusal(gpu.name, gpu.major, gpu.minor)}});
  }
  return {{"cpu", line_of("/proc/cpuinfo", "model name")},
          {"cores", std::thread::hardware_concurrency()},
          {"memory", line_of("/proc/meminfo", "MemTotal")},
          {"free_memory", line_of("/proc/meminfo", "MemAvailable")},
          {"gpus", std::move(gpus)}};
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Writes a file to the disk itself, and reads it again without the system's copy of it.
ordered_json disk_speed(const core::fs::path& directory) {
  constexpr std::size_t kPiece = std::size_t{4} << 20;
  constexpr int kPieces = 64;
  std::string name = (directory / "corda-doctor-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  if (file < 0) core::throw_output_error("write to", directory, errno);
  ::unlink(name.c_str());
  std::string piece(kPiece, '\0');
  for (std::size_t i = 0; i < kPiece; ++i) piece[i] = static_cast<char>(i * 2654435761U >> 13);
  bool whole = true;
  const double written = seconds_of([&] {
    for (int i = 0; i < kPieces; ++i)
      whole = whole && ::write(file, piece.data(), kPiece) == static_cast<ssize_t>(kPiece);
    whole = whole && ::fsync(file) == 0;
  });
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::lseek(file, 0, SEEK_SET);
  const double read = seconds_of([&] {
    for (int i = 0; i < kPieces; ++i)
      whole = whole && ::read(file, piece.data(), kPiece) == static_cast<ssize_t>(kPiece);
  });
  ::close(file);
  if (!whole) throw core::ResourceError(concat("the disk of '", directory.string(), "' is full"));
  const double bytes = static_cast<double>(kPiece) * kPieces;
  std::error_code ignored;
  const auto space = core::fs::space(directory, ignored);
  return {{"directory", core::fs::absolute(directory).string()},
          {"free_bytes", space.available},
          {"write_bytes_per_second", bytes / written},
          {"read_bytes_per_second", bytes / read}};
}

void print_section(const char* title, const ordered_json& facts) {
  std::printf("%s\n", title);
  for (const auto& [key, value] : facts.items()) {
    if (value.is_array()) continue;
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_number_float()) {
      char rounded[32];
      std::snprintf(rounded, sizeof rounded, "%.3g", value.get<double>());
      text = rounded;
    }
    std::printf("  %-24s %s\n", key.c_str(), text.empty() ? "none" : text.c_str());
  }
}

void run(const DoctorFlags& flags, const CommonFlags& common) {
  const at::Device device = linalg::device_of(flags.device);
  const std::string disk = user_path(flags.disk);
  ordered_json report = {{"software", software()},
                         {"hardware", hardware()},
                         {"disk", disk_speed(disk)},
                         {"device", linalg::describe(device)}};
  const std::vector<Check> checks = self_test(device);
  ordered_json tests = ordered_json::array();
  std::vector<std::string> failed;
  for (const Check& check : checks) {
    tests.push_back({{"name", check.name},
                     {"reference", check.reference},
                     {"passed", check.passed()},
                     {"error", check.error},
                     {"limit", check.limit},
                     {"seconds", check.seconds},
                     {"failure", check.failure}});
    if (!check.passed()) failed.push_back(check.name);
  }
  report["self_test"] = tests;
  if (common.json) {
    print_json(report);
  } else {
    print_section("software", report["software"]);
    print_section("hardware", report["hardware"]);
    for (const auto& gpu : report["hardware"]["gpus"]) print_section(" gpu", gpu);
    print_section("disk", report["disk"]);
    std::printf("self-test on %s\n", linalg::describe(device).c_str());
    for (const Check& check : checks) {
      std::printf("  %-7s %-32s against %-26s error %.1e, at most %.1e, %.2f s%s%s\n",
                  check.passed() ? "passed" : "FAILED", check.name.c_str(), check.reference.c_str(),
                  check.error, check.limit, check.seconds, check.failure.empty() ? "" : ": ",
                  check.failure.c_str());
    }
  }
  if (!failed.empty()) {
    std::fflush(stdout);
    throw core::NumericalError(concat("the self-test failed: ", core::join(failed, ", "),
                                      "; please report it with all that is printed here"));
  }
}

}  // namespace

void add_doctor(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb = app.add_subcommand(
      "doctor", "Show what corda runs on and test its backends: what a bug report needs.");
  const auto flags = std::make_shared<DoctorFlags>();
  verb->add_option("--device", flags->device, "auto, cpu, cuda or cuda:N")->type_name("TEXT");
  verb->add_option("--disk", flags->disk, "directory whose disk is timed (writes 256 MB) [.]")
      ->type_name("PATH");
  verb->callback([flags, &common, &action] { action = [flags, &common] { run(*flags, common); }; });
}

}  // namespace corda::tools
