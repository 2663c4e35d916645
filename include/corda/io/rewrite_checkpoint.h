// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model directory like another one, with other weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "corda/io/safetensors.h"

namespace corda::io {

struct RewrittenTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
};

struct RewriteOptions {
  std::optional<DType> dtype = {};  // of every floating-point tensor; without it each keeps its own
  // 0: the shards of the base; else new shards of at most this many bytes.
  std::int64_t max_shard_bytes = 0;
  bool untie_head = false;  // config.json says tie_word_embeddings false
  // What stands in the place of a tensor of the base: none, one or several; without it the tensor
  // itself, in `dtype`.
  std::function<std::vector<RewrittenTensor>(const std::string& stored)> layout = {};
  // JSON that replaces `quantization_config` of config.json; "": none stands there any more. Files
  // of the base that say the same elsewhere are left out.
  std::optional<std::string> quantization_config = {};
};

struct RewriteResult {
  std::int64_t tensors = 0;
  std::int64_t shards = 0;
  std::int64_t bytes = 0;  // of all tensors
};

// The files of the base that are not copied because they hold, or may hold, weights: other formats
// of them, shards that are not read, states of a training, folders ("original/"). Sorted.
std::vector<std::string> left_behind(const Checkpoint& base);
// Says so to a user, `which` ("merged") being the weights that are written in their place.
void note_left_behind(const Checkpoint& base, const std::string& which, core::Reporter& reporter);

// Writes a copy of the model directory `base` into the existing directory `out`: the same shards,
// index, names and dtypes, every file that is not a weight byte for byte, and no weights but those
// of `base`, so that no program finds the old ones beside the new. `content(name)` gives a
// tensor's new value (converted to the stored dtype with one rounding) or an undefined tensor to
// keep the bytes of the base's tensor of that name. With `layout` names, shapes and types are those
// that it gives. One tensor is in memory at a time. With another dtype config.json says so, and
// with another layout or dtype the index is made anew. Afterwards every shard is opened again and
// checked: names, shapes, dtypes, and that what was kept is the same bytes. Throws ResourceError
// before writing where the disk is too full, ShapeError where a new value has another shape,
// NumericalError where one is too large for its dtype (`stored`).
RewriteResult rewrite_checkpoint(const Checkpoint& base, const fs::path& out,
                                 const std::function<at::Tensor(const std::string&)>& content,
                                 const RewriteOptions& options = {});

}  // namespace corda::io
