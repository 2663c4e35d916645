// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/copy_rows.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

void copy_rows(const at::Tensor& to, const at::Tensor& from) {
  check_rows("copy_rows", "what is copied", from, from.size(0), from.size(1), from);
  check_rows("copy_rows", "where it goes", to, from.size(0), from.size(1), from);
  if (!to.is_cuda()) {
    to.copy_(from);
    return;
  }
  const c10::cuda::CUDAGuard guard(to.device());
  cuda::copy_rows(type_of(to), rows_of(to), rows_of(from), from.size(0), from.size(1),
                  stream_of(to));
}

}  // namespace corda::kernels
