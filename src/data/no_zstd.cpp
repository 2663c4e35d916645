// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What stands for zstd/unzstd.cpp where the build had no zstd.
#include "corda/core/error.h"
#include "data/decompress.h"

namespace corda::data {

std::unique_ptr<ByteSource> unzstd(std::unique_ptr<ByteSource> /*inner*/, std::string name,
                                   UnpackLimits /*limits*/) {
  throw core::FormatError(core::concat(
      name, ": this corda was built without zstd; unpack the file (zstd -d) or pack it with gzip"));
}

}  // namespace corda::data
