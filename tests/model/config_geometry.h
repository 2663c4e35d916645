// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tables of configurations with the models that transformers builds from them, as
// scripts/golden/published_configs.py and config_rules.py write them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "corda/model/description.h"

namespace corda::model {

using Geometry = std::map<std::string, std::string>;  // column -> what stands in it

struct ConfigRow {
  std::string name;  // the first column
  bool is_read = false;
  std::string word;  // of a refused one: what its message must name
  Geometry geometry;
};

// The table tests/model/NAME.
std::vector<ConfigRow> read_config_table(const std::string& name);

// A description in the columns of the tables. The only place that knows how one is laid out.
Geometry geometry_of(const ModelDescription& model);

// Compares column by column, so that a failure names what differs.
void expect_geometry(const Geometry& read, const Geometry& expected);

}  // namespace corda::model
