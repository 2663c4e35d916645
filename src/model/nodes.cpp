// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/nodes.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/gemm.h"
#include "corda/kernels/glu.h"
#include "corda/kernels/rotary.h"
#include "corda/kernels/scale_columns.h"
#include "corda/model/attention_pass.h"

namespace corda::model {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using Tensors = torch::autograd::variable_list;

struct MasterProduct : Function<MasterProduct> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight) {
    const at::Tensor rounded = weight.to(x.scalar_type());
    context->save_for_backward({x, rounded});
    return at::mm(x, rounded.t());
  }
  static Tensors backward(AutogradContext* context, const Tensors& grads) {
    const Tensors kept = context->get_saved_variables();
    const at::Tensor dy = grads[0].contiguous();
    at::Tensor dx;
    if (context->needs_input_grad(0)) dx = at::mm(dy, kept[1]);
    const at::Tensor dw = at::empty(kept[1].sizes(), kept[1].options().dtype(at::kFloat));
    kernels::gemm(dw, dy.t(), kept[0]);
    return {dx, dw};
  }
};

struct PackedProduct : Function<PackedProduct> {
  struct Kept : torch::CustomClassHolder {
    Linear linear;
  };

  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Linear& linear) {
    auto kept = c10::make_intrusive<Kept>();
    kept->linear = {.name = linear.name, .weight = linear.weight, .packed = linear.packed};
    context->saved_data["kept"] = c10::IValue::make_capsule(std::move(kept));
    return at::mm(x, weight_of(linear).to(x.scalar_type()).t());
  }
  static Tensors backward(AutogradContext* context, const Tensors& grads) {
    const auto capsule = context->saved_data["kept"].toCapsule();
    const Linear& linear = static_cast<const Kept&>(*capsule).linear;
    return {at::mm(grads[0], weight_of(linear).to(grads[0].scalar_type())), {}};
  }
};

struct ScaleColumns : Function<ScaleColumns> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y,
                            const at::Tensor& factor) {
    context->save_for_backward({y, factor});
    const at::Tensor out = at::empty_like(y);
    kernels::scale_columns(out, y, factor);
    return out;
  }
  static Tensors backward(AutogradContext* context, const Tensors& grads) {
    const Tensors kept = context->get_saved_variables();
    const at::Tensor grad = grads[0].contiguous();
    const at::Tensor dy = at::empty_like(grad);
    const at::Tensor grad_factor = at::empty_like(kept[1]);
    kernels::scale_columns_backward(dy, grad_factor, grad, kept[0], kept[1]);
    return {dy, grad_factor};
  }
};

struct Rotate : Function<Rotate> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin, std::int64_t head_dim, bool interleaved) {
    kernels::rotate(x, x.size(1) / head_dim, cos, sin, {head_dim, interleaved});
    context->mark_dirty({x});
    context->save_for_backward({cos, sin});
    context->saved_data["head_dim"] = head_dim;
    context->saved_data["interleaved"] = interleaved;
    return x;
  }
  static Tensors backward(AutogradContext* context, const Tensors& grads) {
    const Tensors kept = context->get_saved_variables();
    const kernels::RotaryShape shape{context->saved_data["head_dim"].toInt(),
                                     context->saved_data["interleaved"].toBool()};
    const at::Tensor dx = grads[0].clone(at::MemoryFormat::Contiguous);
    kernels::rotate(dx, dx.size(1) / shape.head_dim, kept[0], -kept[1], shape);
    return {dx, {}, {}, {}, {}};
  }
};

struct Glu : Function<Glu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up,
                            std::int64_t activation) {
    const at::Tensor out = at::empty_like(gate);
    kernels::glu(out, gate, up, static_cast<kernels::Activation>(activation));
    context->save_for_backward({gate, up});
    context->saved_data["activation"] = activation;
    return out;
  }
  static Tensors backward(AutogradContext* context, const Tensors& grads) {
    const Tensors kept = context->get_saved_variables();
    const auto activation = context->saved_data["activation"].toInt();
    kernels::glu_backward(kept[0], kept[1], grads[0].contiguous(),
                          static_cast<kernels::Activation>(activation), /*keep_output=*/false);
    for (const at::Tensor& overwritten : kept) overwritten.unsafeGetTensorImpl()->bump_version();
    return {kept[0].detach(), kept[1].detach(), {}};
  }
};

struct AttentionNode : Function<AttentionNode> {
  struct Kept : torch::CustomClassHolder {
    Batch batch;
    AttentionRule rule;
    AttentionPass::Route route = AttentionPass::Route::kAutograd;
  };

  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const Batch& batch, const AttentionRule& rule) {
    const AttentionPass pass = attention_forward(batch, rule, q, k, v);
    auto kept = c10::make_intrusive<Kept>();
    kept->batch = batch;
    kept->rule = rule;
    kept->route = pass.route;
    context->saved_data["kept"] = c10::IValue::make_capsule(std::move(kept));
    context->save_for_backward({q, k, v, pass.out, pass.log_sum_exp, pass.seed, pass.offset});
    return pass.out;
  }
  static Tensors backward(AutogradContext* context, const Tensors& grads) {
    const auto capsule = context->saved_data["kept"].toCapsule();
    const auto& kept = static_cast<const Kept&>(*capsule);
    const Tensors saved = context->get_saved_variables();
    const AttentionPass pass{kept.route, saved[3], saved[4], saved[5], saved[6]};
    const AttentionGradients g = attention_backward(
        kept.batch, kept.rule, pass, grads[0].contiguous(), saved[0], saved[1], saved[2]);
    return {g.q, g.k, g.v, {}, {}};
  }
};

struct CrossEntropy : Function<CrossEntropy> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& rows,
                            const at::Tensor& weight, const at::Tensor& targets, std::int64_t chunk,
                            double scale, double soft_cap, double entropy_power) {
    const at::TensorOptions fp32 = rows.options().dtype(at::kFloat);
    const at::Tensor loss = at::empty({rows.size(0)}, fp32);
    const at::Tensor grad_rows = at::empty_like(rows);
    at::Tensor grad_weight;
    if (weight.requires_grad()) grad_weight = at::empty(weight.sizes(), fp32);
    kernels::linear_cross_entropy(loss, grad_rows, rows, weight.to(rows.scalar_type()), targets,
                                  at::ones({}, fp32),
                                  {.chunk = chunk,
                                   .grad_weight = grad_weight,
                                   .rule = {.scale = scale, .soft_cap = soft_cap},
                                   .entropy_power = entropy_power});
    context->save_for_backward({grad_rows, grad_weight});
    return loss.sum();
  }
  static Tensors backward(AutogradContext* context, const Tensors& grads) {
    const Tensors kept = context->get_saved_variables();
    const auto times = [&](const at::Tensor& x) {
      return x.defined() ? x.mul_(grads[0]).detach() : x;
    };
    return {times(kept[0]), times(kept[1]), {}, {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor packed_product_node(const at::Tensor& x, const Linear& linear) {
  return PackedProduct::apply(x, linear);
}

at::Tensor master_product_node(const at::Tensor& x, const at::Tensor& weight) {
  return MasterProduct::apply(x, weight);
}

at::Tensor adapted_row_norms(const at::Tensor& weight, const LowRank& low_rank) {
  constexpr double kLeastShare = 1e-8;
  const at::ScalarType type = weight.scalar_type();
  const at::Tensor a = low_rank.a.detach();
  const at::Tensor b = low_rank.b.detach();
  const std::int64_t rank = a.size(0);
  at::Tensor parts = a.to(type);
  if (type != at::kFloat) parts = at::cat({parts, (a - parts.to(at::kFloat)).to(type)});
  at::Tensor projected = at::empty({weight.size(0), parts.size(0)}, a.options());  // W A^T
  kernels::gemm(projected, weight, parts.t());
  if (type != at::kFloat)
    projected = projected.narrow(1, 0, rank) + projected.narrow(1, rank, rank);
  const double s = low_rank.scale;
  const at::Tensor crossed = 2 * s * projected + s * s * at::mm(b, at::mm(a, a.t()));
  const at::Tensor& plain = low_rank.row_squares;
  return at::maximum(plain + (b * crossed).sum(1), kLeastShare * plain).sqrt();
}

at::Tensor scale_columns_node(const at::Tensor& y, const at::Tensor& factor) {
  return ScaleColumns::apply(y, factor);
}

at::Tensor rotate_node(const at::Tensor& x, const Rotary& rotary, kernels::RotaryShape shape) {
  return Rotate::apply(x, rotary.cos, rotary.sin, shape.head_dim, shape.interleaved);
}

at::Tensor glu_node(const at::Tensor& gate, const at::Tensor& up, kernels::Activation activation) {
  return Glu::apply(gate, up, static_cast<std::int64_t>(activation));
}

at::Tensor attention_node(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                          const at::Tensor& k, const at::Tensor& v) {
  return AttentionNode::apply(q, k, v, batch, rule);
}

at::Tensor cross_entropy_node(const at::Tensor& rows, const at::Tensor& weight,
                              const at::Tensor& targets, std::int64_t chunk,
                              kernels::LogitRule rule, double entropy_power) {
  return CrossEntropy::apply(rows, weight, targets, chunk, rule.scale, rule.soft_cap,
                             entropy_power);
}

}  // namespace corda::model
