// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How an adapter starts: A0 and B0 of one layer for each method. All results are fp32, on the CPU
// unless the function says otherwise.
#pragma once

#include <cstdint>
#include <string>

#include "corda/adapter/adapter.h"
#include "corda/linalg/spectrum.h"

namespace corda::adapter {

// CorDA (KPA with the smallest, IPA with the largest components of W C~), PiSSA (the largest of W)
// and MiLoRA (the smallest of W, Wang et al. 2024): A0 = (s S_r)^-1/2 U_r^T W and B0 = U_r sqrt(S_r
// / s), so that s B0 A0 = U_r U_r^T W. No inverse of C~ is needed, since S V^T C~^-1 = U^T W. A
// component whose S is zero to rounding gets a zero row of A0 and a zero column of B0. `weight` is
// W [out, in], `u` comes from left_singular_subspace, svd_top or svd_bottom of it. The result's a,
// b are copies of its a0, b0, on the device of `u`. Throws ShapeError where the sizes do not fit.
LayerAdapter initialise_from_subspace(const at::Tensor& weight, const linalg::Spectrum& u,
                                      double scale);

// How many components of `u` are zero to rounding, for a W with `rows` x `columns`.
std::int64_t vanishing_components(const linalg::Spectrum& u, std::int64_t rows,
                                  std::int64_t columns);

// The start of dual: the rows of A are the generalised eigenvectors scaled to norm 1/sqrt(3), which
// is what a row of `initialise_lora` has on average; B [out, r] is zero, nothing is subtracted, and
// A is meant to stay frozen. On the device of `directions`.
LayerAdapter initialise_dual(const linalg::Spectrum& directions, std::int64_t out_features);

// EVA (Paischer et al. 2024): the rows of A are the largest eigenvectors of the task's covariance,
// B [out, r] is zero, both are trained. On the device of `directions`.
LayerAdapter initialise_eva(const linalg::Spectrum& directions, std::int64_t out_features);

// LoRA-Null, version 2 (Tang et al. 2025): `directions` U0 [in, r] are the eigenvectors of the
// knowledge's covariance with the least eigenvalues, W U0 U0^T = U S V^T, and A = (S / s)^(1/2)
// V^T stays frozen. The authors train B from U (S / s)^(1/2) on beside W - W U0 U0^T; B here is
// what it moves by, from zero on. A row whose S is zero to rounding is zero. Errors as
// initialise_from_subspace.
LayerAdapter initialise_null(const at::Tensor& weight, const linalg::Spectrum& directions,
                             double scale);

// SC-LoRA (Luo et al. 2025): with Q [out, r] the directions of the output, A0 = Q^T W and B0 = Q /
// s, so that s B0 A0 = Q Q^T W; otherwise as initialise_from_subspace.
LayerAdapter initialise_projected(const at::Tensor& weight, const linalg::Spectrum& directions,
                                  double scale);

// MiCA (2604.01694): B is the left singular vectors `u` [out, r] and is meant to stay frozen, A
// [r, in] is zero, nothing is subtracted. On the device of `u`.
LayerAdapter initialise_mica(const linalg::Spectrum& u, std::int64_t in_features);

// CLoQ (Deng et al. 2025): with `error` E [out, in] what the base loses in its codes and `u` U
// [out, r] the largest left singular vectors of E C^1/2, s B A = U U^T E, which is the product of
// rank r that is nearest to E in the outputs. Rows of A have the norm 1/sqrt(3), as in
// `initialise_lora`; nothing is subtracted. A component whose value is zero to rounding gets a zero
// row and column. On the device of `u`; errors as initialise_from_subspace.
LayerAdapter initialise_cloq(const at::Tensor& error, const linalg::Spectrum& u, double scale);

// PiSSA without the detour over files: `initialise_from_subspace` of the top r components of W.
LayerAdapter initialise_pissa(const at::Tensor& weight, std::int64_t rank, double scale);

// LoRA (Hu et al. 2021): A uniform in (-1/sqrt(in), 1/sqrt(in)), which is Kaiming with a = sqrt(5);
// B zero. Each module has its own stream made from the seed and its name, so a layer starts the
// same whichever other layers are adapted.
LayerAdapter initialise_lora(std::int64_t out_features, std::int64_t in_features, std::int64_t rank,
                             std::uint64_t seed, const std::string& module);

// DoRA's magnitude at the start: the norm of each row of W [out, in], fp32 [out].
at::Tensor dora_magnitude(const at::Tensor& weight);

}  // namespace corda::adapter
