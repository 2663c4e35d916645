// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/background.h"

#include <utility>

namespace corda::core {

Background::Background(std::size_t waiting) : waiting_(waiting), thread_([this] { run(); }) {}

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

// Waits for room, which is there as long as the lock is held.
std::unique_lock<std::mutex> Background::room() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return pieces_.size() + (busy_ ? 1 : 0) <= waiting_; });
  if (error_) std::rethrow_exception(error_);
  return lock;
}

void Background::wait_for_room() { room(); }

void Background::add(std::function<void()> piece) {
  {
    const auto lock = room();
    pieces_.push_back(std::move(piece));
  }
  changed_.notify_all();
}

void Background::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return pieces_.empty() && !busy_; });
  if (error_) std::rethrow_exception(error_);
}

void Background::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return ending_ || !pieces_.empty(); });
    if (pieces_.empty()) return;
    std::function<void()> piece = std::move(pieces_.front());
    pieces_.pop_front();
    busy_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      piece();
    } catch (...) {
      error = std::current_exception();
    }
    piece = nullptr;  // what it holds is freed before anyone hears that it is done
    lock.lock();
    busy_ = false;
    if (error) {
      error_ = error;
      pieces_.clear();
    }
    changed_.notify_all();
  }
}

}  // namespace corda::core
