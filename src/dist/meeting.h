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

#include "corda/dist/world.h"

namespace corda::dist {

using Seconds = std::chrono::duration<double>;
using StorePtr = c10::intrusive_ptr<c10d::Store>;

struct Limits {
  Seconds join{300};
  Seconds silence{30};
  Seconds wait{1800};
};
// From the environment variables named at `join` (corda/dist/world.h). Throws ConfigError.
Limits limits_of_environment();

// Why the job ended: what the first rank said that failed, or what is known of one that is gone.
struct Failure {
  int rank = 0;
  int code = 0;  // core::ExitCode
  bool gone = false;
  std::string message;
};

// A thread that gives a sign of life, and looks after those of others. Rank 0 looks at all, the
// rest at what it found.
class Watcher {
 public:
  // `store` is this object's alone. `on_failure` is called once, on the thread; the process is
  // ended where it still waits for others (`waiting`) `grace` later.
  Watcher(StorePtr store, int rank, int size, const Limits& limits);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  void on_failure(std::function<void()> what);
  // Throws the error that ends this rank where another has failed or gone.
  void check() const;
  // Waits for the news of a failure that must have happened, and throws it, or else `otherwise`.
  [[noreturn]] void explain(const std::string& otherwise) const;
  std::optional<Failure> failure() const;
  // This rank ends with `code`; gives what is published then.
  Failure publish(int code, const std::string& message);
  // No sign of life is given or looked for any more.
  void stop();

  // Marks that the main thread waits for others.
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
  void run();
  void look();            // one round; throws where the store is gone
  void look_after_all();  // rank 0
  void found(Failure failure);

  StorePtr store_;
  int rank_;
  int size_;
  Limits limits_;
  Seconds period_;
  struct Sign {
    std::int64_t count = 0;
    std::chrono::steady_clock::time_point at;
  };
  std::vector<Sign> signs_;
  std::atomic<int> waits_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::optional<Failure> failure_;
  std::function<void()> on_failure_;
  bool ending_ = false;
  std::thread thread_;
};

// Says for a rank that it ended otherwise than by itself; `how` completes "rank N of M ".
void publish_gone(c10d::Store& store, int rank, int size, const std::string& how);

// The error of a rank that ends since another did.
PeerLost error_of(const Failure& failure, int size);

}  // namespace corda::dist
