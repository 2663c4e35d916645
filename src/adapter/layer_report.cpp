// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/layer_report.h"

namespace corda::adapter {

core::Json to_json(const LayerReport& report) {
  core::Json json = {{"rank", report.rank},
                     {"energy", report.energy},
                     {"total_energy", report.total_energy},
                     {"damping", report.damping},
                     {"tokens", report.tokens}};
  if (report.compactness) json["compactness"] = *report.compactness;
  if (report.covariance) json["covariance"] = *report.covariance;
  if (report.route.empty()) return json;
  json["route"] = report.route;
  json["bound"] = report.bound;
  if (!report.refused.empty()) json["refused"] = report.refused;
  if (report.without_weight > 0) json["without_weight"] = report.without_weight;
  return json;
}

LayerReport layer_report_of(const core::Fields& fields) {
  std::optional<double> compactness;
  std::optional<std::int64_t> covariance;
  if (fields.has("compactness")) compactness = fields.number("compactness");
  if (fields.has("covariance")) covariance = fields.integer("covariance", 0, INT64_MAX);
  return {.rank = fields.integer("rank"),
          .energy = fields.number("energy"),
          .total_energy = fields.number("total_energy"),
          .damping = fields.number("damping"),
          .tokens = fields.integer("tokens"),
          .route = fields.has("route") ? fields.text("route") : "",
          .bound = fields.has("bound") ? fields.number("bound") : 1,
          .refused = fields.has("refused") ? fields.text("refused") : "",
          .without_weight =
              fields.has("without_weight") ? fields.integer("without_weight", 0, INT64_MAX) : 0,
          .compactness = compactness,
          .covariance = covariance};
}

}  // namespace corda::adapter
