// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// An adapter as its model card describes it.
#pragma once

#include "corda/adapter/adapter.h"
#include "corda/adapter/adapter_reader.h"
#include "corda/card/card.h"

namespace corda::adapter {

card::Tuning tuning_of(const Adapter& adapter);
card::Tuning tuning_of(const AdapterReader& reader);
// The same of an adapter whose layers are not in memory; the arguments are those of
// `write_adapter_notes`.
card::Tuning tuning_of(const Adapter& header, const std::map<std::string, LayerScale>& layers,
                       bool subtracts_start);

}  // namespace corda::adapter
