// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The tables of filters.
#pragma once

#include <map>
#include <string_view>

#include "jinja/runtime.h"

namespace corda::jinja {

using Filter = Value (*)(Runtime&, const Value& input, const Arguments&);
using FilterTable = std::map<std::string_view, Filter>;

const FilterTable& text_filters();
const FilterTable& sequence_filters();

}  // namespace corda::jinja
