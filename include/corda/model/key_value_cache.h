// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Keys and values of sequences that grow while others end, in memory that all of them share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "corda/model/attention.h"
#include "corda/model/batch.h"

namespace corda::model {

// A pool of rows, one a token, given out in runs of blocks. A sequence's rows lie one behind the
// other, as attention reads them; one that has outgrown its run is moved.
class KeyValueCache {
 public:
  static constexpr std::int64_t kBlock = 64;  // rows

  // `rows` in all, rounded up to blocks; `options` are those of keys and values.
  KeyValueCache(const ModelDescription& model, std::int64_t rows, at::TensorOptions options);

  std::int64_t rows() const { return rows_; }
  // A sequence without tokens and with room for `room`; nothing where no run is that long.
  std::optional<std::int64_t> add(std::int64_t room);
  // Room for `room` tokens; false where there is none, and then nothing has changed.
  bool grow(std::int64_t sequence, std::int64_t room);
  void remove(std::int64_t sequence);
  // Forgets the tokens from `length` on.
  void cut(std::int64_t sequence, std::int64_t length);
  std::int64_t length(std::int64_t sequence) const { return runs_.at(sequence).used; }

  // Stores the batch's tokens behind those of the sequences, which attend to both.
  class Extend;

 private:
  struct Run {
    std::int64_t begin = 0;
    std::int64_t room = 0;
    std::int64_t used = 0;
  };
  // The first row of a gap between runs; `but` is a run that counts as gap, or -1.
  std::optional<std::int64_t> find_gap(std::int64_t room) const;

  std::int64_t rows_ = 0;
  std::int64_t next_ = 0;                          // number of the next sequence
  std::map<std::int64_t, Run> runs_;               // by sequence
  std::map<std::int64_t, std::int64_t> occupied_;  // first row -> row behind the last
  std::vector<at::Tensor> keys_;                   // a layer: [rows, kv_heads, d]
  std::vector<at::Tensor> values_;
};

// One pass of a batch whose sequence i goes on with the cached `sequences[i]`. Their room must
// suffice. The tokens count as stored once `done` is called, after the pass.
class KeyValueCache::Extend final : public Attention {
 public:
  Extend(KeyValueCache& cache, const Batch& batch, std::vector<std::int64_t> sequences);
  at::Tensor attend(std::int64_t layer, const AttentionRule& rule, const at::Tensor& q,
                    const at::Tensor& k, const at::Tensor& v) override;
  void done();

 private:
  KeyValueCache& cache_;
  std::vector<std::int64_t> sequences_;
  KeySpans spans_;
  at::Tensor rows_;  // [tokens], where the batch's tokens go
};

}  // namespace corda::model
