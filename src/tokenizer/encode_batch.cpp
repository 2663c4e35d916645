// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "corda/core/error.h"
#include "corda/tokenizer/tokenizer.h"

namespace corda::tokenizer {

namespace {

// Texts are taken in small runs, so that a few long ones do not leave threads idle.
constexpr std::size_t kRun = 16;

class Batch {
 public:
  Batch(const Tokenizer& tokenizer, std::span<const std::string> texts, EncodeOptions options)
      : tokenizer_(tokenizer), texts_(texts), options_(options), ids_(texts.size()) {}

  // Takes runs until none is left; never throws.
  void work() noexcept {
    for (std::size_t begin = next_.fetch_add(kRun); begin < texts_.size();
         begin = next_.fetch_add(kRun)) {
      for (std::size_t i = begin; i < std::min(begin + kRun, texts_.size()); ++i) {
        try {
          ids_[i] = tokenizer_.encode(texts_[i], options_);
        } catch (...) {
          fail(i);
          return;
        }
      }
    }
  }

  std::vector<std::vector<TokenId>> finish() {
    if (error_) std::rethrow_exception(error_);
    return std::move(ids_);
  }

 private:
  // Runs before a failed one were all taken, so the first error by place is found whatever the
  // threads do.
  void fail(std::size_t at) noexcept {
    const std::lock_guard lock(mutex_);
    if (!error_ || at < failed_at_) {
      error_ = std::current_exception();
      failed_at_ = at;
    }
    next_ = texts_.size();
  }

  const Tokenizer& tokenizer_;
  std::span<const std::string> texts_;
  EncodeOptions options_;
  std::vector<std::vector<TokenId>> ids_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::exception_ptr error_;
  std::size_t failed_at_ = 0;
};

}  // namespace

std::vector<std::vector<TokenId>> encode_batch(const Tokenizer& tokenizer,
                                               std::span<const std::string> texts,
                                               std::int64_t threads, EncodeOptions options) {
  if (threads < 1)
    throw core::ConfigError(
        core::concat("[tokenizer::encode_batch] expected at least 1 thread; received ", threads));
  const auto useful = static_cast<std::int64_t>((texts.size() + kRun - 1) / kRun);
  Batch batch(tokenizer, texts, options);
  {
    std::vector<std::jthread>
        others;  // joined at the end of this block, also where starting one of them fails
    for (std::int64_t i = 1; i < std::min(threads, useful); ++i)
      others.emplace_back([&batch] { batch.work(); });
    batch.work();
  }
  return batch.finish();
}

}  // namespace corda::tokenizer
