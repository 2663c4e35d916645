// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Whether an adapter and a base model belong together.
#pragma once

#include "corda/adapter/adapter_reader.h"
#include "corda/core/reporter.h"
#include "corda/quant/model_weights.h"

namespace corda::adapter {

// Throws ConfigError where the adapter was made for another base (by the fingerprint in
// corda.json), FormatError where a module has no floating-point weight in the base, changes a head
// that is tied to the embedding, or where the adapter holds a weight of the base in other values;
// ShapeError for a wrong shape. Each names the module. Warns where adapter_config.json names
// another base and no fingerprint tells whether it is this one, and where it names layers that the
// file has no tensors for.
void check_fit(const AdapterReader& adapter, const quant::ModelWeights& base,
               core::Reporter& reporter);

// Throws ConfigError where the adapter makes good what codes lose (Adapter::corrects_base) and the
// base is not held in these. `held`: what the base is held as, nf4, fp8 or any other word;
// `advice`: what to do, before the name of the format.
void check_held(const Adapter& adapter, const std::string& held, const std::string& advice);

// `read_adapter` behind `check_fit`: throws where the adapter does not fit the base.
Adapter read_adapter_for(const fs::path& directory, const quant::ModelWeights& base,
                         core::Reporter& reporter);

// Whether config.json ties the head to the embedding and the file's own head, if any, is the
// embedding. transformers 5 leaves a head apart that is stored with other values.
bool has_tied_head(const quant::ModelWeights& base);

// How many decoder blocks a model has, by the names of its tensors.
std::int64_t count_blocks(const quant::ModelWeights& base);

}  // namespace corda::adapter
