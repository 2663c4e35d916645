// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The singular values of an adapter's update, and the best update of a lower rank.
#pragma once

#include <vector>

#include "corda/adapter/adapter.h"

namespace corda::adapter {

// The Frobenius norm of scale * (B A - B0 A0), in fp64. A DoRA's magnitude is not looked at.
double update_norm(const LayerAdapter& layer, double scale);

// The singular values of the update, largest first; as many as the stored product has ranks.
std::vector<double> update_spectrum(const LayerAdapter& layer, double scale);

// A layer that stands for `scale` times the update with a scale of 1, and what of it was lost.
struct Compressed {
  LayerAdapter layer;         // A [k, in], B [out, k], fp32
  double relative_error = 0;  // ||update - B A||_F / ||update||_F, 0 where both are zero
};

// The best approximation of rank `rank`, or of the stored product's where that is lower (Eckart and
// Young 1936): QR of both factors and the SVD of the small product, all in fp64; each factor takes
// the roots of the singular values. Throws ConfigError for a DoRA, whose rows are rescaled by a
// norm that depends on the base.
Compressed compress(const LayerAdapter& layer, double scale, std::int64_t rank);

}  // namespace corda::adapter
