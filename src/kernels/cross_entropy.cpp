// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/cross_entropy.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "corda/kernels/gemm.h"
#include "kernels/tensors.h"

namespace corda::kernels {

void cross_entropy(const at::Tensor& loss, const at::Tensor& logits, const at::Tensor& targets,
                   const at::Tensor& scale, double soft_cap, double entropy_power) {
  const std::int64_t rows = logits.size(0);
  const std::int64_t vocab = logits.size(1);
  check_rows("cross_entropy", "the logits", logits, rows, vocab, logits);
  check_dense("cross_entropy", "the loss", loss, {rows}, at::kFloat, logits);
  check_dense("cross_entropy", "the targets", targets, {rows}, at::kLong, logits);
  check_dense("cross_entropy", "the scale", scale, {}, at::kFloat, logits);
  if (!logits.is_cuda()) {
    const at::Tensor wide = logits.to(at::kFloat);
    const at::Tensor squashed = soft_cap > 0 ? at::tanh(wide / soft_cap) : at::Tensor();
    const at::Tensor finished = soft_cap > 0 ? squashed * soft_cap : wide;
    const at::Tensor log_softmax = at::log_softmax(finished, 1);
    const at::Tensor counts = targets.ge(0).to(at::kFloat);
    const at::Tensor weights =
        entropy_power > 0 ? counts * entropy_weights(finished, entropy_power) : counts;
    const at::Tensor index = targets.clamp_min(0).unsqueeze(1);
    loss.copy_(-log_softmax.gather(1, index).squeeze(1) * counts);
    const at::Tensor gradient = log_softmax.exp();
    gradient.scatter_add_(1, index, gradient.new_full({rows, 1}, -1));
    if (soft_cap > 0) gradient.mul_(1 - squashed.square());
    logits.copy_(gradient * scale * weights.unsqueeze(1));
    return;
  }
  const c10::cuda::CUDAGuard guard(logits.device());
  cuda::cross_entropy(type_of(logits), loss.mutable_data_ptr<float>(), rows_of(logits),
                      targets.const_data_ptr<std::int64_t>(), rows, vocab,
                      scale.const_data_ptr<float>(), static_cast<float>(soft_cap),
                      static_cast<float>(entropy_power), stream_of(logits));
}

at::Tensor entropy_weights(const at::Tensor& logits, double power) {
  const at::NoGradGuard no_grad;
  const std::int64_t kept = std::min<std::int64_t>(cuda::kLikeliest, logits.size(1));
  const at::Tensor likeliest = std::get<0>(at::topk(logits.to(at::kFloat), kept, 1));
  const at::Tensor log_shares = at::log_softmax(likeliest, 1);
  const at::Tensor entropy = -(log_shares.exp() * log_shares).sum(1);
  return (entropy / std::log(static_cast<double>(cuda::kLikeliest))).clamp_min(0).pow(power);
}

std::int64_t logit_rows(std::int64_t vocab) {
  // A product with fewer rows reads the head's weight too often for its work.
  constexpr std::int64_t kElements = std::int64_t{1} << 27;
  constexpr std::int64_t kStep = 256;  // whole tiles of a matrix product
  const std::int64_t rows = std::max<std::int64_t>(1, kElements / vocab);
  return rows < kStep ? rows : rows / kStep * kStep;
}

void linear_cross_entropy(const at::Tensor& loss, const at::Tensor& grad_rows,
                          const at::Tensor& rows, const at::Tensor& weight,
                          const at::Tensor& targets, const at::Tensor& scale,
                          const LinearCrossEntropyOptions& options) {
  if (options.chunk < 1) {
    throw core::InternalError(core::concat(
        "[kernels::linear_cross_entropy] a chunk has at least one row; it has ", options.chunk));
  }
  const std::int64_t count = rows.size(0);
  const at::Tensor& grad_weight = options.grad_weight;
  const at::Tensor buffer =
      at::empty({std::min(options.chunk, count), weight.size(0)}, rows.options());
  for (std::int64_t begin = 0; begin < count; begin += options.chunk) {
    const std::int64_t length = std::min(options.chunk, count - begin);
    const at::Tensor part = rows.narrow(0, begin, length);
    const at::Tensor logits = buffer.narrow(0, 0, length);
    const double alpha = options.rule.scale;
    gemm(logits, part, weight.t(), {.alpha = alpha, .plans = options.plans});
    cross_entropy(loss.narrow(0, begin, length), logits, targets.narrow(0, begin, length), scale,
                  options.rule.soft_cap, options.entropy_power);
    if (grad_weight.defined()) {  // the first chunk writes it
      gemm(grad_weight, logits.t(), part,
           {.alpha = alpha, .beta = begin == 0 ? 0.0 : 1.0, .plans = options.plans});
    }
    gemm(grad_rows.narrow(0, begin, length), logits, weight,
         {.alpha = alpha, .plans = options.plans});
  }
  if (count == 0 && grad_weight.defined()) grad_weight.zero_();
}

}  // namespace corda::kernels
