// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the decompressors of data files share.
#pragma once

#include <memory>
#include <string>

#include "data/byte_source.h"

namespace corda::data {

// Throws FormatError where a stream of that kind gave more than the limits allow.
void check_ratio(std::int64_t produced, std::int64_t consumed, const UnpackLimits& limits,
                 const std::string& name, const char* kind);

// The decompressed content of a zstd stream. Throws FormatError where the program was built
// without zstd, and as `decompress` does.
std::unique_ptr<ByteSource> unzstd(std::unique_ptr<ByteSource> inner, std::string name,
                                   UnpackLimits limits);

}  // namespace corda::data
