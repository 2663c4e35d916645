// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Work that another thread does in order, while the calling one goes on.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace corda::core {

class Background {
 public:
  // At most `waiting` pieces of work wait behind the one that is being done.
  explicit Background(std::size_t waiting);
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  // Waits for all the work. An error of it is lost here, so who wants the results calls `finish`.
  ~Background();

  // Waits until a piece may be added. Once a piece has thrown, the others are dropped, and every
  // call of the three below throws its error.
  void wait_for_room();
  void add(std::function<void()> piece);
  void finish();

 private:
  void run();
  std::unique_lock<std::mutex> room();

  std::size_t waiting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> pieces_;
  bool busy_ = false;
  bool ending_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace corda::core
