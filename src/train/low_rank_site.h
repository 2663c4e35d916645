// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Linear layers that share an input, with their adapters, laid out so that one matrix product does
// the frozen and the low-rank part together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "corda/kernels/gemm_plans.h"
#include "corda/kernels/window_copies.h"
#include "corda/model/model.h"
#include "train/float8_weight.h"
#include "train/side_work.h"

namespace corda::train {

// Neighbouring layers of a site that share their columns of h: one layer, or several that hold one
// tensor as their frozen A.
struct SitePart {
  at::Tensor a;             // the A of all its layers, as in model::LowRank; undefined: no adapter
  double scale = 1;         // the scale of all its layers
  std::int64_t row = 0;     // where its rows of packed begin, and its columns of y
  std::int64_t rows = 0;    // how many rows its layers have together
  std::int64_t column = 0;  // where its columns of h begin
  std::int64_t rank = 0;    // the adapter's own rank, without padding; 0: no adapter
  bool trains_b = false;    // any B is trained; then there is a gradient [rows, rank]
};

// How a site is laid out.
struct SiteLayout {
  std::vector<SitePart> parts;
  std::vector<std::size_t> part_of;  // the part that each layer belongs to
  std::int64_t out = 0;
  std::int64_t rank = 0;  // the columns of h
  bool trains_a = false;  // any A is trained; then there is one gradient [rank, in] of all
};
SiteLayout layout_of(const std::vector<const model::Linear*>& linears);
// How many elements the gradients of the factors of such a site with inputs [tokens, in] take.
std::int64_t gradient_elements(const SiteLayout& layout, std::int64_t in);

// Pointers to the layers of a site.
std::vector<model::Linear*> linears_of(std::vector<model::Linear>& site);
std::vector<const model::Linear*> linears_of(const std::vector<model::Linear>& site);

// What sites share: memory for one of them at a time, how they multiply by frozen weights, and what
// they do beside that.
class SiteScratch {
 public:
  explicit SiteScratch(bool in_float8 = false) : in_float8_(in_float8) {}

  // Whether products with frozen weights are done in float8, where their sizes suit tensor cores.
  bool in_float8() const { return in_float8_; }

  // Elements of the packed matrix of a site whose weights are held in codes; 0 where they are
  // resident.
  static std::int64_t elements_of(const std::vector<const model::Linear*>& linears,
                                  const SiteLayout& layout);

  // A [rows, columns] whose content is that of the last use. Grows where it must.
  at::Tensor matrix(std::int64_t rows, std::int64_t columns, at::TensorOptions options);
  Float8Scratch& float8() { return float8_; }
  // Where the gradients of factors are computed.
  SideWork& side_work() { return side_work_; }

 private:
  bool in_float8_;
  at::Tensor memory_;
  Float8Scratch float8_;
  SideWork side_work_;
};

// Layers y_i = x (W_i + s_i B_i A_i)^T + bias_i of one input x [tokens, in]. With the y_i side by
// side in y [tokens, out], and h = x [A_1; A_2; ...]^T [tokens, rank], everything is in one matrix
//
//   packed = [ W  D ]   W = [W_1; W_2; ...] [out, in], D block-diagonal of s_i B_i [out, rank]
//            [ A  . ]   A = [A_1; A_2; ...] [rank, in]
//
// and [x | h] [W | D]^T = y and [dy | dy D] [W; A] = dx are one product each: no pass over memory
// adds the low-rank part. Each rank is rounded up to a multiple of 8 with zeros, as tensor cores
// want. Where a buffer "[n | rank]" is asked for, its first n columns are given and the last rank
// columns are filled in here. Adjacent layers that hold one tensor as their frozen A (all of a site
// in mode dual) stand for one layer with one block of D: h is computed once for them.
class LowRankSite {
 public:
  // Moves the layers' weights into the packed matrix; their `weight` becomes a view of it. Layers
  // without an adapter have rank 0. All weights have one dtype, that of the activations; a trained
  // A belongs to one layer. `plans` for the products may be null, or must outlive the site.
  //
  // `scratch` must outlive the site; null: one of its own, and each call waits for its gradients.
  // Where a layer holds its weight in codes, the packed matrix is not kept: it is made there
  // whenever W is needed, in the forward and again in the backward.
  //
  // With `scratch->in_float8()` the weights become float8 (float8_weight.h), and the low-rank part
  // is a product of its own in the dtype of the activations.
  LowRankSite(std::vector<model::Linear*> linears, const kernels::GemmPlans* plans,
              SiteScratch* scratch = nullptr);

  std::int64_t in_features() const { return in_; }
  std::int64_t out_features() const { return layout_.out; }
  std::int64_t rank() const { return layout_.rank; }

  // Adds to `copies` what brings the factors, rounded and scaled, into the packed matrix. To be run
  // whenever they changed.
  void add_refresh(kernels::WindowCopies& copies) const;
  // To be called before the first backward of a step: points the factors' gradients at this site's
  // buffers.
  void begin_step();
  // The gradients of the factors are in `flat` [gradient_elements()], fp32 zeros, from now on. To
  // be called before the first step.
  std::int64_t gradient_elements() const { return train::gradient_elements(layout_, in_); }
  void place_gradients(const at::Tensor& flat);

  // x [tokens, in | rank] -> y [tokens, out] = added + scale (...), or scale (...) where `added`
  // [tokens, out] is undefined; h is kept in `bottom` [tokens, rank]. An x [tokens, in] without
  // room for h costs a second product.
  void forward(const at::Tensor& x, const at::Tensor& y, const at::Tensor& bottom,
               const at::Tensor& added = {}, double scale = 1) const;

  // From grad [tokens, out | rank], the gradient of scale y divided by scale: the gradients of
  // trained Bs, which are there after `wait_for_gradients`, and dx [tokens, in] unless undefined.
  // With `adds` the gradients of B are added to what is there, else that is lost.
  void backward(const at::Tensor& grad, const at::Tensor& bottom, const at::Tensor& dx, bool adds,
                double scale = 1);
  // The gradient of A likewise, from the `grad` that `backward` completed and the input x [tokens,
  // in].
  void backward_a(const at::Tensor& grad, const at::Tensor& x, bool adds, double scale = 1);
  // The stream waits for the gradients of factors of all sites that share the scratch. What they
  // are computed from (`grad`, `bottom`, x) may be overwritten behind it.
  void wait_for_gradients() { scratch_->side_work().join(); }
  // The same for those that were asked for before the last mark.
  void mark_gradients() { scratch_->side_work().mark(); }
  void wait_for_marked() { scratch_->side_work().join_marked(); }
  // Whether any A is trained, so that `backward_a` needs x.
  bool trains_a() const { return layout_.trains_a; }

 private:
  struct Layer {
    model::Linear* linear = nullptr;
    std::int64_t row = 0;  // where its rows of packed begin, and its columns of y
    at::Tensor grad_b;     // [out, rank], fp32, a view of its part's; undefined: B is not trained
  };

  bool is_resident() const { return packed_.defined(); }
  void hold_resident();
  // The packed matrix in the scratch with W alone in it, made of the codes.
  at::Tensor made_weights() const;
  // [W | D] [out, in + rank], for the forward, and [W; A] [out + rank, in], for the backward: views
  // of the packed matrix. Where that is not kept, each stands until any site asks for its own.
  at::Tensor weights_and_d() const;
  at::Tensor weights_and_a() const;
  at::Tensor factor_a() const;  // A [rank, in]
  at::Tensor factor_d() const;  // D [out, rank]
  // The columns of D that a part fills, and zeros up to the next part's: [its rows, padded rank].
  at::Tensor scaled_b(const SitePart& part) const;
  // Completes x [tokens, in | rank] with h, and copies h to `bottom`.
  void fill_bottom(const at::Tensor& x, const at::Tensor& bottom) const;
  void add_bias(const at::Tensor& y, double scale) const;
  // Completes grad [tokens, out | rank] with dy D.
  void fill_columns(const at::Tensor& grad) const;
  void multiply_grad_b(const at::Tensor& grad, const at::Tensor& bottom, bool adds, double scale);
  void do_beside(const std::function<void()>& work);

  const kernels::GemmPlans* plans_;
  SiteLayout layout_;
  std::unique_ptr<SiteScratch> own_scratch_;
  SiteScratch* scratch_;
  std::vector<Layer> layers_;
  std::vector<at::Tensor> grad_b_;  // [its rows, rank] of every part, fp32; undefined: no B trained
  at::Tensor packed_;               // [out + rank, in + rank] where the weights are resident
  at::Tensor a_, d_;                // A [rank, in] and D [out, rank] where they are not
  std::optional<Float8Weight> float8_;  // W where it is multiplied in float8
  at::Tensor grad_a_;                   // [rank, in], fp32
  std::int64_t in_ = 0;
};

}  // namespace corda::train
