// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/sharded_parameters.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"

namespace corda::train {

namespace {

bool meet(std::int64_t begin, std::int64_t end, std::int64_t other, std::int64_t size) {
  return begin < other + size && other < end;
}

}  // namespace

ShardedParameters::ShardedParameters(dist::World& world, const model::ModelDescription& config)
    : world_(world),
      layout_(shard_layout(config, world.size())),
      tensors_(layout_.parts.size()),
      own_(layout_.parts.size()),
      gradients_(layout_.parts.size()) {}

void ShardedParameters::take(std::size_t part, const model::NamedTensors& tensors) {
  const ShardPart& described = layout_.parts[part];
  if (tensors.size() != described.places.size())
    throw core::InternalError("[train::ShardedParameters] a part with other tensors");
  const at::NoGradGuard no_grad;
  const at::TensorOptions fp32 = tensors.front().second->options().dtype(at::kFloat);
  const at::Tensor whole = at::zeros({described.elements}, fp32);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    const ShardPlace& place = described.places[i];
    if (name != place.name || tensor->sizes().vec() != place.sizes)
      throw core::InternalError(core::concat("[train::ShardedParameters] '", name, "' where '",
                                             place.name, "' was expected"));
    whole.narrow(0, place.begin, place.elements()).copy_(tensor->reshape({-1}));
    // The whole is let go now, not when all have come.
    tensor->set_(at::empty({0}, tensor->options()));
    tensors_[part].push_back(*tensor);
  }
  const std::int64_t piece = layout_.piece(part);
  own_[part] = whole.narrow(0, piece * world_.rank(), piece).clone();
  gradients_[part] = at::zeros_like(own_[part]);
}

void ShardedParameters::open() {
  const at::TensorOptions fp32 = own_.front().options();
  room_ = at::zeros({layout_.room}, fp32);
  received_ = at::empty({layout_.largest_piece()}, fp32);
  for (std::size_t part = 0; part < own_.size(); ++part) {
    own_[part].set_requires_grad(true);
    const at::Tensor gradients = gradients_of(part);
    for (std::size_t i = 0; i < tensors_[part].size(); ++i) {
      const ShardPlace& place = layout_.parts[part].places[i];
      at::Tensor& tensor = tensors_[part][i];
      tensor.set_(room_.storage(), layout_.parts[part].weights + place.begin, place.sizes);
      tensor.set_requires_grad(true);
      tensor.mutable_grad() = gradients.narrow(0, place.begin, place.elements()).view(place.sizes);
    }
  }
  clear_gradients();
}

std::vector<std::pair<std::string, at::Tensor>> ShardedParameters::pieces() const {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (std::size_t part = 0; part < own_.size(); ++part)
    result.emplace_back(layout_.parts[part].name, own_[part]);
  return result;
}

at::Tensor ShardedParameters::weights_of(std::size_t part) const {
  return room_.narrow(0, layout_.parts[part].weights, layout_.parts[part].elements);
}

at::Tensor ShardedParameters::gradients_of(std::size_t part) const {
  return room_.narrow(0, layout_.parts[part].gradients, layout_.parts[part].elements);
}

void ShardedParameters::vacate(std::int64_t begin, std::int64_t end) {
  std::erase_if(whole_, [&](const Whole& whole) {
    const ShardPart& part = layout_.parts[whole.part];
    if (!meet(begin, end, part.weights, part.elements)) return false;
    if (whole.pending) whole.pending->wait();
    return true;
  });
  if (!scattered_) return;
  const ShardPart& part = layout_.parts[scattered_->part];
  if (meet(begin, end, part.gradients, part.elements)) finish_gradients();
}

void ShardedParameters::forget() { vacate(0, layout_.room); }

void ShardedParameters::begin(std::size_t part) {
  if (std::ranges::any_of(whole_, [&](const Whole& whole) { return whole.part == part; })) return;
  const ShardPart& described = layout_.parts[part];
  vacate(described.weights, described.weights + described.elements);
  whole_.push_back({part, world_.begin_gather(weights_of(part), own_[part].detach())});
}

void ShardedParameters::bring(std::size_t part) {
  begin(part);
  for (Whole& whole : whole_) {
    if (whole.part != part || !whole.pending) continue;
    whole.pending->wait();
    whole.pending.reset();
  }
}

void ShardedParameters::clear_gradients() {
  for (std::size_t part = 0; part < own_.size(); ++part) {
    gradients_[part].zero_();
    own_[part].mutable_grad() = gradients_[part];
  }
}

void ShardedParameters::open_gradients(std::size_t part) {
  const ShardPart& described = layout_.parts[part];
  vacate(described.gradients, described.gradients + described.elements);
  gradients_of(part).zero_();
}

void ShardedParameters::close_gradients(std::size_t part) {
  finish_gradients();
  const at::Tensor piece = received_.narrow(0, 0, layout_.piece(part));
  scattered_ = Scattered{part, world_.begin_scatter_sum(piece, gradients_of(part))};
}

void ShardedParameters::finish_gradients() {
  if (!scattered_) return;
  const at::NoGradGuard no_grad;
  scattered_->pending->wait();
  const std::size_t part = scattered_->part;
  gradients_[part].add_(received_.narrow(0, 0, layout_.piece(part)));
  scattered_.reset();
}

at::Tensor ShardedParameters::gathered(std::size_t part, const at::Tensor& piece) {
  const at::Tensor whole = room_of(part);
  world_.begin_gather(whole, piece.detach())->wait();
  return whole;
}

at::Tensor ShardedParameters::room_of(std::size_t part) {
  const ShardPart& described = layout_.parts[part];
  vacate(described.weights, described.weights + described.elements);
  return weights_of(part);
}

void ShardedParameters::spread(std::size_t part, const at::Tensor& piece) {
  const at::NoGradGuard no_grad;
  const at::Tensor whole = room_of(part);
  world_.broadcast(whole, 0);
  piece.detach().copy_(whole.narrow(0, piece.numel() * world_.rank(), piece.numel()));
}

std::int64_t ShardedParameters::bytes() const {
  std::int64_t bytes = 0;
  for (const auto* tensors : {&own_, &gradients_})
    for (const at::Tensor& tensor : *tensors) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes + static_cast<std::int64_t>(room_.nbytes() + received_.nbytes());
}

}  // namespace corda::train
