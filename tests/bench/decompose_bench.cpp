// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Times the decomposition of a model's layers from covariances in memory, and checks energies
// against the exact route. Prints one JSON object. Layers are random, of the given shapes:
//
//   decompose_bench DEVICE MODE SPECTRUM HIDDEN INNER KV BLOCKS CHECKED RANK [exact] [phases]
//     MODE kpa | ipa | dual; SPECTRUM normal | decay | outlier; CHECKED blocks are checked
//     phases: the time of each phase, for which the GPU is waited for after each
//   decompose_bench DEVICE product WIDTH TOKENS
//     adds the Gram matrix of bf16 activations to a covariance, in panels of several widths
//   decompose_bench DEVICE pack WIDTH
//     a covariance to its packed triangle on the host and back, packed by the CPU or by the device
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "corda/core/parallel.h"
#include "corda/kernels/pack_lower.h"
#include "corda/linalg/accumulate.h"
#include "corda/linalg/device.h"
#include "corda/linalg/spectrum.h"
#include "linalg/backend.h"

namespace {

using corda::linalg::DampedCovariance;
using corda::linalg::Spectrum;
using corda::linalg::Which;

struct Arguments {
  at::Device device = at::kCPU;
  std::string mode;
  std::string spectrum;
  std::int64_t hidden = 0, inner = 0, kv = 0, blocks = 0, checked = 0, rank = 0;
  bool exact = false;
  bool phases = false;
};

// Multiplies by a few reflections of 64 random directions, which mixes a diagonal matrix well.
at::Tensor mix(at::Tensor x) {
  for (int pass = 0; pass < 3; ++pass) {
    const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({x.size(0), 64}, x.options())));
    x = x.index_select(0, at::randperm(x.size(0), x.options().dtype(at::kLong)));
    x = x - at::mm(q, at::mm(q.t(), x)) * 2;
  }
  return x;
}

at::Tensor covariance_of(const Arguments& a, std::int64_t n) {
  const auto options = at::TensorOptions().device(a.device).dtype(at::kFloat);
  if (a.spectrum == "normal") {
    const at::Tensor x = at::randn({2 * n, n}, options);
    return at::mm(x.t(), x) / (2 * n);
  }
  at::Tensor lambda = at::arange(1, n + 1, options).pow(-1.2);
  if (a.spectrum == "outlier") lambda[0] = 1e4 * lambda.sum().item<double>();
  const at::Tensor x = mix(at::diag(lambda.sqrt()));
  return at::mm(x, x.t());
}

at::Tensor weight_of(const Arguments& a, std::int64_t out, std::int64_t in) {
  const auto options = at::TensorOptions().device(a.device).dtype(at::kFloat);
  const at::Tensor w = at::randn({out, in}, options) * 0.02;
  if (a.spectrum == "normal") return w.to(at::kBFloat16);
  // Columns of falling size, mixed: singular values over 2.5 decades.
  const at::Tensor scale = at::logspace(0.5, -2, in, 10.0, options);
  return mix((w * scale).t()).t().to(at::kBFloat16);
}

void wait(at::Device device) {
  if (device.is_cuda()) c10::cuda::device_synchronize();
}

class Bench {
 public:
  explicit Bench(const Arguments& arguments) : a_(arguments) {}

  nlohmann::json run() {
    struct Site {
      std::int64_t in;
      std::vector<std::int64_t> outs;
    };
    const std::vector<Site> sites = {{a_.hidden, {a_.hidden, a_.kv, a_.kv}},
                                     {a_.hidden, {a_.hidden}},
                                     {a_.hidden, {a_.inner, a_.inner}},
                                     {a_.inner, {a_.hidden}}};
    // -1 warms the GPU up.
    for (std::int64_t block = a_.device.is_cuda() ? -1 : 0; block < a_.blocks; ++block) {
      for (const auto& site : sites) {
        std::vector<at::Tensor> weights;
        for (const std::int64_t out : site.outs) weights.push_back(weight_of(a_, out, site.in));
        const at::Tensor covariance = covariance_of(a_, site.in);
        const at::Tensor task =
            a_.mode == "dual" ? covariance_of(a_, site.in) + covariance * 0.1 : at::Tensor();
        solve(block, covariance, task, weights);
      }
    }
    return {{"mode", a_.mode},
            {"spectrum", a_.spectrum},
            {"layers", layers_},
            {"seconds", seconds_},
            {"ms_by_shape", by_shape()},
            {"ms_by_phase", phases_},
            {"worst_bound", worst_bound_},
            {"redone", redone_},
            {"checked", checked_},
            {"worst_ratio", worst_ratio_},
            {"exact_seconds", exact_seconds_},
            {"peak_memory_bytes", corda::linalg::peak_memory_bytes(a_.device)},
            {"device", corda::linalg::describe(a_.device)}};
  }

 private:
  nlohmann::json by_shape() const {
    nlohmann::json result;
    for (const auto& [shape, entry] : times_)
      result[shape] = {{"ms", 1e3 * entry.first / static_cast<double>(entry.second)},
                       {"route", routes_.at(shape)}};
    return result;
  }

  void solve(std::int64_t block, const at::Tensor& covariance, const at::Tensor& task,
             const std::vector<at::Tensor>& weights) {
    const auto which = a_.mode == "kpa" ? Which::kSmallest : Which::kLargest;
    corda::linalg::SubspaceOptions options = {.exact = a_.exact};
    auto phase_begin = std::chrono::steady_clock::now();
    const auto phase = [&](const char* name) {
      wait(a_.device);
      const auto end = std::chrono::steady_clock::now();
      if (block >= 0)
        phases_[name] += 1e3 * std::chrono::duration<double>(end - phase_begin).count();
      phase_begin = end;
    };
    if (a_.phases) options.on_phase = phase;
    wait(a_.device);
    auto begin = std::chrono::steady_clock::now();
    phase_begin = begin;
    DampedCovariance damped(covariance, 0.01);
    if (a_.phases) phase("damp");
    std::vector<Spectrum> found;
    const auto lap = [&](const std::string& shape) {
      wait(a_.device);
      const auto end = std::chrono::steady_clock::now();
      const double seconds = std::chrono::duration<double>(end - begin).count();
      begin = end;
      if (block < 0) return;
      seconds_ += seconds;
      auto& entry = times_[shape];
      entry.first += seconds;
      ++entry.second;
      if (!found.empty()) routes_[shape] = found.back().route + " " + found.back().refused;
    };
    if (a_.mode == "dual") {
      found.push_back(corda::linalg::certified_generalised_top(task, damped, a_.rank, options));
      lap("site " + std::to_string(covariance.size(0)));
    } else {
      for (const auto& w : weights) {
        found.push_back(corda::linalg::certified_subspace(w, damped, a_.rank, which, options));
        lap(std::to_string(w.size(0)) + "x" + std::to_string(w.size(1)) +
            (found.size() > 1 ? " same input" : ""));
      }
    }
    if (block < 0) return;
    layers_ += static_cast<std::int64_t>(weights.size());
    for (const auto& spectrum : found) {
      if (std::abs(spectrum.bound - 1) > std::abs(worst_bound_ - 1)) worst_bound_ = spectrum.bound;
      if (!spectrum.refused.empty()) ++redone_;
    }
    if (block < a_.checked) check(damped, task, weights, found, which);
  }

  void check(DampedCovariance& damped, const at::Tensor& task,
             const std::vector<at::Tensor>& weights, const std::vector<Spectrum>& found,
             Which which) {
    for (std::size_t i = 0; i < found.size(); ++i) {
      wait(a_.device);
      const auto begin = std::chrono::steady_clock::now();
      double optimum = 0;
      double reached = 0;
      if (a_.mode == "dual") {
        const Spectrum exact = corda::linalg::generalised_top(task, damped.matrix(), a_.rank);
        optimum = exact.values.sum().item<double>();
        const at::Tensor& v = found[i].vectors;
        reached = (v * at::mm(task.to(at::kDouble), v)).sum().item<double>();
      } else {
        const at::Tensor w = weights[i].to(at::kDouble);
        const Spectrum exact =
            corda::linalg::left_singular_subspace(w, damped.matrix(), a_.rank, which);
        const auto energy = [&](const at::Tensor& u) {
          return at::linalg_norm(at::mm(at::mm(u.t(), w), damped.matrix())).item<double>();
        };
        optimum = energy(exact.vectors);
        reached = energy(found[i].vectors);
      }
      exact_seconds_ +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      const double ratio = reached / optimum;
      ++checked_;
      if (std::abs(ratio - 1) > std::abs(worst_ratio_ - 1)) worst_ratio_ = ratio;
    }
  }

  Arguments a_;
  std::map<std::string, std::pair<double, std::int64_t>> times_;
  std::map<std::string, std::string> routes_;
  std::map<std::string, double> phases_;  // all layers together
  double seconds_ = 0;
  double exact_seconds_ = 0;
  double worst_bound_ = 1;
  double worst_ratio_ = 1;
  std::int64_t layers_ = 0;
  std::int64_t redone_ = 0;
  std::int64_t checked_ = 0;
};

template <typename Call>
double milliseconds(at::Device device, int repeats, const Call& call) {
  call();
  wait(device);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) call();
  wait(device);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return elapsed.count() * 1e3 / repeats;
}

// ms of variants of `sum += scale x^T x`, of which the lower triangle is wanted.
nlohmann::json product_times(at::Device device, std::int64_t n, std::int64_t tokens) {
  const auto options = at::TensorOptions().device(device);
  const at::Tensor x = at::randn({tokens, n}, options).to(at::kBFloat16);
  const at::Tensor scale = at::full({1}, 0.5F, options);
  const at::Tensor one = at::ones({1}, options);
  at::Tensor sum = at::zeros({n, n}, options);
  const auto time = [&](const auto& call) { return milliseconds(device, 20, call); };
  nlohmann::json result = {{"width", n}, {"tokens", tokens}};
  result["mm to fp32, then add"] =
      time([&] { sum.add_(at::mm(x.t(), x, at::kFloat).mul_(scale)); });
  for (const std::int64_t width : {n, n / 2, n / 4, std::int64_t{1024}, std::int64_t{1536},
                                   std::int64_t{2048}, std::int64_t{2560}, std::int64_t{3072}}) {
    result["panels of " + std::to_string(width)] = time([&] {
      for (std::int64_t begin = 0; begin < n; begin += width) {
        corda::linalg::cuda::add_scaled_gram_panel(sum, x, scale, one, begin,
                                                   std::min(width, n - begin));
      }
    });
  }
  result["as calibration does"] = time([&] { corda::linalg::add_scaled_gram(sum, x, scale); });
  return result;
}

// ms of the ways between a covariance on the device and its packed triangle in host memory.
nlohmann::json pack_times(at::Device device, std::int64_t n) {
  const at::Tensor x = at::randn({n, 64}, at::TensorOptions().device(device));
  const at::Tensor full = at::mm(x, x.t());
  const at::Tensor mask = at::ones({n, n}, full.options().dtype(at::kBool)).tril();
  at::Tensor target = at::zeros_like(full);
  const auto pinned = at::TensorOptions().dtype(at::kFloat).pinned_memory(device.is_cuda());
  at::Tensor host = at::empty({n, n}, pinned);
  at::Tensor triangle = at::empty({n * (n + 1) / 2}, pinned);
  at::Tensor stored = corda::kernels::pack_lower(full);  // as a mapped file holds it
  const auto time = [&](const auto& call) { return milliseconds(device, 5, call); };
  // Copies rows [begin, end) between the triangle and a row-major square.
  const auto rows = [&](std::int64_t threads, float* square, float* packed, bool pack) {
    corda::core::parallel_for(n, threads, (n + 15) / 16, [&](std::int64_t row) {
      float* line = square + row * n;
      float* part = packed + row * (row + 1) / 2;
      std::copy_n(pack ? line : part, row + 1, pack ? part : line);
    });
  };
  nlohmann::json result = {{"width", n}};
  for (const std::int64_t threads : {1, 4, 8}) {
    const std::string by = " by " + std::to_string(threads) + " CPU threads";
    result["pack" + by + ", square copied"] = time([&] {
      host.copy_(full);
      rows(threads, host.data_ptr<float>(), stored.data_ptr<float>(), true);
    });
    result["unpack" + by + ", square copied"] = time([&] {
      rows(threads, host.data_ptr<float>(), stored.data_ptr<float>(), false);
      target.copy_(host);
      corda::linalg::mirror_lower(target);
    });
  }
  result["pack by the device, triangle copied"] =
      time([&] { triangle.copy_(corda::kernels::pack_lower(full)); });
  result["unpack by the device, triangle copied"] = time([&] {
    std::copy_n(stored.const_data_ptr<float>(), stored.numel(), triangle.data_ptr<float>());
    target.masked_scatter_(mask, triangle.to(device, /*non_blocking=*/true));
    corda::linalg::mirror_lower(target);
  });
  if (!target.equal(full)) throw std::runtime_error("the device's unpacking is wrong");
  result["square copied to the host, nothing else"] = time([&] { host.copy_(full); });
  result["triangle copied to the host, nothing else"] =
      time([&] { triangle.copy_(target.view({-1}).narrow(0, 0, triangle.numel())); });
  result["mirrored on the device, nothing else"] =
      time([&] { corda::linalg::mirror_lower(target); });
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const bool product = argc == 5 && std::string(argv[2]) == "product";
  const bool pack = argc == 4 && std::string(argv[2]) == "pack";
  if (!product && !pack && argc < 10) {
    std::fprintf(stderr,
                 "usage: decompose_bench DEVICE MODE SPECTRUM HIDDEN INNER KV BLOCKS CHECKED RANK "
                 "[exact] [phases]\n"
                 "       decompose_bench DEVICE product WIDTH TOKENS\n"
                 "       decompose_bench DEVICE pack WIDTH\n");
    return 2;
  }
  try {
    const at::NoGradGuard no_grad;
    at::manual_seed(1);
    const auto number = [&](int i) { return std::stoll(argv[i]); };
    const auto given = [&](const std::string& word) {
      return std::any_of(argv + 10, argv + argc, [&](const char* text) { return word == text; });
    };
    if (product) {
      const auto times = product_times(corda::linalg::device_of(argv[1]), number(3), number(4));
      std::printf("%s\n", times.dump().c_str());
      return 0;
    }
    if (pack) {
      const auto times = pack_times(corda::linalg::device_of(argv[1]), number(3));
      std::printf("%s\n", times.dump().c_str());
      return 0;
    }
    const Arguments arguments = {.device = corda::linalg::device_of(argv[1]),
                                 .mode = argv[2],
                                 .spectrum = argv[3],
                                 .hidden = number(4),
                                 .inner = number(5),
                                 .kv = number(6),
                                 .blocks = number(7),
                                 .checked = number(8),
                                 .rank = number(9),
                                 .exact = given("exact"),
                                 .phases = given("phases")};
    std::printf("%s\n", Bench(arguments).run().dump().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "decompose_bench: %s\n", error.what());
    return 1;
  }
}
