// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Texts that ranks leave for each other, and who of them is still there.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/text.h"
#include "corda/dist/world.h"

namespace corda::dist {

using Seconds = std::chrono::duration<double>;
using StorePtr = c10::intrusive_ptr<c10d::Store>;

struct Limits {
  Seconds join{300};
  Seconds silence{15};  // torchrun kills the others 30 s after it asked them to end
  Seconds wait{1800};
};
// Reads the environment variables named at `join` (corda/dist/world.h). Throws ConfigError.
Limits limits_of_environment();

// Why the job ended: what the first rank said that failed, or what is known of one that is gone.
struct Failure {
  int rank = 0;
  int code = 0;  // core::ExitCode
  bool gone = false;
  std::string message;
};

// Threads that give a sign of life, look after those of others, and see to it that this process
// does not wait for ever: rank 0 looks at all ranks, rank 1 at rank 0, the rest at what they found.
class Watcher {
 public:
  // `store` and `publishing` are this object's alone, connections of their own.
  Watcher(StorePtr store, StorePtr publishing, int rank, int size, const Limits& limits);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // From now on a rank without a sign of life is gone; before, it may not have come yet.
  void judge();
  // Called once a failure is known, on a thread of this object.
  void on_failure(std::function<void()> what);
  // Throws the error that ends this rank where another has failed or gone.
  void check() const;
  // Waits for the news of a failure that must have happened, and throws it, or else `otherwise`.
  [[noreturn]] void explain(const std::string& otherwise) const;
  std::optional<Failure> failure() const;
  // Tells the others that this rank ends with `code`; returns what was published.
  Failure publish(int code, const std::string& message);
  // Tells the others that this rank ends as it should. No sign is given or looked for any more.
  void leave();

  // Marks that a thread waits for others.
  class Waiting {
   public:
    explicit Waiting(Watcher& watcher) : watcher_(watcher) { ++watcher_.waits_; }
    ~Waiting() { --watcher_.waits_; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    Watcher& watcher_;
  };

 private:
  using Clock = std::chrono::steady_clock;
  struct Sign {
    std::int64_t count = 0;
    Clock::time_point at;
  };

  void look_again_and_again();
  void look();  // looks at all signs once; throws where the store is gone
  void look_after(int other);
  // Knows when the other thread looked last: the store may never answer.
  void guard();
  void found(Failure failure);
  void stop();

  StorePtr store_;
  StorePtr publishing_;
  int rank_;
  int size_;
  Limits limits_;
  Seconds period_;
  std::vector<Sign> signs_;  // of the looking thread
  std::atomic<bool> judges_ = false;
  std::atomic<int> waits_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Clock::time_point looked_at_;  // when the last round ended
  std::optional<Failure> failure_;
  std::function<void()> on_failure_;
  bool ending_ = false;
  bool looking_ended_ = false;
  bool leaves_ = false;
  std::thread looking_;
  std::thread guarding_;
};

// Says for a rank that it ended otherwise than by itself; `how` completes "rank N of M ".
void publish_gone(c10d::Store& store, int rank, int size, const std::string& how);

// The error that ends this rank because another one ended.
PeerLost error_of(const Failure& failure, int size);

// The text at `key`, as soon as it is there; nothing after `end`. Looks at the watcher while it
// waits, and at the reporter where one is given.
std::optional<std::string> text_at(c10d::Store& store, const std::string& key,
                                   std::chrono::steady_clock::time_point end,
                                   const Watcher& watcher, const core::Reporter* reporter);

// Does what asks the store, and explains it where that is gone.
template <typename Ask>
auto ask_meeting_place(Watcher& watcher, Ask ask) {
  const Watcher::Waiting waiting(watcher);
  try {
    return ask();
  } catch (const core::Error&) {
    throw;
  } catch (const std::exception& error) {
    watcher.explain(core::concat("the place where the ranks meet is gone, so rank 0 is (",
                                 core::first_line(error.what()), ")"));
  }
}

}  // namespace corda::dist
