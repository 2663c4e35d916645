// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tools, and calls of tools, as data sets write them.
#pragma once

#include <string>

#include "core/json.h"

namespace corda::data {

// Takes out the members of objects that are null, at any depth; items of lists stay. Arrow gives
// every object of a column the keys of all others, null where they have none. Returns whether
// there were any.
bool drop_null_members(core::Json& value);

// How arguments of a call are given to the template.
enum class Arguments {
  kObjects,  // text that is the JSON of an object becomes that object
  kAsText,   // text stays text
};

// What was changed on the way.
struct ToolChanges {
  bool parsed = false;         // arguments that were text, or nothing, became an object
  bool dropped_nulls = false;  // in arguments
};

// Brings `tool_calls` into the form that templates expect. Arguments that are null, "" or "null"
// are those of a call without any. Throws FormatError, without a place, for what is no list of
// calls.
ToolChanges normalise_calls(core::Json& calls, Arguments arguments);

// `calls` of a message whose text is {"name": ..., "arguments": {...}} or a list of such. Throws
// FormatError.
core::Json calls_of_text(const std::string& text);

// The list of tools in `value`, a list or the JSON text of one; null where there are none. Bare
// functions (OpenAI's older `functions`) are wrapped where `functions` says so. Nulls in a list are
// dropped; in a text, which no table has been through, they stay. Throws FormatError.
core::Json tools_of(const core::Json& value, bool functions, bool& dropped_nulls);

}  // namespace corda::data
