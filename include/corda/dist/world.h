// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The processes that do one job together, one a GPU (or any number on a CPU), called ranks.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "corda/core/config_node.h"
#include "corda/core/error.h"
#include "corda/core/reporter.h"
#include "corda/dist/launch.h"

namespace corda::dist {

// A rank ends because another one failed or is gone; the code is that of the failure.
class PeerLost : public core::Error {
 public:
  using core::Error::Error;
};

// Sums, or gathers, that were begun; they go on beside what the caller does.
class Pending {
 public:
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  virtual ~Pending() = default;
  // Afterwards work on the tensors sees the result. On a GPU the current stream waits, not the
  // host.
  virtual void wait() = 0;
};

// What ranks share while each goes its own way: a counter, and a list of texts that grows. Any rank
// calls when it likes, from any thread; errors are those of World. The World must outlive it.
class Board {
 public:
  Board() = default;
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;
  virtual ~Board() = default;
  // 0, 1, 2 and so on: each number once, to the rank that asks next.
  virtual std::int64_t next() = 0;
  // Puts a text at the end of the list.
  virtual void post(const std::string& text) = 0;
  // The text at `place` of the list, from 0; nothing where it has not come yet.
  virtual std::optional<std::string> read(std::int64_t place) = 0;
};

// What a rank can do with the others. Every rank makes the same calls in the same order, but for
// `is_first` and the like. Tensors are contiguous, equal in size and type on every rank, and on the
// device of `device_of` where nothing else is said. A call that needs the others throws PeerLost,
// which names a rank that failed or has gone, or ResourceError once a time limit is over; no call
// waits for ever.
class World {
 public:
  World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  virtual ~World() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Ranks of this machine, and which of them this is: the launcher's number, and the number of
  // lower ranks, which is the place of a piece of `begin_local_gather`.
  virtual int local_rank() const = 0;
  virtual int local_size() const = 0;
  virtual int local_place() const { return local_rank(); }
  // Whether this is rank 0, which writes files and speaks for all.
  bool is_first() const { return rank() == 0; }
  bool is_alone() const { return size() == 1; }

  // The device that the word `name` (linalg::device_of) means for this rank: "auto" and "cuda" the
  // GPU of its place on the machine. Throws ConfigError for "cuda:N" where ranks share a machine,
  // ResourceError where there are fewer GPUs than ranks.
  virtual at::Device device_of(const std::string& name) = 0;
  // Begins to connect the GPUs of `device_of`, where it gave one. Meant for the start of a job that
  // sums on them: it takes about a second, which passes while the caller reads files, and the first
  // call on a tensor of a GPU waits for it. A job without such calls does without it.
  virtual void connect() = 0;

  // CPU threads for this rank where the user asked for `asked`; 0: its share of the machine's.
  std::int64_t threads(std::int64_t asked) const;

  // Sums in place, on every rank; the same bits on all of them.
  virtual std::unique_ptr<Pending> begin_sum(std::vector<at::Tensor> tensors) = 0;
  void sum(const at::Tensor& tensor) { begin_sum({tensor})->wait(); }
  // Puts the pieces [n] of the ranks of this machine one behind the other into `all` [n *
  // local_size()], on each of them, in the order of their ranks. Those of another machine are
  // another gather.
  virtual std::unique_ptr<Pending> begin_local_gather(const at::Tensor& all,
                                                      const at::Tensor& piece) = 0;
  // The same over all ranks: `all` [n * size()].
  virtual std::unique_ptr<Pending> begin_gather(const at::Tensor& all, const at::Tensor& piece) = 0;
  // Sums `all` [n * size()] over the ranks and gives each its piece [n] of the sum, in the order of
  // the ranks. What `all` holds afterwards is not said.
  virtual std::unique_ptr<Pending> begin_scatter_sum(const at::Tensor& piece,
                                                     const at::Tensor& all) = 0;
  // Sums into the tensor of `root`; those of the others are lost.
  virtual void sum_to(const at::Tensor& tensor, int root) = 0;
  // Gives every rank the tensor of `root`.
  virtual void broadcast(const at::Tensor& tensor, int root) = 0;
  // Gives rank `to` the tensors of rank `from`, which are on the CPU whatever the device is. These
  // two call it, the others do not; what goes from one rank to another comes in the order of calls.
  virtual void pass(const std::vector<at::Tensor>& tensors, int from, int to) = 0;

  // The texts of all ranks, in their order. Meant for the start and the end of a job, since it goes
  // through the rendezvous.
  virtual std::vector<std::string> gather(const std::string& text) = 0;
  // The text of rank 0.
  std::string shared(const std::string& text) { return gather(is_first() ? text : "").front(); }
  void barrier() { gather(""); }
  // An empty board; the n-th of one rank is the n-th of all.
  virtual std::unique_ptr<Board> board() = 0;
  // Whether `value` is true on any rank. The host waits.
  bool any(bool value);
  // Throws PeerLost where a rank is known to have failed: to be called after the host waited for a
  // GPU, whose sums are worth nothing then.
  virtual void check() = 0;

  // Tells the others that this rank ends with `error`, so that they end too. True where nobody told
  // them the same before, so that it should be printed here.
  virtual bool fail(const core::Error& error) = 0;
  // To be called after it, before the process ends: where this rank is the place at which the ranks
  // meet, it waits until the others had time to read.
  virtual void linger() = 0;
};

// The world of a process that was started alone: every call is done at once.
World& alone();

// Joins the others. To be called before anything uses CUDA: a rank then sees its own GPU alone, so
// that no part of the program can take another's. Throws ResourceError that names the ranks which
// did not come. The limits are seconds in environment variables: CORDA_JOIN_SECONDS (300) for all
// to come, CORDA_SILENCE_SECONDS (15) after which a rank without a sign of life counts as gone,
// CORDA_WAIT_SECONDS (1800) for one that lives and does not come to a common call. A build without
// torch's distributed libraries throws ConfigError.
std::unique_ptr<World> join(const Launch& launch, const core::Reporter& reporter);

// A place on this machine where the ranks that it starts can meet, as long as this lives.
class MeetingPlace {
 public:
  MeetingPlace() = default;
  MeetingPlace(const MeetingPlace&) = delete;
  MeetingPlace& operator=(const MeetingPlace&) = delete;
  virtual ~MeetingPlace() = default;
  virtual int port() const = 0;
  // Tells the ranks that one of them ended otherwise than by itself; `how` completes "rank N ".
  virtual void report_gone(int rank, const std::string& how) = 0;
};
std::unique_ptr<MeetingPlace> open_meeting_place(int size);

// Throws ConfigError that names the first rank whose job differs from rank 0's, and how.
void require_same_job(World& world, const core::ConfigNode& job);

// A list of names that rank 0 has, for every rank. No name holds a line break.
std::vector<std::string> shared_names(World& world, const std::vector<std::string>& names);

}  // namespace corda::dist
