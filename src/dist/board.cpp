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
  StoreBoard(StorePtr store, Watcher& watcher) : store_(std::move(store)), watcher_(watcher) {}

  std::int64_t next() override {
    watcher_.check();
    return ask_meeting_place(watcher_, [&] { return store_->add("next", 1) - 1; });
  }

  void post(const std::string& text) override {
    watcher_.check();
    ask_meeting_place(watcher_, [&] { store_->set(key_of(store_->add("texts", 1) - 1), text); });
  }

  std::optional<std::string> read(std::int64_t place) override {
    return ask_meeting_place(watcher_, [&] {
      return text_at(*store_, key_of(place), Clock::now(), watcher_, /*reporter=*/nullptr);
    });
  }

 private:
  static std::string key_of(std::int64_t place) { return concat("text/", place); }

  StorePtr store_;
  Watcher& watcher_;
};

}  // namespace

std::unique_ptr<Board> board_in(StorePtr store, Watcher& watcher) {
  return std::make_unique<StoreBoard>(std::move(store), watcher);
}

}  // namespace corda::dist
