// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "corda/core/error.h"

namespace corda::core {

namespace {

class Pool {
 public:
  Pool(std::int64_t count, std::int64_t run, const std::function<void(std::int64_t)>& work)
      : count_(count), run_(run), work_(work) {}

  // Takes runs until none is left; never throws.
  void take_runs() noexcept {
    for (std::int64_t begin = next_.fetch_add(run_); begin < count_;
         begin = next_.fetch_add(run_)) {
      for (std::int64_t i = begin; i < std::min(begin + run_, count_); ++i) {
        try {
          work_(i);
        } catch (...) {
          fail(i);
          return;
        }
      }
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // Runs before a failed one were all taken, so the first error by place is found whatever the
  // threads do.
  void fail(std::int64_t at) noexcept {
    const std::lock_guard lock(mutex_);
    if (!error_ || at < failed_at_) {
      error_ = std::current_exception();
      failed_at_ = at;
    }
    next_ = count_;
  }

  std::int64_t count_;
  std::int64_t run_;
  const std::function<void(std::int64_t)>& work_;
  std::atomic<std::int64_t> next_{0};
  std::mutex mutex_;
  std::exception_ptr error_;
  std::int64_t failed_at_ = 0;
};

}  // namespace

void parallel_for(std::int64_t count, std::int64_t threads, std::int64_t run,
                  const std::function<void(std::int64_t)>& work) {
  if (threads < 1) throw ConfigError(concat("expected at least 1 thread; received ", threads));
  const std::int64_t useful = (count + run - 1) / run;
  Pool pool(count, run, work);
  {
    // The threads are joined at the end of this block, also where starting one of them fails.
    std::vector<std::jthread> others;
    for (std::int64_t i = 1; i < std::min(threads, useful); ++i)
      others.emplace_back([&pool] { pool.take_runs(); });
    pool.take_runs();
  }
  pool.rethrow();
}

std::int64_t thread_count(std::int64_t threads) {
  return threads > 0 ? threads : std::max<std::int64_t>(1, std::thread::hardware_concurrency());
}

}  // namespace corda::core
