// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "calibrate/background_writer.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>

#include <memory>
#include <utility>

namespace corda::calibrate {

namespace {

struct HostBlock {
  covariance::BlockCovariances sites;
  std::shared_ptr<at::cuda::CUDAEvent> copied;  // none on the CPU
};

HostBlock to_host(const covariance::BlockCovariances& block) {
  HostBlock host{.sites = block, .copied = nullptr};
  for (auto& site : host.sites) {
    const at::Tensor& from = site.covariance;
    if (!from.is_cuda()) continue;
    at::Tensor to = at::empty(from.sizes(), from.options().device(at::kCPU).pinned_memory(true));
    site.covariance = to.copy_(from, /*non_blocking=*/true);
    if (!host.copied) host.copied = std::make_shared<at::cuda::CUDAEvent>();
  }
  if (host.copied) host.copied->record();
  return host;
}

}  // namespace

BackgroundWriter::~BackgroundWriter() {
  if (writing_.valid()) writing_.wait();
}

void BackgroundWriter::add(const covariance::BlockCovariances& block) {
  finish();
  writing_ = std::async(std::launch::async, [this, host = to_host(block)] {
    if (host.copied) host.copied->synchronize();
    for (const auto& site : host.sites)
      writer_.add(site.site.name, site.site.modules, site.tokens, site.covariance);
  });
}

void BackgroundWriter::finish() {
  if (writing_.valid()) std::exchange(writing_, {}).get();
}

}  // namespace corda::calibrate
