// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Ranks over torch's process groups: Gloo for tensors in host memory, NCCL for those on GPUs.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/util/Logging.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <set>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "corda/core/environment.h"
#include "corda/core/text.h"
#include "corda/dist/world.h"
#include "corda/linalg/device.h"
#include "dist/board.h"
#include "dist/rendezvous.h"

namespace corda::dist {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

// Multiprocessors that a sum may take from the backward beside it. On two H200 at 7B shape, r 128,
// 4 x 2048: NCCL's own choice 96.9 % of twice the speed of one, 8 97.3 %, 4 97.4 %; at 1B shape, 8
// x 512: 95.6, 95.7, 94.5 %.
constexpr int kSumBlocks = 8;

std::chrono::milliseconds milliseconds(Seconds seconds) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(seconds);
}

// Counts device files: asking CUDA would make it open every GPU of the machine.
int gpus_of_machine() {
  int count = 0;
  std::error_code ignored;
  while (std::filesystem::exists(concat("/dev/nvidia", count), ignored)) ++count;
  return count;
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

// Asks `is_done`, which may take as long as it is told to, until it says so. Throws where another
// rank has failed or the limit is over.
template <typename IsDone>
void wait_until(IsDone is_done, Watcher& watcher, Seconds limit) {
  const auto begin = Clock::now();
  auto pause = std::chrono::microseconds(20);
  while (!is_done(pause)) {
    pause = std::min(2 * pause, std::chrono::microseconds(1000));
    watcher.check();
    if (Clock::now() - begin > limit) {
      throw core::ResourceError(concat("another rank did not come to a common call within ",
                                       limit.count(), " s, though it lives"));
    }
  }
}

// Works of a process group, of which one fails where a peer is gone.
class Works final : public Pending {
 public:
  Works(std::vector<at::Tensor> tensors, std::vector<c10::intrusive_ptr<c10d::Work>> works,
        Watcher& watcher, Seconds limit)
      : tensors_(std::move(tensors)), works_(std::move(works)), watcher_(watcher), limit_(limit) {}

  void wait() override {
    const Watcher::Waiting waiting(watcher_);
    try {
      for (const auto& work : works_) {
        // The library's own wait on the host cannot be broken off where a peer only fell silent.
        if (!tensors_.front().is_cuda()) wait_on_host(*work);
        work->wait();
      }
    } catch (const core::Error&) {
      throw;
    } catch (const std::exception& error) {
      watcher_.explain(
          concat("the connection to another rank broke (", core::first_line(error.what()), ")"));
    }
    watcher_.check();
    tensors_.clear();
  }

 private:
  void wait_on_host(c10d::Work& work) const {
    wait_until(
        [&](auto pause) {
          if (work.isCompleted()) return true;
          std::this_thread::sleep_for(pause);
          return work.isCompleted();
        },
        watcher_, limit_);
  }

  std::vector<at::Tensor> tensors_;
  std::vector<c10::intrusive_ptr<c10d::Work>> works_;
  Watcher& watcher_;
  Seconds limit_;
};

// Waits for sends and receipts of Gloo, which do not tell whether they are done: another thread
// waits for each.
void wait_for_passed(const std::vector<c10::intrusive_ptr<c10d::Work>>& works, Watcher& watcher,
                     Seconds limit) {
  const Watcher::Waiting waiting(watcher);
  auto done = std::async(std::launch::async, [&works] {
    for (const auto& work : works) work->wait();
  });
  try {
    wait_until([&](auto pause) { return done.wait_for(pause) == std::future_status::ready; },
               watcher, limit);
  } catch (...) {
    for (const auto& work : works) work->abort();  // or the thread would wait for ever
    throw;
  }
  try {
    done.get();
  } catch (const std::exception& error) {
    watcher.explain(
        concat("the connection to another rank broke (", core::first_line(error.what()), ")"));
  }
}

// A sum of which this rank wants a piece: Gloo sums whole tensors alone.
class PieceOfSum final : public Pending {
 public:
  PieceOfSum(std::unique_ptr<Pending> sum, at::Tensor piece, at::Tensor from)
      : sum_(std::move(sum)), piece_(std::move(piece)), from_(std::move(from)) {}
  void wait() override {
    sum_->wait();
    const at::NoGradGuard no_grad;
    piece_.copy_(from_);
  }

 private:
  std::unique_ptr<Pending> sum_;
  at::Tensor piece_;
  at::Tensor from_;
};

class Processes final : public World {
 public:
  // `driver`: CUDA's start.
  Processes(const Launch& launch, Place place, const Limits& limits, std::future<void> driver)
      : driver_(std::move(driver)),
        launch_(launch),
        limits_(limits),
        place_(std::move(place)),
        store_(store_of(place_, "texts")),
        watcher_(store_of(place_, kLife), store_of(place_, kLife), rank(), size(), limits_) {}

  // Waits until all ranks have come. Where it throws it has told the others before.
  void greet(const core::Reporter& reporter) {
    try {
      const auto hosts = hosts_of_all(reporter);
      for (int other = 0; other < size(); ++other) {
        if (hosts[static_cast<std::size_t>(other)] != host_name()) continue;
        if (local_size_ == 0) first_of_machine_ = other;
        if (other < rank()) ++local_place_;
        ++local_size_;
      }
      local_rank_ = local_place_;
      if (launch_.local_rank) local_rank_ = *launch_.local_rank;
      watcher_.judge();
      make_gloo();
      watcher_.on_failure([this] { abort(); });
    } catch (const core::Error& error) {
      fail(error);
      linger();
      throw;
    }
  }

  ~Processes() override {
    if (nccl_made_.valid()) nccl_made_.wait();
    if (!watcher_.failure()) leave_together();
    watcher_.leave();
    if (machine_nccl_ && !watcher_.failure()) machine_nccl_->shutdown();
    if (nccl_ && !watcher_.failure()) nccl_->shutdown();
    remove_file();
  }

  int rank() const override { return launch_.rank; }
  int size() const override { return launch_.size; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  int local_place() const override { return local_place_; }

  at::Device device_of(const std::string& name) override;

  void connect() override {
    if (!device_.is_cuda() || connects_) return;
    connects_ = true;
    nccl_made_ = std::async(std::launch::async, [this, device = device_] { make_nccl(device); });
  }

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
    return std::make_unique<Works>(std::move(tensors), std::move(works), watcher_, limits_.wait);
  }

  std::unique_ptr<Pending> begin_local_gather(const at::Tensor& all,
                                              const at::Tensor& piece) override {
    return gather_in([&]() -> c10d::Backend& { return machine_group(all.device()); }, all, piece);
  }

  std::unique_ptr<Pending> begin_gather(const at::Tensor& all, const at::Tensor& piece) override {
    return gather_in([&]() -> c10d::Backend& { return group(all.device()); }, all, piece);
  }

  std::unique_ptr<Pending> begin_scatter_sum(const at::Tensor& piece,
                                             const at::Tensor& all) override {
    if (!all.is_cuda()) {
      const std::int64_t size = piece.numel();
      return std::make_unique<PieceOfSum>(begin_sum({all}), piece,
                                          all.narrow(0, rank() * size, size));
    }
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    call([&] {
      at::Tensor own = piece;
      at::Tensor summed = all;
      works.push_back(nccl()._reduce_scatter_base(own, summed));
    });
    return std::make_unique<Works>(std::vector<at::Tensor>{all, piece}, std::move(works), watcher_,
                                   limits_.wait);
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

  void pass(const std::vector<at::Tensor>& tensors, int from, int to) override {
    if (rank() != from && rank() != to)
      throw core::InternalError("[dist::World] a pass between two other ranks");
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    call([&] {
      for (const at::Tensor& tensor : tensors) {
        std::vector<at::Tensor> one{tensor};
        works.push_back(rank() == from ? gloo_->send(one, to, /*tag=*/0)
                                       : gloo_->recv(one, from, /*tag=*/0));
      }
    });
    wait_for_passed(works, watcher_, limits_.wait);
  }

  std::vector<std::string> gather(const std::string& text) override {
    return gather(text, limits_.wait);
  }

  // Over the connection of the texts: for a new one the server may ask for the name of this
  // machine, and while that is not answered it answers nobody.
  std::unique_ptr<Board> board() override {
    return board_in(c10::make_intrusive<c10d::PrefixStore>(concat("board-", boards_++), store_),
                    watcher_);
  }

  void check() override { watcher_.check(); }

  bool fail(const core::Error& error) override {
    // The message goes out on another thread: a place that does not answer must not hold up the
    // end.
    std::packaged_task<Failure()> task(
        [this, code = static_cast<int>(error.code()), text = std::string(error.what())] {
          return watcher_.publish(code, text);
        });
    std::future<Failure> first = task.get_future();
    std::thread(std::move(task)).detach();
    bool told = false;
    try {
      if (first.wait_for(std::chrono::seconds(3)) == std::future_status::ready) {
        const Failure known = first.get();
        told = !known.gone && known.rank != rank() && known.message == error.what();
      }
    } catch (const std::exception&) {  // the others are gone
    }
    remove_file();
    return !told;
  }

  void linger() override {
    if (place_.is_ours) std::this_thread::sleep_for(2 * std::min(Seconds(1), limits_.silence));
  }

 private:
  void remove_file() const {
    if (rank() != 0 || launch_.file.empty()) return;
    std::error_code ignored;
    std::filesystem::remove(launch_.file, ignored);
  }

  // Ranks of a process group: all, or those of this machine.
  struct Members {
    std::string name;  // of its place in the store
    int rank = 0;
    int size = 1;
  };
  Members everyone() const { return {"all", rank(), size()}; }
  Members of_machine() const {
    return {concat("machine-", first_of_machine_), local_place_, local_size_};
  }

  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_of(const Members& members) {
    const auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(limits_.wait));
    const std::string interface = core::environment_variable("GLOO_SOCKET_IFNAME").value_or("");
    const bool one_machine = local_size_ == members.size;
    const std::string own = one_machine ? kLoopback : own_address_towards(place_.address);
    if (!interface.empty()) {
      options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface));
    } else {
      options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(
          own.empty() || (!one_machine && own == kLoopback) ? host_name() : own));
    }
    return c10::make_intrusive<c10d::ProcessGroupGloo>(
        store_of(place_, ("gloo-" + members.name).c_str()), members.rank, members.size, options);
  }

  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_of(const Members& members, at::Device device) {
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
    options->timeout = milliseconds(limits_.wait);
    options->config.maxCTAs = kSumBlocks;
    const c10::cuda::CUDAGuard guard(device);
    auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        store_of(place_, ("nccl-" + members.name).c_str()), members.rank, members.size,
        std::move(options));
    group->setBoundDeviceId(device);
    group->eagerConnectSingleDevice(device);
    return group;
  }

  void make_gloo() {
    call([&] { gloo_ = gloo_of(everyone()); });
  }

  void make_nccl(at::Device device) {
    call([&] {
      const std::lock_guard lock(nccl_mutex_);
      nccl_ = nccl_of(everyone(), device);
    });
  }

  c10d::ProcessGroupNCCL& nccl() {
    connect();
    if (nccl_made_.valid()) {
      const Watcher::Waiting waiting(watcher_);
      nccl_made_.get();
    }
    if (!nccl_) throw core::InternalError("[dist::World] a tensor on a GPU before device_of");
    return *nccl_;
  }

  // The group of this machine's ranks; its own one, so that what it does need not wait for sums
  // over all ranks.
  c10d::Backend& machine_group(at::Device device) {
    if (device.is_cuda()) {
      const std::lock_guard lock(nccl_mutex_);
      if (!machine_nccl_) machine_nccl_ = nccl_of(of_machine(), device);
      return *machine_nccl_;
    }
    if (!machine_gloo_) machine_gloo_ = gloo_of(of_machine());
    return *machine_gloo_;
  }

  // The group of all ranks.
  c10d::Backend& group(at::Device device) {
    return device.is_cuda() ? static_cast<c10d::Backend&>(nccl())
                            : static_cast<c10d::Backend&>(*gloo_);
  }

  // `group`: a call that gives the process group, and may wait for the others too.
  template <typename Group>
  std::unique_ptr<Pending> gather_in(Group group, const at::Tensor& all, const at::Tensor& piece) {
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    call([&] {
      at::Tensor gathered = all;
      at::Tensor own = piece;
      works.push_back(group()._allgather_base(gathered, own));
    });
    return std::make_unique<Works>(std::vector<at::Tensor>{all, piece}, std::move(works), watcher_,
                                   limits_.wait);
  }

  // A call into a process group, which may wait for the others.
  template <typename Call>
  void call(Call what) {
    watcher_.check();
    const Watcher::Waiting waiting(watcher_);
    try {
      what();
    } catch (const core::Error&) {
      throw;
    } catch (const std::exception& error) {
      watcher_.explain(concat("rank ", rank(), " of ", size(), " cannot reach the others (",
                              core::first_line(error.what()), ")"));
    }
  }

  template <typename Begin>
  void finish(const at::Tensor& tensor, Begin begin) {
    std::vector<at::Tensor> one{tensor};
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    call([&] { works.push_back(begin(group(tensor.device()), one)); });
    Works({tensor}, std::move(works), watcher_, limits_.wait).wait();
  }

  // Ends the calls that wait for ranks which will not come.
  void abort() {
    try {
      const std::lock_guard lock(nccl_mutex_);
      if (machine_nccl_) machine_nccl_->abort();
      if (nccl_) nccl_->abort();
    } catch (const std::exception&) {  // then the watcher ends the process
    }
  }

  std::vector<std::string> gather(const std::string& text, Seconds limit) {
    return ask_meeting_place(watcher_, [&] { return gather_unguarded(text, limit); });
  }

  std::vector<std::string> gather_unguarded(const std::string& text, Seconds limit) {
    const std::string name = concat(gathers_++);
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
    store_->set(concat(name, "/", rank()), text);
    if (rank() != 0) {
      const auto slack = std::chrono::seconds(5);  // rank 0 says who is missing
      const auto all = text_at(*store_, name, end + slack, watcher_, greeted_);
      if (!all)
        throw core::ResourceError(
            concat("rank 0 of ", size(), " did not come within ", limit.count(), " s"));
      return unpacked_texts(*all);
    }
    std::vector<std::string> all;
    std::vector<std::string> missing;
    for (int other = 0; other < size(); ++other) {
      const auto found = text_at(*store_, concat(name, "/", other), end, watcher_, greeted_);
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
    // Every rank has come to this gathering, so every rank has read the result of the one before.
    if (gathers_ > 1) store_->deleteKey(concat(gathers_ - 2));
    return all;
  }

  // The machines of all ranks, once all have come with the same version and command.
  std::vector<std::string> hosts_of_all(const core::Reporter& reporter) {
    greeted_ = &reporter;
    const auto all =
        gather(concat(CORDA_VERSION, "\n", launch_.command, "\n", host_name()), limits_.join);
    greeted_ = nullptr;
    const auto first = core::split(all.front(), '\n');
    std::vector<std::string> hosts;
    for (std::size_t other = 0; other < all.size(); ++other) {
      const auto parts = core::split(all[other], '\n');
      for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
        if (parts[i] == first[i]) continue;
        throw core::ConfigError(concat("rank ", other, " is ", i == 0 ? "corda " : "`", parts[i],
                                       i == 0 ? "" : "`", " and rank 0 is ", i == 0 ? "" : "`",
                                       first[i], i == 0 ? "" : "`", "; start all ranks alike"));
      }
      hosts.push_back(parts[2]);
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

  std::future<void> driver_;  // CUDA's start; calls of CUDA wait for its end by themselves
  Launch launch_;
  Limits limits_;
  Place place_;
  StorePtr store_;
  std::int64_t gathers_ = 0;
  std::int64_t boards_ = 0;
  const core::Reporter* greeted_ = nullptr;  // while the ranks come
  int local_rank_ = 0;
  int local_place_ = 0;
  int local_size_ = 0;
  int first_of_machine_ = 0;
  Watcher watcher_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> machine_gloo_;
  std::mutex nccl_mutex_;  // guards the pointers
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> machine_nccl_;
  std::future<void> nccl_made_;   // waited for when NCCL is first asked for
  bool connects_ = false;         // `connect` was called
  at::Device device_ = at::kCPU;  // of device_of
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
  device_ = device;
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
  if (device.is_cuda()) c10::cuda::set_device(device.index());
  return device;
}

class LocalPlace final : public MeetingPlace {
 public:
  explicit LocalPlace(int size) : size_(size), place_(open_place()) {}
  int port() const override { return place_.store->getPort(); }
  void report_gone(int rank, const std::string& how) override {
    publish_gone(*store_of(place_, kLife), rank, size_,
                 concat(how, "; look at its own log, then continue from the last checkpoint"));
  }

 private:
  int size_;
  Place place_;
};

}  // namespace

std::unique_ptr<World> join(const Launch& launch, const core::Reporter& reporter) {
  if (const auto gpu =
          own_gpu(launch, core::environment_variable("CUDA_VISIBLE_DEVICES"), gpus_of_machine()))
    ::setenv("CUDA_VISIBLE_DEVICES", gpu->c_str(), /*overwrite=*/1);
  // The library would print traces of its own before our sentence.
  ::setenv("TORCH_CPP_LOG_LEVEL", "FATAL", /*overwrite=*/0);
  c10::initLogging();
  // CUDA's driver starts, which takes a third of a second, while the ranks come together: behind
  // all changes of the environment, which it reads.
  auto driver = std::async(std::launch::async, [] { c10::cuda::device_count(); });
  const Limits limits = limits_of_environment();
  auto world = std::make_unique<Processes>(launch, come_together(launch, limits, reporter), limits,
                                           std::move(driver));
  try {
    world->greet(reporter);
  } catch (const std::exception&) {
    // Its end would wait for ranks that may never come; the process ends with this error.
    static_cast<void>(world.release());
    throw;
  }
  return world;
}

std::unique_ptr<MeetingPlace> open_meeting_place(int size) {
  return std::make_unique<LocalPlace>(size);
}

}  // namespace corda::dist
