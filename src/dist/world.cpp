// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/dist/world.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "corda/core/text.h"
#include "corda/linalg/device.h"

namespace corda::dist {

namespace {

class NothingPending final : public Pending {
 public:
  void wait() override {}
};

class OwnBoard final : public Board {
 public:
  std::int64_t next() override {
    const std::lock_guard lock(mutex_);
    return next_++;
  }
  void post(const std::string& text) override {
    const std::lock_guard lock(mutex_);
    texts_.push_back(text);
  }
  std::optional<std::string> read(std::int64_t place) override {
    const std::lock_guard lock(mutex_);
    if (place >= static_cast<std::int64_t>(texts_.size())) return std::nullopt;
    return texts_[static_cast<std::size_t>(place)];
  }

 private:
  std::mutex mutex_;
  std::int64_t next_ = 0;
  std::vector<std::string> texts_;
};

class Alone final : public World {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_rank() const override { return 0; }
  int local_size() const override { return 1; }
  at::Device device_of(const std::string& name) override { return linalg::device_of(name); }
  void connect() override {}
  std::unique_ptr<Pending> begin_sum(std::vector<at::Tensor> /*tensors*/) override {
    return std::make_unique<NothingPending>();
  }
  std::unique_ptr<Pending> begin_local_gather(const at::Tensor& all,
                                              const at::Tensor& piece) override {
    return begin_gather(all, piece);
  }
  std::unique_ptr<Pending> begin_gather(const at::Tensor& all, const at::Tensor& piece) override {
    all.copy_(piece);
    return std::make_unique<NothingPending>();
  }
  std::unique_ptr<Pending> begin_scatter_sum(const at::Tensor& piece,
                                             const at::Tensor& all) override {
    piece.copy_(all);
    return std::make_unique<NothingPending>();
  }
  void sum_to(const at::Tensor& /*tensor*/, int /*root*/) override {}
  void broadcast(const at::Tensor& /*tensor*/, int /*root*/) override {}
  void pass(const std::vector<at::Tensor>& /*tensors*/, int /*from*/, int /*to*/) override {}
  std::vector<std::string> gather(const std::string& text) override { return {text}; }
  std::unique_ptr<Board> board() override { return std::make_unique<OwnBoard>(); }
  void check() override {}
  bool fail(const core::Error& /*error*/) override { return true; }
  void linger() override {}
};

}  // namespace

World& alone() {
  static Alone world;
  return world;
}

std::int64_t World::threads(std::int64_t asked) const {
  if (asked > 0 || local_size() == 1) return asked;
  const auto cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
  return std::max<std::int64_t>(1, cores / local_size());
}

bool World::any(bool value) {
  if (is_alone()) return value;
  const auto all = gather(value ? "1" : "");
  return std::any_of(all.begin(), all.end(), [](const auto& text) { return !text.empty(); });
}

void require_same_job(World& world, const core::ConfigNode& job) {
  const auto all = world.gather(core::to_yaml(job));
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all.front()) continue;
    const auto differences = core::differences(core::parse_yaml(all.front(), "rank 0"),
                                               core::parse_yaml(all[rank], "another rank"));
    throw core::ConfigError(core::concat("rank ", rank,
                                         " has other settings, another model or other data than "
                                         "rank 0: ",
                                         core::join(differences, ", "),
                                         "; give all ranks the same"));
  }
}

std::vector<std::string> shared_names(World& world, const std::vector<std::string>& names) {
  const std::string text = world.shared(core::join(names, "\n"));
  if (text.empty()) return {};
  return core::split(text, '\n');
}

}  // namespace corda::dist
