// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Whether a decomposition's inputs are without their mean, as EVA's are.
#pragma once

#include "corda/core/reporter.h"
#include "corda/decompose/decompose.h"
#include "corda/decompose/mode.h"
#include "decompose/site_reader.h"

namespace corda::decompose {

// Puts what `center: auto` and `activation_scaling: auto` mean for the mode in their places;
// `center` stays auto where nothing looks at it.
void settle_inputs(DecomposeSettings& settings);

// Throws ConfigError where a covariance is of gradients and the mode does not take that for it,
// where the mode needs the mean of the inputs and a covariance lacks it, and
// where some of several are centred, for these are no shares of one sum. Says where a covariance of
// EVA's is not as PEFT would make it.
void check_centring(const Mode& mode, const Covariances& covariances, core::Reporter& reporter);

}  // namespace corda::decompose
