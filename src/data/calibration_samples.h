// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Calibration on single samples of an instruction or chat format.
#pragma once

#include <vector>

#include "data/calibration_source.h"

namespace corda::data {

// The tokens of `settings.samples` records drawn with `settings.seed`, each cut at
// `settings.seq_len`. Reads once to count, then for the records drawn: only those are held and
// tokenised. Throws ConfigError where there is no token.
std::vector<std::vector<TokenId>> draw_samples(CalibrationSource& source,
                                               const RecordEncoder& encoder,
                                               const tokenizer::Tokenizer& tokenizer,
                                               const CalibrationSettings& settings,
                                               core::Reporter& reporter);

}  // namespace corda::data
