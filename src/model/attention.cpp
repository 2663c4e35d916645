// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/attention.h"

#include <ATen/ATen.h>

#include "corda/model/attention_pass.h"
#include "model/attention_kernels.h"
#include "model/nodes.h"

namespace corda::model {

AttentionRule attention_rule(const ModelDescription& model, std::int64_t layer) {
  return {.scale = model.attention.scale,
          .window = model.blocks[static_cast<std::size_t>(layer)].window,
          .soft_cap = model.attention.soft_cap};
}

at::Tensor PackedAttention::attend(std::int64_t /*layer*/, const AttentionRule& rule,
                                   const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  if (!at::GradMode::is_enabled()) return attention_forward(batch_, rule, q, k, v).out;
  const bool flash = suits_flash(q, rule);
  // The node serves where scores are written out too, since it does not keep them for the backward.
  if (fused_ && (flash || goes_by_parts(batch_, rule)))
    return attention_node(batch_, rule, q, k, v);
  return flash ? attend_flash(batch_, rule, q, k, v).out : attend_any(batch_, rule, q, k, v);
}

}  // namespace corda::model
