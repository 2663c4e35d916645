// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "self_test.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <functional>

#include "corda/core/text.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/glu.h"
#include "corda/kernels/rms_norm.h"
#include "corda/linalg/spectrum.h"
#include "corda/model/attention_pass.h"
#include "model/attention_kernels.h"

namespace corda::tools {

namespace {

constexpr std::int64_t kRows = 512;
constexpr std::int64_t kColumns = 1024;
constexpr std::uint64_t kSeed = 42;

// bf16 keeps 8 bits; a result is rounded once, and what it is made of was the same.
constexpr double kRoundedOnce = 1.0 / 128;
// Sums of products of 16-bit numbers, in another order and rounded in between.
constexpr double kRoundedOften = 1.0 / 32;
constexpr double kFp32 = 1e-4;

struct Backend {
  at::Device device;
  at::Generator generator;
  std::vector<Check> checks = {};

  at::Tensor random(at::IntArrayRef shape) {
    return at::randn(shape, generator, at::TensorOptions().dtype(at::kFloat));
  }
  bool is_gpu() const { return device.is_cuda(); }

  // Compares what `compute` gives on the device with what is `expected`; `reference` names that.
  void add(const std::string& name, const std::string& reference, double limit,
           const std::function<at::Tensor()>& compute,
           const std::function<at::Tensor()>& expected) {
    Check check{.name = name, .reference = reference, .limit = limit};
    const auto begin = std::chrono::steady_clock::now();
    try {
      const at::Tensor want = expected().to(at::kCPU, at::kDouble);
      const at::Tensor have = compute().to(at::kCPU, at::kDouble);
      check.error = (have - want).abs().max().item<double>() /
                    std::max(want.abs().max().item<double>(), 1e-300);
      if (!(check.error >= 0)) check.failure = "the result is not a number";
    } catch (const std::exception& error) {
      check.failure = core::first_line(error.what());
    }
    check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    checks.push_back(std::move(check));
  }
};

void check_norm(Backend& backend, at::ScalarType type) {
  const at::Tensor x = backend.random({kRows, kColumns}).to(type);
  const at::Tensor weight = backend.random({kColumns}).to(type);
  const auto on = [&](at::Device device) {
    const at::Tensor input = x.to(device);
    const at::Tensor out = at::empty_like(input);
    kernels::rms_norm(out, at::empty({kRows}, input.options().dtype(at::kFloat)), input,
                      weight.to(device), 1e-6);
    return out;
  };
  backend.add(
      "rms norm", "written out in fp64", type == at::kFloat ? kFp32 : kRoundedOnce,
      [&] { return on(backend.device); },
      [&] {
        const at::Tensor wide = x.to(at::kDouble);
        return wide * (wide.square().mean(-1, true) + 1e-6).rsqrt() * weight.to(at::kDouble);
      });
}

void check_glu(Backend& backend, at::ScalarType type) {
  const at::Tensor gate = backend.random({kRows, kColumns}).to(type);
  const at::Tensor up = backend.random({kRows, kColumns}).to(type);
  backend.add(
      "gated activation", "written out in fp64", type == at::kFloat ? kFp32 : kRoundedOnce,
      [&] {
        const at::Tensor out = at::empty_like(gate, gate.options().device(backend.device));
        kernels::glu(out, gate.to(backend.device), up.to(backend.device),
                     kernels::Activation::kSilu);
        return out;
      },
      [&] { return at::silu(gate.to(at::kDouble)) * up.to(at::kDouble); });
}

void check_cross_entropy(Backend& backend, at::ScalarType type) {
  const at::Tensor logits = backend.random({kRows, kColumns}).to(type);
  const at::Tensor targets =
      at::randint(kColumns, {kRows}, backend.generator, at::TensorOptions().dtype(at::kLong));
  backend.add(
      "cross-entropy and its gradient", "written out in fp64",
      type == at::kFloat ? kFp32 : kRoundedOnce,
      [&] {
        const at::Tensor inner = logits.to(backend.device, type, false, /*copy=*/true);
        const at::Tensor loss = at::empty({kRows}, inner.options().dtype(at::kFloat));
        kernels::cross_entropy(loss, inner, targets.to(backend.device),
                               at::ones({}, loss.options()));
        return at::cat({inner.flatten().to(at::kFloat), loss});
      },
      [&] {
        const at::Tensor wide = logits.to(at::kDouble);
        const at::Tensor loss =
            wide.logsumexp(-1) - wide.gather(1, targets.unsqueeze(1)).squeeze(1);
        const at::Tensor gradient = wide.softmax(-1) - at::one_hot(targets, kColumns);
        return at::cat({gradient.flatten(), loss});
      });
}

void check_product(Backend& backend, at::ScalarType type) {
  const at::Tensor a = backend.random({kRows, kColumns}).to(type);
  const at::Tensor b = backend.random({kColumns, kRows}).to(type);
  backend.add(
      "matrix product", "in fp64", type == at::kFloat ? kFp32 : kRoundedOften,
      [&] { return at::mm(a.to(backend.device), b.to(backend.device)); },
      [&] { return at::mm(a.to(at::kDouble), b.to(at::kDouble)); });
}

const char* name_of(model::AttentionPass::Route route) {
  switch (route) {
    case model::AttentionPass::Route::kCudnn:
      return "cuDNN's attention";
    case model::AttentionPass::Route::kFlash:
      return "flash attention";
    case model::AttentionPass::Route::kAutograd:
      break;
  }
  return "attention";
}

// Sequences laid end to end, by the route that they take on the device.
void check_attention(Backend& backend, at::ScalarType type, const std::vector<std::int32_t>& ends) {
  constexpr std::int64_t kHeads = 8;
  constexpr std::int64_t kKeyHeads = 2;
  constexpr std::int64_t kHeadDim = 64;
  const auto tokens = static_cast<std::int64_t>(ends.back());
  const at::Tensor q = backend.random({tokens, kHeads, kHeadDim}).to(type);
  const at::Tensor k = backend.random({tokens, kKeyHeads, kHeadDim}).to(type);
  const at::Tensor v = backend.random({tokens, kKeyHeads, kHeadDim}).to(type);
  const model::AttentionRule rule{.scale = 0.125};
  std::string route = "attention";
  backend.add(
      route, "scores written out in fp32", type == at::kFloat ? kFp32 : kRoundedOften,
      [&] {
        const std::vector<std::int32_t> ids(ends.back(), 0);
        const model::Batch batch = model::make_batch(ids, ids, ends, 1, backend.device);
        const model::AttentionPass pass = model::attention_forward(
            batch, rule, q.to(backend.device), k.to(backend.device), v.to(backend.device));
        route = name_of(pass.route);
        return pass.out;
      },
      [&] {
        std::vector<at::Tensor> rows;
        for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
          const std::int64_t count = ends[i + 1] - ends[i];
          const auto part = [&](const at::Tensor& x) {
            return x.narrow(0, ends[i], count).to(at::kFloat).transpose(0, 1);
          };
          const at::Tensor seen = at::ones({count, count}, at::kBool).tril();
          rows.push_back(
              model::attend_written_out(part(q), part(k), part(v), seen, rule).transpose(0, 1));
        }
        return at::cat(rows);
      });
  backend.checks.back().name = route;
}

// A matrix whose singular values are 1, 2, ... n in a random basis.
void check_solver(Backend& backend, linalg::Which which) {
  constexpr std::int64_t n = 160;
  constexpr std::int64_t r = 8;
  const auto basis = [&] {
    return std::get<0>(at::linalg_qr(backend.random({n, n}).to(at::kDouble)));
  };
  const at::Tensor values = at::arange(1, n + 1, at::kDouble);
  const at::Tensor weight = at::mm(basis() * values, basis());
  const bool smallest = which == linalg::Which::kSmallest;
  backend.add(
      smallest ? "smallest singular values, fp64" : "largest singular values, fp64", "known", 1e-9,
      [&] {
        const auto options = at::TensorOptions().device(backend.device).dtype(at::kDouble);
        return linalg::left_singular_subspace(weight.to(backend.device), at::eye(n, options), r,
                                              which)
            .values;
      },
      [&] { return smallest ? values.narrow(0, 0, r) : values.narrow(0, n - r, r).flip(0); });
}

}  // namespace

std::vector<Check> self_test(c10::Device device) {
  const at::NoGradGuard no_grad;
  Backend backend{.device = device, .generator = at::detail::createCPUGenerator(kSeed)};
  const at::ScalarType type = device.is_cuda() ? at::kBFloat16 : at::kFloat;
  check_product(backend, type);
  check_norm(backend, type);
  check_glu(backend, type);
  check_cross_entropy(backend, type);
  check_attention(backend, type, {0, 100, 101, 300});
  check_attention(backend, type, {0, 128, 256});
  check_solver(backend, linalg::Which::kSmallest);
  check_solver(backend, linalg::Which::kLargest);
  return backend.checks;
}

}  // namespace corda::tools
