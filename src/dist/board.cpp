// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "dist/board.h"

#include <utility>

#include "corda/core/error.h"

namespace corda::dist {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

class StoreBoard final : public Board {
 public:
  StoreBoard(StorePtr store, Watcher& watcher, Seconds limit)
      : store_(std::move(store)), watcher_(watcher), limit_(limit) {}

  std::int64_t next() override {
    watcher_.check();
    return ask_meeting_place(watcher_, [&] { return store_->add("next", 1) - 1; });
  }

  void post(const std::string& text) override {
    watcher_.check();
    ask_meeting_place(watcher_, [&] { store_->set(key_of(store_->add("texts", 1) - 1), text); });
  }

  std::optional<std::string> read(std::int64_t place) override {
    return text_until(Clock::now(), place);
  }

  void wait_for(std::int64_t place) override {
    if (text_until(Clock::now() + std::chrono::duration_cast<Clock::duration>(limit_), place))
      return;
    throw core::ResourceError(concat("another rank did not finish its part within ", limit_.count(),
                                     " s, though it lives"));
  }

 private:
  static std::string key_of(std::int64_t place) { return concat("text/", place); }

  std::optional<std::string> text_until(Clock::time_point end, std::int64_t place) {
    return ask_meeting_place(watcher_, [&] {
      return text_at(*store_, key_of(place), end, watcher_, /*reporter=*/nullptr);
    });
  }

  StorePtr store_;
  Watcher& watcher_;
  Seconds limit_;
};

}  // namespace

std::unique_ptr<Board> board_in(StorePtr store, Watcher& watcher, Seconds limit) {
  return std::make_unique<StoreBoard>(std::move(store), watcher, limit);
}

}  // namespace corda::dist
