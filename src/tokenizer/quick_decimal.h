// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Numbers of tokenizer.json as the Hugging Face library reads them.
#pragma once

#include <string_view>

namespace corda::tokenizer {

// The value of a JSON number. The library's reader takes the digits as one 64-bit integer and
// multiplies it by or divides it by a power of ten once, so that a number of 17 digits may be the
// neighbour of the closest double; scores that differ by that much choose other segments.
double quick_decimal(std::string_view number);

}  // namespace corda::tokenizer
