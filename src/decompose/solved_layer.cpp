// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/solved_layer.h"

#include <cmath>

#include "adapter/layer_report.h"

namespace corda::decompose {

core::Json to_json(const LayerNote& note) {
  core::Json json = adapter::to_json(note.report);
  if (note.values.empty()) return json;
  json["values"] = note.values;
  json["sum_of_values"] = note.sum_of_values;
  return json;
}

LayerNote layer_note_of(const core::Fields& fields) {
  LayerNote note;
  note.report = adapter::layer_report_of(fields);
  if (!fields.has("values")) return note;
  note.values = fields.numbers("values");
  note.sum_of_values = fields.number("sum_of_values");
  return note;
}

double energy_of(const std::vector<double>& values, std::int64_t rank, bool singular) {
  double sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rank); ++i)
    sum += singular ? values[i] * values[i] : values[i];
  return singular ? std::sqrt(sum) : sum;
}

}  // namespace corda::decompose
