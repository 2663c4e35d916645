// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "dist/meeting.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "corda/core/environment.h"
#include "corda/core/error.h"
#include "corda/core/pause.h"
#include "corda/core/text.h"

namespace corda::dist {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* kFailure = "failure";
// How long the main thread may take to notice a failure while it waits for others.
constexpr Seconds kGrace{10};

std::string sign_of(int rank) { return concat("alive/", rank); }

Seconds seconds_of(const char* name, Seconds otherwise) {
  const std::string text = core::environment_variable(name).value_or("");
  if (text.empty()) return otherwise;
  const auto value = core::parse_double(text);
  constexpr double kMost = 1e7;  // the libraries count milliseconds
  if (!value || !(*value > 0) || *value > kMost) {
    throw core::ConfigError(concat("the environment variable ", name,
                                   " must be a number of seconds above 0 and at most 1e7; it is '",
                                   text, "'"));
  }
  return Seconds(*value);
}

std::string to_text(const Failure& failure) {
  return concat(failure.rank, " ", failure.code, " ", failure.gone ? 1 : 0, "\n", failure.message);
}

Failure failure_of(const std::string& text) {
  const std::size_t end = text.find('\n');
  const auto parts = core::split(text.substr(0, end), ' ');
  const auto number = [&](std::size_t i) {
    return i < parts.size() ? static_cast<int>(core::parse_int(parts[i]).value_or(0)) : 0;
  };
  return {.rank = number(0),
          .code = number(1),
          .gone = number(2) == 1,
          .message = end == std::string::npos ? "" : text.substr(end + 1)};
}

}  // namespace

Limits limits_of_environment() {
  const Limits usual;
  return {.join = seconds_of("CORDA_JOIN_SECONDS", usual.join),
          .silence = seconds_of("CORDA_SILENCE_SECONDS", usual.silence),
          .wait = seconds_of("CORDA_WAIT_SECONDS", usual.wait)};
}

void publish_gone(c10d::Store& store, int rank, int size, const std::string& how) {
  store.compareSet(kFailure, "",
                   to_text({.rank = rank,
                            .code = static_cast<int>(core::ExitCode::kResource),
                            .gone = true,
                            .message = concat("rank ", rank, " of ", size, " ", how)}));
}

PeerLost error_of(const Failure& failure, int size) {
  const auto code = static_cast<core::ExitCode>(failure.code);
  if (failure.gone) return {code, failure.message};
  return {code,
          concat("ended because rank ", failure.rank, " of ", size, " did: ", failure.message)};
}

std::optional<std::string> text_at(c10d::Store& store, const std::string& key,
                                   Clock::time_point end, const Watcher& watcher,
                                   const core::Reporter* reporter) {
  const auto begin = Clock::now();
  while (true) {
    watcher.check();
    if (reporter != nullptr) core::throw_if_stopped(*reporter, "waiting for the other ranks");
    if (store.check({key})) return store.get_to_str(key);
    if (Clock::now() >= end) return std::nullopt;
    std::this_thread::sleep_for(core::pause_since(begin, std::chrono::microseconds(200)));
  }
}

Watcher::Watcher(StorePtr store, StorePtr publishing, int rank, int size, const Limits& limits)
    : store_(std::move(store)),
      publishing_(std::move(publishing)),
      rank_(rank),
      size_(size),
      limits_(limits),
      period_(std::min(1.0, limits.silence.count() / 10)),
      signs_(static_cast<std::size_t>(size), Sign{0, Clock::now()}),
      looked_at_(Clock::now()),
      looking_([this] { look_again_and_again(); }),
      guarding_([this] { guard(); }) {}

Watcher::~Watcher() { stop(); }

void Watcher::judge() { judges_ = true; }

void Watcher::leave() {
  {
    const std::lock_guard lock(mutex_);
    leaves_ = true;
  }
  stop();
}

void Watcher::stop() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (guarding_.joinable()) guarding_.join();
  if (!looking_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, limits_.silence, [&] { return looking_ended_; });
    if (!looking_ended_) {  // it waits for a store that never answers
      std::fflush(nullptr);
      std::_Exit(failure_ ? failure_->code : 0);
    }
  }
  looking_.join();
}

void Watcher::on_failure(std::function<void()> what) {
  const std::lock_guard lock(mutex_);
  on_failure_ = std::move(what);
}

std::optional<Failure> Watcher::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void Watcher::check() const {
  if (const auto known = failure()) throw error_of(*known, size_);
}

void Watcher::explain(const std::string& otherwise) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limits_.silence + 5 * period_, [&] { return failure_.has_value(); });
  if (failure_) throw error_of(*failure_, size_);
  throw core::ResourceError(otherwise);
}

Failure Watcher::publish(int code, const std::string& message) {
  const Failure mine{.rank = rank_, .code = code, .message = message};
  return failure_of(publishing_->compareSet(kFailure, "", to_text(mine)));
}

void Watcher::found(Failure failure) {
  std::function<void()> what;
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = std::move(failure);
    what = on_failure_;
  }
  changed_.notify_all();
  if (what) what();
}

void Watcher::look_after(int other) {
  const auto now = Clock::now();
  Sign& sign = signs_[static_cast<std::size_t>(other)];
  const std::int64_t count = store_->add(sign_of(other), 0);
  // a count below zero says that the rank has left
  if (count != sign.count || count < 0) sign = {count, now};
  if (now - sign.at < limits_.silence) return;
  publish_gone(*store_, other, size_,
               concat("has given no sign of life for ", limits_.silence.count(),
                      " s: it was killed, or its machine or network is gone; look at its own log, "
                      "then continue from the last checkpoint"));
}

void Watcher::look() {
  store_->add(sign_of(rank_), 1);
  // After a sleep of the whole machine everybody's last sign is old.
  const bool slept = Clock::now() - looked_at_ > 3 * period_;
  if (slept || !judges_) {
    for (Sign& sign : signs_) sign.at = Clock::now();
  } else if (rank_ == 0) {
    for (int other = 1; other < size_; ++other) look_after(other);
  } else if (rank_ == 1) {
    look_after(0);
  }
  if (store_->check({kFailure})) found(failure_of(store_->get_to_str(kFailure)));
}

void Watcher::look_again_and_again() {
  const auto place_is_gone = [&] {
    found({.rank = 0,
           .code = static_cast<int>(core::ExitCode::kResource),
           .gone = true,
           .message = concat("the place where the ranks meet is gone: rank 0 of ", size_,
                             ", or the launcher that holds it, was killed or ended, or its machine "
                             "or network is gone; look at its own log, then continue from the last "
                             "checkpoint")});
  };
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, period_, [&] { return ending_; });
      if (ending_) break;
    }
    try {
      if (!failure()) look();
    } catch (const std::exception&) {
      place_is_gone();
    }
    const std::lock_guard lock(mutex_);
    looked_at_ = Clock::now();
  }
  try {
    constexpr std::int64_t kFarBelowZero = -(std::int64_t{1} << 62);
    if (leaves_) store_->add(sign_of(rank_), kFarBelowZero);
  } catch (const std::exception&) {  // the others are gone already
  }
  {
    const std::lock_guard lock(mutex_);
    looking_ended_ = true;
  }
  changed_.notify_all();
}

void Watcher::guard() {
  auto known_at = Clock::time_point::max();
  auto woken_at = Clock::now();
  while (true) {
    Clock::time_point looked_at;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, period_, [&] { return ending_; });
      if (ending_) return;
      // Where the machine slept this thread slept as well, so the store was not silent.
      if (Clock::now() - woken_at > 3 * period_) looked_at_ = Clock::now();
      looked_at = looked_at_;
    }
    woken_at = Clock::now();
    if (Clock::now() - looked_at > limits_.silence) {
      found({.rank = 0,
             .code = static_cast<int>(core::ExitCode::kResource),
             .gone = true,
             .message = concat("the place where the ranks meet has not answered for ",
                               limits_.silence.count(), " s: rank 0 of ", size_,
                               ", or its machine or network, hangs; look at its own log, then "
                               "continue from the last checkpoint")});
    }
    const auto known = failure();
    if (!known) continue;
    if (known_at == Clock::time_point::max()) known_at = Clock::now();
    if (waits_ > 0 && Clock::now() - known_at > kGrace) {
      std::fprintf(stderr, "corda: error: rank %d: %s\n", rank_, error_of(*known, size_).what());
      std::_Exit(known->code);
    }
  }
}

}  // namespace corda::dist
