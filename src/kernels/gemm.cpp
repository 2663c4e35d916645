// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/gemm.h"

#include <ATen/ATen.h>

#include <utility>

#include "corda/core/error.h"
#include "corda/kernels/gemm_plans.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/plan_table.h"
#include "kernels/plan_file.h"

namespace corda::kernels {

using core::concat;
using core::InternalError;

namespace {

// A window of a matrix that BLAS can read: one stride is 1, the other reaches past a row.
bool is_window(const at::Tensor& x) {
  const auto fits = [&](int rows, int columns) {
    return (x.size(columns) <= 1 || x.stride(columns) == 1) &&
           (x.size(rows) <= 1 || x.stride(rows) >= x.size(columns));
  };
  return x.dim() == 2 && (fits(0, 1) || fits(1, 0));
}

void check(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
  const bool shapes = d.dim() == 2 && a.dim() == 2 && b.dim() == 2 && d.size(0) == a.size(0) &&
                      d.size(1) == b.size(1) && a.size(1) == b.size(0) && c.sizes() == d.sizes();
  const auto rows = [](const at::Tensor& x) {
    return (x.size(1) <= 1 || x.stride(1) == 1) && (x.size(0) <= 1 || x.stride(0) >= x.size(1));
  };
  if (!shapes || !is_window(a) || !is_window(b) || !rows(d) || !rows(c)) {
    throw InternalError(
        concat("[kernels::gemm] expected [m, n] += [m, k] [k, n] with unit strides; ", "received ",
               d.sizes(), " strides ", d.strides(), ", ", a.sizes(), " strides ", a.strides(), ", ",
               b.sizes(), " strides ", b.strides()));
  }
  const bool types = (a.scalar_type() == at::kFloat || a.scalar_type() == at::kBFloat16) &&
                     b.scalar_type() == a.scalar_type() && c.scalar_type() == d.scalar_type() &&
                     (d.scalar_type() == a.scalar_type() || d.scalar_type() == at::kFloat);
  if (!types || b.device() != a.device() || d.device() != a.device() || c.device() != a.device()) {
    throw InternalError(
        concat("[kernels::gemm] expected operands of one dtype, fp32 or bf16, and a ",
               "result of it or fp32, on one device; received ", a.scalar_type(), " ", a.device(),
               ", ", b.scalar_type(), " ", b.device(), " and ", d.scalar_type(), " ", d.device()));
  }
}

void gemm_cpu(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
              double alpha, double beta) {
  at::Tensor product = at::mm(a.to(at::kFloat), b.to(at::kFloat));
  if (alpha != 1) product.mul_(alpha);
  if (beta != 0) product.add_(c.to(at::kFloat), beta);
  d.copy_(product);
}

void run(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
         const GemmOptions& options) {
  check(d, a, b, c);
  if (d.numel() == 0) return;
  if (!d.is_cuda() || a.size(1) == 0) return gemm_cpu(d, a, b, c, options.alpha, options.beta);
  cuda::gemm(d, a, b, c, static_cast<float>(options.alpha), static_cast<float>(options.beta),
             options.plans == nullptr ? nullptr : &options.plans->table());
}

}  // namespace

GemmPlans::GemmPlans(std::filesystem::path directory, bool tries)
    : table_(std::make_unique<cuda::PlanTable>(std::move(directory), tries)) {}
GemmPlans::~GemmPlans() = default;

std::set<std::int64_t> rows_kept(const std::filesystem::path& directory, at::Device gpu) {
  std::set<std::int64_t> rows;
  if (directory.empty() || !gpu.is_cuda()) return rows;
  for (const auto& [key, algorithm] : read_plans(directory, cuda::plans_made_for(gpu.index())))
    rows.insert(key.m);
  return rows;
}

void gemm(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b,
          const GemmOptions& options) {
  run(c, a, b, c, options);
}

void gemm_add(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b,
              const at::Tensor& added, const GemmOptions& options) {
  run(c, a, b, added, {.alpha = options.alpha, .beta = 1, .plans = options.plans});
}

}  // namespace corda::kernels
