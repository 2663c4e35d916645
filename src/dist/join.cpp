// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Ranks over torch's process groups: Gloo for tensors in host memory, NCCL for those on GPUs.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <arpa/inet.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/dist/world.h"
#include "corda/linalg/device.h"
#include "dist/meeting.h"

namespace corda::dist {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* kLoopback = "127.0.0.1";
// Multiprocessors that a sum may take from the backward beside it. On two H200 at 7B shape, r 128, 4
// x 2048: NCCL's own choice 96.9 % of twice the speed of one, 8 97.3 %, 4 97.4 %; at 1B shape, 8 x
// 512: 95.6, 95.7, 94.5 %.
constexpr int kSumBlocks = 8;
constexpr const char* kLife = "life";  // of the watchers
// Launch::start of ranks that `open_meeting_place` is for.
constexpr const char* kHostedStart = "/0";

StorePtr prefixed(StorePtr store, const std::string& start, const char* what) {
  return c10::make_intrusive<c10d::PrefixStore>(concat("corda/", start, "/", what),
                                                std::move(store));
}

std::chrono::milliseconds milliseconds(Seconds seconds) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(seconds);
}

c10d::TCPStoreOptions options_at(int port, Seconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.waitWorkers = false;
  options.timeout = milliseconds(timeout);
  return options;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

// Without asking CUDA, which would then know all of them.
int gpus_of_machine() {
  int count = 0;
  std::error_code ignored;
  while (std::filesystem::exists(concat("/dev/nvidia", count), ignored)) ++count;
  return count;
}

// Where the ranks meet, and in whose hands.
struct Place {
  c10::intrusive_ptr<c10d::TCPStore> store;
  std::string address;
  bool is_ours = false;  // the server ends with this process
};

Place listen(const std::string& address, int port, Seconds limit) {
  c10d::TCPStoreOptions options = options_at(port, limit);
  options.isServer = true;
  return {c10::make_intrusive<c10d::TCPStore>(address, options), address, true};
}

Place connect(const std::string& address, int port, Seconds limit) {
  return {c10::make_intrusive<c10d::TCPStore>(address, options_at(port, limit)), address, false};
}

// Rank 0 writes its port into the file; the others read it as soon as it is there.
Place meet_by_file(const Launch& launch, const Limits& limits) {
  if (launch.rank == 0) {
    Place place = listen(kLoopback, 0, limits.join);
    core::write_file_atomic(launch.file, concat(place.store->getPort()));
    return place;
  }
  const auto end = Clock::now() + limits.join;
  while (true) {
    std::error_code ignored;
    if (std::filesystem::exists(launch.file, ignored)) {
      const auto port = core::parse_int(core::trim(core::read_file(launch.file)));
      try {  // a file that an earlier job left names a port where nobody listens
        if (port) return connect(kLoopback, static_cast<int>(*port), Seconds(2));
      } catch (const std::exception&) {
        if (Clock::now() >= end) throw;
      }
    }
    if (Clock::now() >= end) throw std::runtime_error(concat("no file '", launch.file, "' came"));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

Place meet(const Launch& launch, const Limits& limits) {
  try {
    if (launch.address.empty()) return meet_by_file(launch, limits);
    if (launch.rank == 0 && !launch.hosted) return listen(launch.address, launch.port, limits.join);
    return connect(launch.address, launch.port, limits.join);
  } catch (const std::exception& error) {
    const std::string where = launch.address.empty() ? concat("'", launch.file, "'")
                                                     : concat(launch.address, ":", launch.port);
    throw core::ResourceError(concat(
        "rank ", launch.rank, " of ", launch.size, " (", launch.launcher, "): ",
        launch.rank == 0 && !launch.hosted ? "cannot listen at " : "cannot reach rank 0 at ", where,
        "; MASTER_ADDR and MASTER_PORT must name the machine of rank 0 and a free port there, "
        "which "
        "every machine can reach (",
        core::first_line(error.what()), ")"));
  }
}

// The address of this machine that packets to `address` leave from.
std::string own_address_towards(const std::string& address) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), "9", &hints, &found) != 0) return "";
  std::string own;
  const int descriptor = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  if (descriptor >= 0 && ::connect(descriptor, found->ai_addr, found->ai_addrlen) == 0 &&
      ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size) == 0) {
    std::array<char, INET_ADDRSTRLEN> text{};
    if (::inet_ntop(AF_INET, &name.sin_addr, text.data(), text.size()) != nullptr)
      own = text.data();
  }
  if (descriptor >= 0) ::close(descriptor);
  ::freeaddrinfo(found);
  return own;
}

std::string packed_texts(const std::vector<std::string>& texts) {
  std::string result;
  for (const auto& text : texts) result += concat(text.size(), "\n", text);
  return result;
}

std::vector<std::string> unpacked_texts(const std::string& packed) {
  std::vector<std::string> result;
  for (std::size_t at = 0; at < packed.size();) {
    const std::size_t end = packed.find('\n', at);
    const auto size = core::parse_int(packed.substr(at, end - at));
    if (end == std::string::npos || !size)
      throw core::InternalError("[dist::gather] texts of other ranks are damaged");
    result.push_back(packed.substr(end + 1, static_cast<std::size_t>(*size)));
    at = end + 1 + static_cast<std::size_t>(*size);
  }
  return result;
}

// Works of a process group, of which one fails where a peer is gone.
class Works final : public Pending {
 public:
  Works(std::vector<at::Tensor> tensors, std::vector<c10::intrusive_ptr<c10d::Work>> works,
        Watcher& watcher)
      : tensors_(std::move(tensors)), works_(std::move(works)), watcher_(watcher) {}

  void wait() override {
    const Watcher::Waiting waiting(watcher_);
    try {
      for (const auto& work : works_) work->wait();
    } catch (const std::exception& error) {
      watcher_.explain(
          concat("the connection to another rank broke (", core::first_line(error.what()), ")"));
    }
    watcher_.check();
    tensors_.clear();
  }

 private:
  std::vector<at::Tensor> tensors_;
  std::vector<c10::intrusive_ptr<c10d::Work>> works_;
  Watcher& watcher_;
};

class Processes final : public World {
 public:
  Processes(const Launch& launch, Place place, const Limits& limits, const core::Reporter& reporter)
      : launch_(launch),
        limits_(limits),
        place_(std::move(place)),
        store_(prefixed(place_.store, launch.start, "texts")) {
    const auto hosts = greet(reporter);
    watcher_.emplace(copy_of_store(kLife), rank(), size(), limits_);
    for (int other = 0; other < size(); ++other) {
      if (hosts[static_cast<std::size_t>(other)] != host_name()) continue;
      if (other < rank()) ++local_rank_;
      ++local_size_;
    }
    if (launch.local_rank) local_rank_ = *launch.local_rank;
    make_gloo();
    watcher_->on_failure([this] { abort(); });
  }

  ~Processes() override {
    if (!watcher_->failure()) leave_together();
    watcher_->stop();
    if (nccl_ && !watcher_->failure()) nccl_->shutdown();
    if (rank() == 0 && !launch_.file.empty()) {
      std::error_code ignored;
      std::filesystem::remove(launch_.file, ignored);
    }
  }

  int rank() const override { return launch_.rank; }
  int size() const override { return launch_.size; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }

  at::Device device_of(const std::string& name) override;

  std::unique_ptr<Pending> begin_sum(std::vector<at::Tensor> tensors) override {
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    call([&] {
      if (tensors.front().is_cuda()) {
        works.push_back(nccl().allreduce_coalesced(tensors));
        return;
      }
      for (const at::Tensor& tensor : tensors) {
        std::vector<at::Tensor> one{tensor};
        works.push_back(gloo_->allreduce(one));
      }
    });
    return std::make_unique<Works>(std::move(tensors), std::move(works), *watcher_);
  }

  void sum_to(const at::Tensor& tensor, int root) override {
    c10d::ReduceOptions options;
    options.rootRank = root;
    finish(tensor, [&](c10d::Backend& group, auto& one) { return group.reduce(one, options); });
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    c10d::BroadcastOptions options;
    options.rootRank = root;
    finish(tensor, [&](c10d::Backend& group, auto& one) { return group.broadcast(one, options); });
  }

  std::vector<std::string> gather(const std::string& text) override {
    return gather(text, limits_.wait);
  }

  void check() override { watcher_->check(); }

  bool fail(const core::Error& error) override {
    try {
      const Failure first = watcher_->publish(static_cast<int>(error.code()), error.what());
      const bool told = !first.gone && first.rank != rank() && first.message == error.what();
      // The server must live until the others have read it.
      if (place_.is_ours) std::this_thread::sleep_for(2 * std::min(Seconds(1), limits_.silence));
      return !told;
    } catch (const std::exception&) {  // the others are gone
      return true;
    }
  }

 private:
  // Over a connection of its own, so that no other call can hold it up.
  StorePtr copy_of_store(const char* what) const {
    return prefixed(place_.store->clone(), launch_.start, what);
  }

  void make_gloo() {
    const auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(limits_.wait));
    const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
    if (interface != nullptr && *interface != '\0') {
      options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface));
    } else {
      const bool one_machine = local_size_ == size();
      const std::string own = one_machine ? kLoopback : own_address_towards(place_.address);
      options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(
          own.empty() || (!one_machine && own == kLoopback) ? host_name() : own));
    }
    call([&] {
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(copy_of_store("gloo"), rank(), size(),
                                                          options);
    });
  }

  c10d::ProcessGroupNCCL& nccl() {
    if (!nccl_) throw core::InternalError("[dist::World] a tensor on a GPU before device_of");
    return *nccl_;
  }

  void make_nccl(at::Device device) {
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
    options->timeout = milliseconds(limits_.wait);
    options->config.maxCTAs = kSumBlocks;
    const c10::cuda::CUDAGuard guard(device);
    call([&] {
      nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(copy_of_store("nccl"), rank(), size(),
                                                          std::move(options));
      nccl_->setBoundDeviceId(device);
      nccl_->eagerConnectSingleDevice(device);
    });
  }

  // A call into a process group, which may wait for the others.
  template <typename Call>
  void call(Call what) {
    watcher_->check();
    const Watcher::Waiting waiting(*watcher_);
    try {
      what();
    } catch (const core::Error&) {
      throw;
    } catch (const std::exception& error) {
      watcher_->explain(concat("rank ", rank(), " of ", size(), " cannot reach the others (",
                               core::first_line(error.what()), ")"));
    }
  }

  template <typename Begin>
  void finish(const at::Tensor& tensor, Begin begin) {
    std::vector<at::Tensor> one{tensor};
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    call([&] {
      c10d::Backend& group = tensor.is_cuda() ? static_cast<c10d::Backend&>(nccl())
                                              : static_cast<c10d::Backend&>(*gloo_);
      works.push_back(begin(group, one));
    });
    Works({tensor}, std::move(works), *watcher_).wait();
  }

  // Ends what waits for ranks that will not come.
  void abort() {
    try {
      if (nccl_) nccl_->abort();
    } catch (const std::exception&) {  // then the watcher ends the process
    }
  }

  // The text at `key`, as soon as it is there; nothing after `limit`.
  std::optional<std::string> text_at(const std::string& key, Clock::time_point end) {
    auto pause = std::chrono::microseconds(200);
    while (true) {
      if (watcher_) watcher_->check();
      if (greeted_ != nullptr) core::throw_if_stopped(*greeted_, "waiting for the other ranks");
      if (store_->check({key})) return store_->get_to_str(key);
      if (Clock::now() >= end) return std::nullopt;
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, std::chrono::microseconds(20'000));
    }
  }

  std::vector<std::string> gather(const std::string& text, Seconds limit) {
    try {
      return gather_unguarded(text, limit);
    } catch (const core::Error&) {
      throw;
    } catch (const std::exception& error) {
      const std::string gone = concat("the place where the ranks meet is gone, so rank 0 is (",
                                      core::first_line(error.what()), ")");
      if (!watcher_) throw core::ResourceError(gone);
      watcher_->explain(gone);
    }
  }

  std::vector<std::string> gather_unguarded(const std::string& text, Seconds limit) {
    const std::string name = concat(gathers_++);
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
    store_->set(concat(name, "/", rank()), text);
    if (rank() != 0) {
      const auto slack = std::chrono::seconds(5);  // rank 0 says who is missing
      const auto all = text_at(name, end + slack);
      if (!all)
        throw core::ResourceError(
            concat("rank 0 of ", size(), " did not come within ", limit.count(), " s"));
      return unpacked_texts(*all);
    }
    std::vector<std::string> all;
    std::vector<std::string> missing;
    for (int other = 0; other < size(); ++other) {
      const auto found = text_at(concat(name, "/", other), end);
      if (!found) missing.push_back(concat(other));
      all.push_back(found.value_or(""));
    }
    if (!missing.empty()) {
      throw core::ResourceError(concat("of ", size(), " ranks these did not come within ",
                                       limit.count(), " s: ", core::listed(missing),
                                       "; look at their logs, and whether their machines reach "
                                       "that of rank 0"));
    }
    store_->set(name, packed_texts(all));
    for (int other = 0; other < size(); ++other) store_->deleteKey(concat(name, "/", other));
    // Everybody is here, so everybody has read the one before.
    if (gathers_ > 1) store_->deleteKey(concat(gathers_ - 2));
    return all;
  }

  // The machines of all ranks, once all have come with the same version of corda.
  std::vector<std::string> greet(const core::Reporter& reporter) {
    greeted_ = &reporter;
    const auto all = gather(concat(CORDA_VERSION, "\n", host_name()), limits_.join);
    greeted_ = nullptr;
    std::vector<std::string> hosts;
    for (std::size_t other = 0; other < all.size(); ++other) {
      const std::size_t end = all[other].find('\n');
      const std::string version = all[other].substr(0, end);
      if (version != CORDA_VERSION && rank() == 0) {
        throw core::ConfigError(concat("rank ", other, " is corda ", version, " and rank 0 is ",
                                       CORDA_VERSION, "; use the same on every machine"));
      }
      hosts.push_back(all[other].substr(end + 1));
    }
    return hosts;
  }

  // Nobody may go while others still need its connections.
  void leave_together() {
    try {
      barrier();
      if (!place_.is_ours) return;
      // The server must live until the others have read that all are here.
      store_->set(concat(gathers_, "/left"), "");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } catch (const std::exception&) {  // it is over anyway
    }
  }

  Launch launch_;
  Limits limits_;
  Place place_;
  StorePtr store_;
  std::int64_t gathers_ = 0;
  const core::Reporter* greeted_ = nullptr;  // while the ranks come
  int local_rank_ = 0;
  int local_size_ = 0;
  std::optional<Watcher> watcher_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_;
};

at::Device Processes::device_of(const std::string& name) {
  if (name.starts_with("cuda:")) {
    throw core::ConfigError(concat("'device' is ", name, ", and ", size(),
                                   " processes cannot all use that GPU; use auto or cuda, and "
                                   "choose GPUs with CUDA_VISIBLE_DEVICES"));
  }
  const int gpus = c10::cuda::device_count();
  std::string word = name;
  // A launcher may show each process its own GPU alone.
  if (name != "cpu" && gpus > 0) word = concat("cuda:", gpus == 1 ? 0 : local_rank_);
  if (name != "cpu" && gpus > 1 && local_rank_ >= gpus) {
    throw core::ResourceError(concat("rank ", rank(), " is process ", local_rank_,
                                     " of its machine "
                                     "(from 0), which has ",
                                     gpus, " usable GPUs; start one process a GPU"));
  }
  const at::Device device = linalg::device_of(word);
  std::string mine = "cpu";
  if (device.is_cuda()) {
    const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(device.index());
    mine = concat(host_name(), " bus ", properties.pciBusID, " domain ", properties.pciDomainID,
                  " device ", properties.pciDeviceID);
  }
  const auto all = gather(mine);
  std::set<std::string> seen;
  for (std::size_t other = 0; other < all.size(); ++other) {
    if ((all[other] == "cpu") != (all.front() == "cpu")) {
      throw core::ConfigError(concat("rank ", other, " would compute on ",
                                     all[other] == "cpu" ? "the CPU" : "a GPU", " and rank 0 on ",
                                     all.front() == "cpu" ? "the CPU" : "a GPU",
                                     "; give all ranks the same kind with device"));
    }
    if (all[other] != "cpu" && !seen.insert(all[other]).second) {
      throw core::ResourceError(concat("rank ", other, " has the same GPU as another rank (",
                                       all[other], "); start one process a GPU"));
    }
  }
  if (device.is_cuda() && !nccl_) {
    c10::cuda::set_device(device.index());
    make_nccl(device);
  }
  return device;
}

class LocalPlace final : public MeetingPlace {
 public:
  explicit LocalPlace(int size) : size_(size), place_(listen(kLoopback, 0, Limits().join)) {}
  int port() const override { return place_.store->getPort(); }
  void report_gone(int rank, const std::string& how) override {
    publish_gone(*prefixed(place_.store, kHostedStart, kLife), rank, size_,
                 concat(how, "; look at its own log, then continue from the last checkpoint"));
  }

 private:
  int size_;
  Place place_;
};

}  // namespace

std::unique_ptr<World> join(const Launch& launch, const core::Reporter& reporter) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const auto gpu =
      own_gpu(launch, visible == nullptr ? std::nullopt : std::optional<std::string>(visible),
              gpus_of_machine());
  if (gpu) ::setenv("CUDA_VISIBLE_DEVICES", gpu->c_str(), /*overwrite=*/1);
  const Limits limits = limits_of_environment();
  return std::make_unique<Processes>(launch, meet(launch, limits), limits, reporter);
}

std::unique_ptr<MeetingPlace> open_meeting_place(int size) {
  return std::make_unique<LocalPlace>(size);
}

}  // namespace corda::dist
