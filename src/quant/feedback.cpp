// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quant/feedback.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"
#include "corda/kernels/float8.h"
#include "corda/linalg/energy.h"

namespace corda::quant {

using core::concat;
using kernels::PackedWeight;
using kernels::TableCodes;
using kernels::TileCodes;

namespace {

// Columns whose errors are gathered before they go to all that follow, as one product.
constexpr std::int64_t kGathered = 32;

// The upper U with U^T U = (C + d I)^-1, fp32. An input that is never there (a zero on the
// diagonal) neither takes nor gives.
at::Tensor feedback_factor(const at::Tensor& covariance, double damping) {
  at::Tensor damped = covariance.to(at::kDouble);
  const at::Tensor diagonal = damped.diagonal();
  const double mean = diagonal.mean().item<double>();
  if (!(mean > 0)) throw core::NumericalError("the covariance is zero or not finite");
  damped = damped + at::eye(damped.size(0), damped.options()) * (damping * mean);
  const auto [lower, failed] = at::linalg_cholesky_ex(damped);
  if (failed.item<int>() != 0) {
    throw core::NumericalError(
        concat("the covariance is not positive definite, even with ", damping,
               " of its mean diagonal added; was it collected on enough text?"));
  }
  const auto [upper, failed_inverse] =
      at::linalg_cholesky_ex(at::cholesky_inverse(lower), /*upper=*/true);
  if (failed_inverse.item<int>() != 0)
    throw core::NumericalError("the inverse of the covariance is not positive definite");
  return upper.to(at::kFloat).contiguous();
}

void check_shapes(const at::Tensor& weight, const at::Tensor& covariance) {
  const std::int64_t in = weight.size(1);
  if (covariance.dim() == 2 && covariance.size(0) == in && covariance.size(1) == in) return;
  throw core::ShapeError(concat("a weight [", weight.size(0), ", ", in, "] needs a covariance [",
                                in, ", ", in, "]; it is ", covariance.sizes()));
}

// The scale of every value, [out, in] fp32.
at::Tensor scales_of(const PackedWeight& packed) {
  if (const auto* tiles = std::get_if<TileCodes>(&packed.codes)) {
    return tiles->scales.repeat_interleave(tiles->block_rows, 0)
        .slice(0, 0, packed.rows)
        .repeat_interleave(tiles->block_columns, 1)
        .slice(1, 0, packed.columns)
        .contiguous();
  }
  const auto& codes = std::get<TableCodes>(packed.codes);
  at::Tensor absmax = codes.absmax;
  if (codes.nested_table.defined()) {
    const at::Tensor outer =
        codes.nested_absmax.repeat_interleave(codes.nested_block).slice(0, 0, absmax.size(0));
    absmax = codes.nested_table.index_select(0, absmax.to(at::kLong)) * outer + codes.nested_offset;
  }
  return absmax.repeat_interleave(codes.block)
      .slice(0, 0, packed.rows * packed.columns)
      .view({packed.rows, packed.columns});
}

at::Tensor thresholds() { return at::tensor(nf4_thresholds(), at::kFloat); }

// Values divided by their scales, zero where the scale is zero.
at::Tensor over(const at::Tensor& values, const at::Tensor& scales) {
  return at::where(scales == 0, at::zeros_like(values), values / scales);
}

at::Tensor float8_of(const at::Tensor& scaled) {
  constexpr double kLargest = kernels::kLargestFloat8;
  return scaled.clamp(-kLargest, kLargest).to(at::kFloat8_e4m3fn);
}

}  // namespace

at::Tensor round_with_feedback(const at::Tensor& weight, const at::Tensor& covariance,
                               const ColumnRounding& round, double damping) {
  check_shapes(weight, covariance);
  const at::Tensor order = covariance.diagonal().argsort(0, /*descending=*/true);
  const at::Tensor factor =
      feedback_factor(covariance.index_select(0, order).index_select(1, order), damping);
  const auto* diagonal = factor.const_data_ptr<float>();  // at every (in + 1)-th place
  const at::Tensor place = order.contiguous();
  const auto* column_of = place.const_data_ptr<std::int64_t>();
  const std::int64_t in = weight.size(1);
  // The matrix is transposed, so that a column lies in memory as a whole.
  at::Tensor left = weight.to(at::kFloat).t().index_select(0, order).contiguous();
  at::Tensor rounded = at::empty_like(left);
  for (std::int64_t begin = 0; begin < in; begin += kGathered) {
    const std::int64_t end = std::min(in, begin + kGathered);
    const at::Tensor errors = at::empty({end - begin, left.size(1)}, at::kFloat);
    for (std::int64_t j = begin; j < end; ++j) {
      const at::Tensor values = left.select(0, j);
      const at::Tensor stored = round(column_of[j], values);
      rounded.select(0, j).copy_(stored);
      const at::Tensor error = errors.select(0, j - begin);
      error.copy_((values - stored) / diagonal[j * (in + 1)]);
      if (j + 1 < end) {
        left.slice(0, j + 1, end).addr_(factor.select(0, j).slice(0, j + 1, end), error, 1, -1);
      }
    }
    if (end < in) {
      left.slice(0, end).addmm_(factor.slice(0, begin, end).slice(1, end).t(), errors, 1, -1);
    }
  }
  at::Tensor result = at::empty_like(rounded);
  result.index_copy_(0, order, rounded);
  return result.t().contiguous();
}

at::Tensor round_with_feedback(const at::Tensor& weight, const at::Tensor& covariance,
                               at::ScalarType type, double damping) {
  return round_with_feedback(
      weight, covariance,
      [&](std::int64_t, const at::Tensor& values) { return values.to(type).to(at::kFloat); },
      damping);
}

PackedWeight quantise(const at::Tensor& weight, Format format, const at::Tensor& covariance,
                      double damping) {
  PackedWeight packed = quantise(weight, format);
  const at::Tensor scales = scales_of(packed);
  const at::Tensor columns = scales.t().contiguous();
  const at::Tensor table = at::tensor(nf4_values(), at::kFloat);
  const at::Tensor bounds = thresholds();
  const auto round = [&](std::int64_t column, const at::Tensor& values) -> at::Tensor {
    const at::Tensor scale = columns.select(0, column);
    const at::Tensor scaled = over(values, scale);
    const at::Tensor nearest = format.base == Base::kNf4
                                   ? table.index_select(0, at::bucketize(scaled, bounds))
                                   : float8_of(scaled).to(at::kFloat);
    return (nearest * scale).to(packed.rounded_to).to(at::kFloat);
  };
  const at::Tensor values = over(round_with_feedback(weight, covariance, round, damping), scales);
  if (auto* tiles = std::get_if<TileCodes>(&packed.codes)) {
    tiles->codes = float8_of(values).contiguous();
    return packed;
  }
  auto& codes = std::get<TableCodes>(packed.codes);
  const at::Tensor flat = at::bucketize(values, bounds).to(at::kByte).flatten();
  const at::Tensor pairs = at::constant_pad_nd(flat, {0, flat.numel() % 2}).view({-1, 2});
  codes.codes = (pairs.select(1, 0).mul(16) + pairs.select(1, 1)).contiguous();
  return packed;
}

double output_error(const at::Tensor& a, const at::Tensor& b, const at::Tensor& covariance) {
  return linalg::energy(a.to(at::kDouble) - b.to(at::kDouble), covariance) /
         linalg::energy(a, covariance);
}

io::CovarianceReader covariance_for(const std::string& directory, const std::string& fingerprint) {
  io::CovarianceReader reader(directory);
  if (!fingerprint.empty() && reader.manifest().model != fingerprint) {
    throw core::ConfigError(concat("the covariance '", directory,
                                   "' was collected on another model: '",
                                   reader.manifest().model_name, "' (", reader.manifest().model,
                                   "), this one is ", fingerprint));
  }
  io::require_uncentred(reader, "how far outputs move");
  return reader;
}

}  // namespace corda::quant
