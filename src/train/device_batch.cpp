// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/device_batch.h"

namespace corda::train {

model::Batch to_device(const data::PackedBatch& packed, const model::Model& model) {
  return model::make_batch(packed.ids, packed.positions, packed.cu_seqlens, model.config.vocab_size,
                           model.device(), packed.target_rows, packed.target_ids);
}

}  // namespace corda::train
