// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_site.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"
#include "corda/kernels/copy_rows.h"
#include "corda/kernels/gemm.h"
#include "core/round_up.h"

namespace corda::train {

namespace {

constexpr std::int64_t kRankStep = 8;

// A gradient begins at a multiple of so many elements (256 bytes), from where products read and
// write fp32 at full speed.
constexpr std::int64_t kGradientStep = 64;

std::int64_t gradient_room(std::int64_t elements) {
  return core::round_up(elements, kGradientStep);
}

std::int64_t padded(std::int64_t rank) { return core::round_up(rank, kRankStep); }

// Whether a layer that follows `part` has its A, and so its columns of h.
bool shares(const SitePart& part, const std::optional<model::LowRank>& low_rank) {
  return part.a.defined() && low_rank && part.a.is_same(low_rank->a) &&
         part.scale == low_rank->scale;
}

// Throws where two layers train one A, since a tensor has one place for its gradient.
void check_trained_a_once(const std::vector<model::Linear*>& linears) {
  std::vector<at::Tensor> seen;
  for (const model::Linear* linear : linears) {
    if (!linear->low_rank || !linear->low_rank->a.requires_grad()) continue;
    const at::Tensor& a = linear->low_rank->a;
    if (std::ranges::any_of(seen, [&](const at::Tensor& other) { return other.is_same(a); }))
      throw core::InternalError(
          core::concat("[train::LowRankSite] '", linear->name, "' trains the A of another layer"));
    seen.push_back(a);
  }
}

}  // namespace

namespace {

template <typename AnyLinear, typename Site>
std::vector<AnyLinear*> pointers_to(Site& site) {
  std::vector<AnyLinear*> linears;
  for (auto& linear : site) linears.push_back(&linear);
  return linears;
}

}  // namespace

std::vector<model::Linear*> linears_of(std::vector<model::Linear>& site) {
  return pointers_to<model::Linear>(site);
}

std::vector<const model::Linear*> linears_of(const std::vector<model::Linear>& site) {
  return pointers_to<const model::Linear>(site);
}

SiteLayout layout_of(const std::vector<const model::Linear*>& linears) {
  SiteLayout layout;
  for (const model::Linear* linear : linears) {
    if (layout.parts.empty() || !shares(layout.parts.back(), linear->low_rank)) {
      SitePart part{.a = {}, .row = layout.out, .column = layout.rank};
      if (linear->low_rank) {
        part.a = linear->low_rank->a;
        part.scale = linear->low_rank->scale;
        part.rank = part.a.size(0);
        layout.trains_a = layout.trains_a || (part.rank > 0 && part.a.requires_grad());
      }
      layout.rank += padded(part.rank);
      layout.parts.push_back(std::move(part));
    }
    if (linear->low_rank && linear->low_rank->b.requires_grad())
      layout.parts.back().trains_b = true;
    layout.part_of.push_back(layout.parts.size() - 1);
    layout.parts.back().rows += linear->weight.size(0);
    layout.out += linear->weight.size(0);
  }
  return layout;
}

std::int64_t gradient_elements(const SiteLayout& layout, std::int64_t in) {
  std::int64_t elements = layout.trains_a ? gradient_room(layout.rank * in) : 0;
  for (const SitePart& part : layout.parts)
    if (part.trains_b) elements += gradient_room(part.rows * part.rank);
  return elements;
}

std::int64_t SiteScratch::elements_of(const std::vector<const model::Linear*>& linears,
                                      const SiteLayout& layout) {
  if (std::ranges::none_of(linears, [](const model::Linear* l) { return l->packed != nullptr; }))
    return 0;
  return (layout.out + layout.rank) * (linears.front()->weight.size(1) + layout.rank);
}

at::Tensor SiteScratch::matrix(std::int64_t rows, std::int64_t columns, at::TensorOptions options) {
  if (!memory_.defined() || memory_.numel() < rows * columns)
    memory_ = at::empty({rows * columns}, options);
  return memory_.narrow(0, 0, rows * columns).view({rows, columns});
}

LowRankSite::LowRankSite(std::vector<model::Linear*> linears, const kernels::GemmPlans* plans,
                         SiteScratch* scratch)
    : plans_(plans),
      layout_(layout_of({linears.begin(), linears.end()})),
      own_scratch_(scratch == nullptr ? std::make_unique<SiteScratch>() : nullptr),
      scratch_(scratch == nullptr ? own_scratch_.get() : scratch) {
  check_trained_a_once(linears);
  in_ = linears.front()->weight.size(1);
  const at::TensorOptions options =
      linears.front()->weight.options().device(linears.front()->device()).requires_grad(false);
  std::int64_t row = 0;
  for (model::Linear* linear : linears) {
    layers_.push_back({.linear = linear, .row = row, .grad_b = {}});
    row += linear->weight.size(0);
  }
  const bool in_float8 = scratch_->in_float8() && Float8Weight::suits(layout_.out, in_);
  if (!in_float8 && SiteScratch::elements_of({linears.begin(), linears.end()}, layout_) == 0) {
    packed_ = at::zeros({layout_.out + layout_.rank, in_ + layout_.rank}, options);
    hold_resident();
    return;
  }
  a_ = at::zeros({layout_.rank, in_}, options);
  d_ = at::zeros({layout_.out, layout_.rank}, options);
  if (in_float8) float8_.emplace(linears, scratch_->float8());
}

void LowRankSite::hold_resident() {
  for (const Layer& layer : layers_) {
    at::Tensor& weight = layer.linear->weight;
    const at::Tensor home = packed_.narrow(0, layer.row, weight.size(0)).narrow(1, 0, in_);
    home.copy_(weight);
    weight = home;
  }
}

void LowRankSite::place_gradients(const at::Tensor& flat) {
  std::int64_t begin = 0;
  const auto take = [&](std::int64_t rows, std::int64_t columns) {
    const at::Tensor taken = flat.narrow(0, begin, rows * columns).view({rows, columns});
    begin += gradient_room(rows * columns);
    return taken;
  };
  grad_b_.clear();
  for (const SitePart& part : layout_.parts)
    grad_b_.push_back(part.trains_b ? take(part.rows, part.rank) : at::Tensor());
  if (trains_a()) grad_a_ = take(layout_.rank, in_);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::size_t part = layout_.part_of[i];
    if (!grad_b_[part].defined()) continue;
    layers_[i].grad_b = grad_b_[part].narrow(0, layers_[i].row - layout_.parts[part].row,
                                             layers_[i].linear->weight.size(0));
  }
}

void LowRankSite::add_refresh(kernels::WindowCopies& copies) const {
  for (const SitePart& part : layout_.parts) {
    if (part.rank == 0) continue;
    copies.add(part.a.detach(), factor_a().narrow(0, part.column, part.rank), 1);
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const SitePart& part = layout_.parts[layout_.part_of[i]];
    if (part.rank == 0) continue;
    const at::Tensor& b = layers_[i].linear->low_rank->b;
    copies.add(b.detach(),
               factor_d().narrow(0, layers_[i].row, b.size(0)).narrow(1, part.column, part.rank),
               part.scale);
  }
}

void LowRankSite::begin_step() {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const SitePart& part = layout_.parts[layout_.part_of[i]];
    if (part.rank == 0) continue;
    model::LowRank& low_rank = *layers_[i].linear->low_rank;
    if (low_rank.a.requires_grad())
      low_rank.a.mutable_grad() = grad_a_.narrow(0, part.column, part.rank);
    if (low_rank.b.requires_grad()) low_rank.b.mutable_grad() = layers_[i].grad_b;
  }
}

at::Tensor LowRankSite::factor_a() const {
  return is_resident() ? packed_.narrow(0, layout_.out, layout_.rank).narrow(1, 0, in_) : a_;
}

at::Tensor LowRankSite::factor_d() const {
  return is_resident() ? packed_.narrow(0, 0, layout_.out).narrow(1, in_, layout_.rank) : d_;
}

at::Tensor LowRankSite::made_weights() const {
  const at::Tensor made =
      scratch_->matrix(layout_.out + layout_.rank, in_ + layout_.rank, a_.options());
  for (const Layer& layer : layers_) {
    model::write_weight(*layer.linear,
                        made.narrow(0, layer.row, layer.linear->weight.size(0)).narrow(1, 0, in_));
  }
  return made;
}

at::Tensor LowRankSite::weights_and_d() const {
  const at::Tensor whole = is_resident() ? packed_ : made_weights();
  const at::Tensor rows = whole.narrow(0, 0, layout_.out);
  if (!is_resident() && layout_.rank > 0) kernels::copy_rows(rows.narrow(1, in_, layout_.rank), d_);
  return rows;
}

at::Tensor LowRankSite::weights_and_a() const {
  const at::Tensor whole = is_resident() ? packed_ : made_weights();
  const at::Tensor columns = whole.narrow(1, 0, in_);
  if (!is_resident() && layout_.rank > 0)
    kernels::copy_rows(columns.narrow(0, layout_.out, layout_.rank), a_);
  return columns;
}

at::Tensor LowRankSite::scaled_b(const SitePart& part) const {
  return factor_d().narrow(0, part.row, part.rows).narrow(1, part.column, padded(part.rank));
}

void LowRankSite::add_bias(const at::Tensor& y, double scale) const {
  for (const Layer& layer : layers_) {
    if (!layer.linear->bias.defined()) continue;
    y.narrow(1, layer.row, layer.linear->bias.size(0)).add_(layer.linear->bias, scale);
  }
}

void LowRankSite::fill_bottom(const at::Tensor& x, const at::Tensor& bottom) const {
  if (layout_.rank == 0) return;
  const at::Tensor given = x.narrow(1, 0, in_);
  const at::Tensor h = x.narrow(1, in_, layout_.rank);
  kernels::gemm(h, given, factor_a().t(), {.plans = plans_});
  bottom.copy_(h);
}

void LowRankSite::forward(const at::Tensor& x, const at::Tensor& y, const at::Tensor& bottom,
                          const at::Tensor& added, double scale) const {
  const kernels::GemmOptions options{.alpha = scale, .plans = plans_};
  if (float8_) {
    const at::Tensor given = x.narrow(1, 0, in_);
    float8_->multiply(y, given, added, scale);
    if (layout_.rank > 0) kernels::gemm(bottom, given, factor_a().t(), {.plans = plans_});
    for (const SitePart& part : layout_.parts) {  // D is zero beside them
      if (part.rank == 0) continue;
      kernels::gemm(y.narrow(1, part.row, part.rows),
                    bottom.narrow(1, part.column, padded(part.rank)), scaled_b(part).t(),
                    {.alpha = scale, .beta = 1, .plans = plans_});
    }
    return add_bias(y, scale);
  }
  const auto multiply = [&](const at::Tensor& left, const at::Tensor& right) {
    if (added.defined()) return kernels::gemm_add(y, left, right, added, options);
    kernels::gemm(y, left, right, options);
  };
  const at::Tensor top = weights_and_d();
  if (x.size(1) == in_ + layout_.rank) {
    fill_bottom(x, bottom);
    multiply(x, top.t());
  } else {
    multiply(x, top.narrow(1, 0, in_).t());
    kernels::gemm(bottom, x, factor_a().t(), {.plans = plans_});
    kernels::gemm(y, bottom, top.narrow(1, in_, layout_.rank).t(),
                  {.alpha = scale, .beta = 1, .plans = plans_});
  }
  add_bias(y, scale);
}

void LowRankSite::fill_columns(const at::Tensor& grad) const {
  // On a GPU as many columns as a tile of a product has cost what the fewest do, so that one
  // product with D's zeros takes less time than one for each part.
  constexpr std::int64_t kTile = 128;
  const auto adapted =
      std::ranges::count_if(layout_.parts, [](const SitePart& part) { return part.rank > 0; });
  if (grad.is_cuda() && adapted > 1 && layout_.rank <= kTile) {
    kernels::gemm(grad.narrow(1, layout_.out, layout_.rank), grad.narrow(1, 0, layout_.out),
                  factor_d(), {.plans = plans_});
    return;
  }
  for (const SitePart& part : layout_.parts) {
    if (part.rank == 0) continue;
    kernels::gemm(grad.narrow(1, layout_.out + part.column, padded(part.rank)),
                  grad.narrow(1, part.row, part.rows), scaled_b(part), {.plans = plans_});
  }
}

void LowRankSite::backward(const at::Tensor& grad, const at::Tensor& bottom, const at::Tensor& dx,
                           bool adds, double scale) {
  fill_columns(grad);
  if (std::ranges::any_of(layout_.parts, &SitePart::trains_b))
    do_beside([&] { multiply_grad_b(grad, bottom, adds, scale); });
  if (!dx.defined()) return;
  kernels::GemmOptions options{.alpha = scale, .plans = plans_};
  if (!float8_) return kernels::gemm(dx, grad, weights_and_a(), options);
  float8_->multiply_back(dx, grad.narrow(1, 0, layout_.out), scale);
  options.beta = 1;
  if (layout_.rank > 0)
    kernels::gemm(dx, grad.narrow(1, layout_.out, layout_.rank), factor_a(), options);
}

void LowRankSite::backward_a(const at::Tensor& grad, const at::Tensor& x, bool adds, double scale) {
  if (!trains_a()) return;
  do_beside([&] {
    kernels::gemm(grad_a_, grad.narrow(1, layout_.out, layout_.rank).t(), x,
                  {.alpha = scale, .beta = adds ? 1.0 : 0.0, .plans = plans_});
  });
}

void LowRankSite::multiply_grad_b(const at::Tensor& grad, const at::Tensor& bottom, bool adds,
                                  double scale) {
  for (std::size_t i = 0; i < layout_.parts.size(); ++i) {
    const SitePart& part = layout_.parts[i];
    if (!part.trains_b || part.rank == 0) continue;
    kernels::gemm(grad_b_[i], grad.narrow(1, part.row, part.rows).t(),
                  bottom.narrow(1, part.column, part.rank),
                  {.alpha = scale * part.scale, .beta = adds ? 1.0 : 0.0, .plans = plans_});
  }
}

void LowRankSite::do_beside(const std::function<void()>& work) {
  scratch_->side_work().run(layers_.front().linear->device(), work);
  if (own_scratch_) scratch_->side_work().join();
}

}  // namespace corda::train
