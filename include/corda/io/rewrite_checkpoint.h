// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model directory like another one, with other weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "corda/io/safetensors.h"

namespace corda::io {

// Writes a copy of the model directory `base` into the existing directory `out`: the same shards, index,
// names and dtypes, every file that is not a weight byte for byte. `content(name)` gives a tensor's new value
// (converted to the stored dtype with one rounding) or an undefined tensor to keep its bytes. One tensor
// is in memory at a time. Afterwards every shard is opened again and checked. Throws ResourceError before
// writing where the disk is too full, ShapeError where a new value has another shape.
void rewrite_checkpoint(const Checkpoint& base, const fs::path& out, const std::function<at::Tensor(const std::string&)>& content);

}  // namespace corda::io
