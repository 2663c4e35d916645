// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model directory like another one, its weights in another format.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>

#include "corda/io/rewrite_checkpoint.h"
#include "corda/quant/quantise.h"

namespace corda::quant {

// Whether a tensor that shows is the weight of a linear layer in a block of the text model: what is
// quantised, the head and the embedding are not.
bool is_block_layer(const ModelWeights& weights, const std::string& name);

// io::rewrite_checkpoint with every quantised layer as its values: `content` is asked for the
// tensors that show, and gives an undefined one for what stays as it is. config.json no longer says
// that anything is quantised. As `rewrite_checkpoint` itself where nothing is.
io::RewriteResult write_dense(const ModelWeights& weights, const std::filesystem::path& out,
                              const std::function<at::Tensor(const std::string& name)>& content,
                              io::RewriteOptions options = {});

// The layers of the blocks in the codes that `content` gives, of that format: NF4 as transformers
// with bitsandbytes reads it, float8 in tiles as transformers and vLLM do, float8 with a scale a
// row as both do with compressed-tensors. Other quantised layers become dense.
io::RewriteResult write_quantised(
    const ModelWeights& weights, const std::filesystem::path& out, Format to,
    const std::function<kernels::PackedWeight(const std::string& name)>& content,
    io::RewriteOptions options = {});

}  // namespace corda::quant
