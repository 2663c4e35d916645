// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The mean loss of a model in memory over samples.
#pragma once

#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/data/sample.h"
#include "corda/dist/world.h"
#include "corda/eval/eval.h"
#include "corda/model/model.h"

namespace corda::eval {

std::vector<data::DataFile> files_of(const EvalSettings& settings,
                                     const std::vector<std::string>& paths,
                                     const std::string& default_format);

// What task perplexity measures: the windows of plain text, or the samples of other formats. Throws
// ConfigError, and as the readers of data do.
std::vector<data::Sample> perplexity_samples(const EvalSettings& settings,
                                             core::Reporter& reporter);

// Mean negative log-likelihood over the targets of all samples: fills `nll`, `perplexity` and adds
// to `tokens`. Throws ConfigError where there is no target, NumericalError where it is not finite.
void measure_nll(const model::Model& model, const std::vector<data::Sample>& samples,
                 const EvalSettings& settings, EvalResult& result, core::Reporter& reporter,
                 dist::World& world);

}  // namespace corda::eval
