// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How a layer's report stands in JSON: in corda.json and in the notes of a work directory.
#pragma once

#include "corda/adapter/adapter.h"
#include "core/fields.h"

namespace corda::adapter {

core::Json to_json(const LayerReport& report);

// Reads a report back. Throws FormatError as core::Fields does.
LayerReport layer_report_of(const core::Fields& fields);

}  // namespace corda::adapter
