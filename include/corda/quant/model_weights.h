// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The weights of a model directory by name, whatever format holds them: the one place that knows
// quantised files. To all who read through it a model is its 16-bit or fp32 tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/io/safetensors.h"
#include "corda/kernels/packed_weight.h"
#include "corda/linalg/upload.h"

namespace corda::quant {

// Read are, layer by layer: bitsandbytes' 4 bits (nf4, fp4; nested or not, in any storage type) and
// int8; float8 with a scale a tensor, a row or a tile; compressed-tensors' float-quantized,
// int-quantized and pack-quantized; GPTQ (v1, v2) of 2, 3, 4 and 8 bits; AWQ's gemm. A layer P
// whose tensors are one of these shows as `P.weight` alone, with the shape [out, in] and the 16-bit
// (or fp32) type of its values; all other tensors show as they are.
//
// A value is what the format's own library computes: products in fp32, rounded once to that type,
// which is the saved one (bitsandbytes), that of 16-bit scales, else that of config.json, else
// bf16.
class ModelWeights {
 public:
  // Recognises every layer. Throws FormatError, one sentence that names the tensor, where parts are
  // missing, misshapen, of another type or contradict each other, and for formats that are not
  // read. Copies share everything.
  ModelWeights(const io::Checkpoint& files);  // NOLINT: a checkpoint is its weights

  const io::Checkpoint& files() const;
  const std::filesystem::path& directory() const { return files().directory(); }
  // The fingerprint of the files, io::Checkpoint's.
  std::string fingerprint() const { return files().fingerprint(); }

  // As in io::Checkpoint, of the tensors that show. `offset` and `bytes` of `info` are those of the
  // file for a tensor that is stored as it is, else 0 and the bytes of the values.
  std::vector<std::string> names() const;
  std::string stored_name(const std::string& name) const;
  bool contains(const std::string& name) const;
  const io::TensorInfo& info(const std::string& name) const;
  void forget(const std::string& name) const;

  bool is_quantised(const std::string& name) const;
  // How many layers are, and "bitsandbytes nf4", "gptq, 4 bits" of the first; "" where none is.
  std::int64_t quantised_layers() const;
  std::string format() const;
  // The name under which a tensor of the files shows; "" for one that is part of a layer but not
  // its first.
  std::string shown_name(const std::string& stored) const;

  // Throws FormatError where the tensor is of whole numbers or of float8 without scales: codes
  // whose meaning no other tensor says. So do all below.
  void require_values(const std::string& name) const;
  // The values on the CPU: a look at the mapped file where they are stored as they are (read-only,
  // valid as long as a copy of this is), else made now.
  at::Tensor view(const std::string& name) const;
  // The values, made row by row when they are asked for.
  linalg::HostRows rows(const std::string& name) const;
  // The layer's codes on the CPU, where a kernel can make the values from them: bitsandbytes' and
  // what is scaled in tiles. They look at the files, or are small.
  std::optional<kernels::PackedWeight> packed(const std::string& name) const;
  // The values in a type on a device; made there where a kernel can. On the meta device only
  // shapes.
  at::Tensor load(const std::string& name, at::Device device, at::ScalarType type) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

// io::open_model, and a line on what is quantised.
ModelWeights open_model(const std::filesystem::path& directory, core::Reporter& reporter);

}  // namespace corda::quant
