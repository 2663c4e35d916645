// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Keeps track of which bytes of a text came from labelled variables while texts are joined and cut.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "corda/jinja/value.h"

namespace corda::jinja {

struct Runtime;
struct Arguments;

// Text that the template or the engine wrote.
void append(Text& out, std::string_view plain);
void append(Text& out, const Text& part);
// Bytes [begin, end) of `whole`.
void append_part(Text& out, const Text& whole, std::size_t begin, std::size_t end);
// `view` must lie inside `whole.value`; the result has no markup.
Text part_of(const Text& whole, std::string_view view);

// What str() gives, with the sources of what is in it.
Text traced_text(Runtime& runtime, const Value& value);
Text traced_repr(Runtime& runtime, const Value& value);

// The label of the sources anywhere in a text or its items: nothing where there are none, the
// smallest where all the text is labelled, kMixedSource where some of it is not.
std::optional<std::int32_t> source_within(const Value& value);
// Labels all of [begin, end of out) as one text would be that was made from `part`.
void label_from(Text& out, std::size_t begin, const Text& part);

// Labels the whole of a text that was made out of `input` and `arguments` by an operation that does
// not track bytes.
Value label_result(Value result, const Value& input, const Arguments& arguments);

}  // namespace corda::jinja
