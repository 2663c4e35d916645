// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_site.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"
#include "corda/kernels/gemm.h"
#include "train/round_up.h"

namespace corda::train {

namespace {

constexpr std::int64_t kRankStep = 8;

std::int64_t padded(std::int64_t rank) { return round_up(rank, kRankStep); }

}  // namespace

LowRankSite::LowRankSite(std::vector<model::Linear*> linears, const kernels::GemmPlans* plans)
    : plans_(plans) {
  in_ = linears.front()->weight.size(1);
  const at::TensorOptions options = linears.front()->weight.options().requires_grad(false);
  for (model::Linear* linear : linears) {
    Layer layer{.linear = linear, .row = out_, .column = rank_, .rank = 0, .grad_b = {}};
    if (linear->low_rank) {
      layer.rank = linear->low_rank->a.size(0);
      trains_a_ = trains_a_ || linear->low_rank->a.requires_grad();
    }
    out_ += linear->weight.size(0);
    rank_ += padded(layer.rank);
    layers_.push_back(std::move(layer));
  }
  packed_ = at::zeros({out_ + rank_, in_ + rank_}, options);
  if (rank_ > 0 && trains_a_) grad_a_ = at::zeros({rank_, in_}, options.dtype(at::kFloat));
  for (Layer& layer : layers_) {
    model::Linear& linear = *layer.linear;
    const at::Tensor home = packed_.narrow(0, layer.row, linear.weight.size(0)).narrow(1, 0, in_);
    home.copy_(linear.weight);
    linear.weight = home;
    if (layer.rank > 0)
      layer.grad_b = at::zeros({home.size(0), layer.rank}, options.dtype(at::kFloat));
  }
}

void LowRankSite::add_refresh(kernels::WindowCopies& copies) const {
  for (const Layer& layer : layers_) {
    if (layer.rank == 0) continue;
    const model::LowRank& low_rank = *layer.linear->low_rank;
    copies.add(low_rank.a.detach(),
               packed_.narrow(0, out_ + layer.column, layer.rank).narrow(1, 0, in_), 1);
    copies.add(
        low_rank.b.detach(),
        packed_.narrow(0, layer.row, low_rank.b.size(0)).narrow(1, in_ + layer.column, layer.rank),
        low_rank.scale);
  }
}

void LowRankSite::begin_step() {
  fresh_ = true;
  for (Layer& layer : layers_) {
    if (layer.rank == 0) continue;
    model::LowRank& low_rank = *layer.linear->low_rank;
    if (low_rank.a.requires_grad())
      low_rank.a.mutable_grad() = grad_a_.narrow(0, layer.column, layer.rank);
    if (low_rank.b.requires_grad()) low_rank.b.mutable_grad() = layer.grad_b;
  }
}

at::Tensor LowRankSite::factor_a() const {
  return packed_.narrow(0, out_, rank_).narrow(1, 0, in_);
}

void LowRankSite::add_bias(const at::Tensor& y) const {
  for (const Layer& layer : layers_) {
    if (!layer.linear->bias.defined()) continue;
    y.narrow(1, layer.row, layer.linear->bias.size(0)).add_(layer.linear->bias);
  }
}

void LowRankSite::fill_bottom(const at::Tensor& x, const at::Tensor& bottom) const {
  if (rank_ == 0) return;
  const at::Tensor given = x.narrow(1, 0, in_);
  const at::Tensor h = x.narrow(1, in_, rank_);
  kernels::gemm(h, given, factor_a().t(), {.plans = plans_});
  bottom.copy_(h);
}

void LowRankSite::forward(const at::Tensor& x, const at::Tensor& y,
                          const at::Tensor& bottom) const {
  fill_bottom(x, bottom);
  kernels::gemm(y, x, packed_.narrow(0, 0, out_).t(), {.plans = plans_});
  add_bias(y);
}

void LowRankSite::forward_add(const at::Tensor& x, const at::Tensor& y, const at::Tensor& bottom,
                              const at::Tensor& residual) const {
  fill_bottom(x, bottom);
  kernels::gemm_add(y, x, packed_.narrow(0, 0, out_).t(), residual, plans_);
  add_bias(y);
}

void LowRankSite::forward_add_apart(const at::Tensor& x, const at::Tensor& y,
                                    const at::Tensor& bottom, const at::Tensor& residual) const {
  const at::Tensor top = packed_.narrow(0, 0, out_);
  kernels::gemm_add(y, x, top.narrow(1, 0, in_).t(), residual, plans_);
  if (rank_ > 0) {
    kernels::gemm(bottom, x, factor_a().t(), {.plans = plans_});
    kernels::gemm(y, bottom, top.narrow(1, in_, rank_).t(), {.beta = 1, .plans = plans_});
  }
  add_bias(y);
}

void LowRankSite::backward(const at::Tensor& grad, const at::Tensor& bottom, const at::Tensor& dx) {
  const double kept = fresh_ ? 0 : 1;
  for (Layer& layer : layers_) {
    if (layer.rank == 0) continue;
    const std::int64_t rows = layer.linear->weight.size(0);
    const std::int64_t room = padded(layer.rank);
    const at::Tensor dy = grad.narrow(1, layer.row, rows);
    const at::Tensor scaled_b =
        packed_.narrow(0, layer.row, rows).narrow(1, in_ + layer.column, room);
    kernels::gemm(grad.narrow(1, out_ + layer.column, room), dy, scaled_b, {.plans = plans_});
    kernels::gemm(layer.grad_b, dy.t(), bottom.narrow(1, layer.column, layer.rank),
                  {.alpha = layer.linear->low_rank->scale, .beta = kept, .plans = plans_});
  }
  if (dx.defined()) kernels::gemm(dx, grad, packed_.narrow(1, 0, in_), {.plans = plans_});
}

void LowRankSite::backward_a(const at::Tensor& grad, const at::Tensor& x) {
  if (rank_ == 0 || !trains_a_) return;
  kernels::gemm(grad_a_, grad.narrow(1, out_, rank_).t(), x,
                {.beta = fresh_ ? 0.0 : 1.0, .plans = plans_});
}

}  // namespace corda::train
