// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a layer was decomposed into, and how that stands in notes of the work directory and in what
// ranks tell each other.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "core/fields.h"

namespace corda::decompose {

struct LayerNote {
  adapter::LayerReport report;  // of all components that were solved for
  // What ranks are shared out by; empty and 0 where all layers get the same.
  std::vector<double> values;  // of the components, in the order of the stored factors
  double sum_of_values = 0;    // of all components of the layer
};

struct SolvedLayer {
  adapter::Factors stored;  // as the adapter's file holds them, fp32 on the device
  LayerNote note;
};
using SolvedSite = std::map<std::string, SolvedLayer>;  // by module name

core::Json to_json(const LayerNote& note);
// Reads a note back. Throws FormatError as core::Fields does.
LayerNote layer_note_of(const core::Fields& fields);

// Energy of the first `rank` of values: their norm where they are `singular`, else their sum.
double energy_of(const std::vector<double>& values, std::int64_t rank, bool singular);

}  // namespace corda::decompose
