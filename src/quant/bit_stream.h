// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Codes of a few bits, one behind the other in 32-bit words.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace corda::quant {

// Words that hold `count` codes: no bit is left out, and a code may lie in two words.
inline std::int64_t words_for(std::int64_t count, std::int64_t bits) {
  return (count * bits + 31) / 32;
}

// words [words_for(count, bits), m] int32, the stream along dimension 0, low bits first -> the
// codes [count, m], int32, not negative.
at::Tensor unpack_stream(const at::Tensor& words, std::int64_t bits, std::int64_t count);

}  // namespace corda::quant
