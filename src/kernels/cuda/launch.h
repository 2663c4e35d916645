// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the .cu files offer: raw pointers and sizes, no torch type. Every function launches its
// kernel on `stream` and throws ResourceError where the launch failed. Strides count elements.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "corda/kernels/activation.h"
#include "corda/kernels/norm_kind.h"

namespace corda::kernels::cuda {

enum class Type { kFloat, kBFloat16 };

// Rows of a matrix: row i begins at data + i * stride elements.
struct Rows {
  void* data = nullptr;
  std::int64_t stride = 0;
};

void rms_norm(Type type, Rows out, float* inv_rms, Rows x, const void* weight, std::int64_t rows,
              std::int64_t n, float eps, NormKind kind, cudaStream_t stream);
void rms_norm_backward(Type type, Rows grad, Rows residual, Rows x, const float* inv_rms,
                       const void* weight, std::int64_t rows, std::int64_t n, bool keep_output,
                       NormKind kind, cudaStream_t stream);

// Rows of `groups` groups of n.
void group_norm(Type type, Rows out, Rows x, const void* weight, std::int64_t rows,
                std::int64_t groups, std::int64_t n, float eps, NormKind kind, cudaStream_t stream);
void group_norm_backward(Type type, Rows x, Rows grad, const void* weight, std::int64_t rows,
                         std::int64_t groups, std::int64_t n, float eps, NormKind kind,
                         cudaStream_t stream);

// Heads of `head_dim` elements of which the first 2 half are turned.
struct HeadShape {
  std::int64_t head_dim = 0;
  std::int64_t half = 0;
  bool interleaved = false;
};
void rotate(Type type, Rows x, const float* cos, const float* sin, std::int64_t tokens,
            std::int64_t heads, HeadShape shape, cudaStream_t stream);

// Gradients of queries, keys and values, each contiguous [tokens, its heads, head_dim].
struct HeadGradients {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
};
void gather_rotated_back(Type type, Rows out, const HeadGradients& gradients, const float* cos,
                         const float* sin, std::int64_t tokens, HeadShape shape,
                         cudaStream_t stream);

void glu(Type type, Activation activation, Rows out, Rows gate, Rows up, std::int64_t rows,
         std::int64_t n, cudaStream_t stream);
void glu_backward(Type type, Activation activation, Rows gate, Rows up, Rows grad,
                  std::int64_t rows, std::int64_t n, bool keep_output, cudaStream_t stream);

void scale_columns(Type type, Rows out, Rows y, const float* factor, std::int64_t rows,
                   std::int64_t n, cudaStream_t stream);
// `partial` has room for kScaleColumnsParts rows of n.
constexpr int kScaleColumnsParts = 32;
void scale_columns_backward(Type type, Rows dy, float* grad_factor, float* partial, Rows grad,
                            Rows y, const float* factor, std::int64_t rows, std::int64_t n,
                            cudaStream_t stream);

// `table` [vocab, n] is dense, of `type` or fp32.
void embedding(Type type, Rows out, Type table_type, const void* table, const std::int64_t* ids,
               std::int64_t rows, std::int64_t n, cudaStream_t stream);
// `sorted` are the ids in rising order, `order` where each of them stood.
void embedding_backward(Type type, float* grad_table, Rows grad, const std::int64_t* sorted,
                        const std::int64_t* order, std::int64_t rows, std::int64_t n,
                        cudaStream_t stream);

// The tokens of which an entropy is taken.
constexpr int kLikeliest = 20;
void cross_entropy(Type type, float* loss, Rows logits, const std::int64_t* targets,
                   std::int64_t rows, std::int64_t vocab, const float* scale, float soft_cap,
                   float entropy_power, cudaStream_t stream);

// What every value of a packed weight is rounded to.
enum class Values { kFloat, kBFloat16, kHalf };
struct PackedRows {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t columns = 0;
  Values values = Values::kFloat;
};
// TableCodes and TileCodes of corda/kernels/packed_weight.h as pointers, for kernels.
struct Table {
  const std::uint8_t* codes = nullptr;
  const float* table = nullptr;
  const float* absmax = nullptr;  // null where nested
  std::int64_t block = 0;
  const std::uint8_t* nested_codes = nullptr;
  const float* nested_table = nullptr;
  const float* nested_absmax = nullptr;
  std::int64_t nested_block = 0;
  float nested_offset = 0;
};
struct Tiles {
  const void* codes = nullptr;
  bool integers = false;  // int8, else float8 e4m3
  const float* scales = nullptr;
  std::int64_t block_rows = 0;
  std::int64_t block_columns = 0;
  float factor = 1;
};
void dequantise(Type type, Rows out, const Table& codes, const PackedRows& rows,
                cudaStream_t stream);
void dequantise(Type type, Rows out, const Tiles& codes, const PackedRows& rows,
                cudaStream_t stream);

// `rows` rows of `n` elements to rows at another stride.
void copy_rows(Type type, Rows to, Rows from, std::int64_t rows, std::int64_t n,
               cudaStream_t stream);

// The lower triangle of `from` [n, n] row by row.
void pack_lower(float* to, const float* from, std::int64_t n, cudaStream_t stream);

// x, times `factors` where they are not null, to float8 e4m3 [rows, n] with a scale a row.
void quantise_rows(Type type, void* codes, float* scales, Rows x, const float* factors,
                   std::int64_t rows, std::int64_t n, cudaStream_t stream);
// `to` [n, rows] becomes the transpose of `from` [rows, n]; elements are bytes.
void transpose_bytes(Rows to, Rows from, std::int64_t rows, std::int64_t n, cudaStream_t stream);
// d[i][j] = alpha row[i] column[j] d[i][j], plus `added` where it has data.
void scale_product(Type type, Rows d, const float* row, const float* column, float alpha,
                   Rows added, std::int64_t rows, std::int64_t n, cudaStream_t stream);

// Copies `elements` in rows of `n` from dense fp32 to rows at another stride. One block does
// kWindowBlockElements of them; `first_block` is the number of blocks of all windows before.
struct Window {
  const float* from = nullptr;
  void* to = nullptr;
  std::int64_t n = 0;
  std::int64_t stride = 0;
  std::int64_t elements = 0;
  std::int64_t first_block = 0;
  float scale = 1;
};
constexpr std::int64_t kWindowBlockElements = 8192;
// `windows` lies in device memory.
void copy_windows(Type type, const Window* windows, std::int64_t count, std::int64_t blocks,
                  cudaStream_t stream);

}  // namespace corda::kernels::cuda
