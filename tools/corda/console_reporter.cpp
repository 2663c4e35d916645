// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "console_reporter.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>

#include "corda/core/text.h"

namespace corda::tools {

namespace {

// A signal handler can reach nothing but a global.
std::atomic<bool> g_stop{false};

// A second SIGTERM stays a request: schedulers send it to a job's processes more than once, as a
// dying shell does SIGHUP.
void on_interrupt(int /*signal*/) {
  g_stop.store(true);
  std::signal(SIGINT, SIG_DFL);
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole >= 3600)
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

void handle_signals() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  if (std::signal(SIGHUP, on_interrupt) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is then an error of write(), which cleans up
}

void outlive_readers() { std::signal(SIGPIPE, SIG_IGN); }

ConsoleReporter::ConsoleReporter(bool quiet, bool silent)
    : terminal_(::isatty(STDERR_FILENO) == 1), quiet_(quiet || silent), silent_(silent) {
  if (spdlog::get("corda")) return;
  auto logger = spdlog::stderr_color_mt("corda");
  logger->set_pattern("%^%l%$: %v");
  spdlog::set_default_logger(logger);
}

bool ConsoleReporter::stop_requested() const { return g_stop.load(); }

void ConsoleReporter::log(core::LogLevel level, std::string_view message) {
  if (silent_ || (quiet_ && level != core::LogLevel::kWarning)) return;
  clear_bar();
  switch (level) {
    case core::LogLevel::kInfo:
      spdlog::info("{}", core::capped(message));
      break;
    case core::LogLevel::kWarning:
      spdlog::warn("{}", core::capped(message));
      break;
  }
}

void ConsoleReporter::begin(std::string_view task, std::int64_t total, std::string_view unit,
                            std::int64_t before) {
  task_ = task;
  unit_ = unit;
  note_.clear();
  total_ = total;
  done_ = before;
  before_ = before;
  begin_ = Clock::now();
  drawn_ = begin_;
}

void ConsoleReporter::advance(std::int64_t count, std::string_view note) {
  done_ += count;
  note_ = note;
  const std::chrono::duration<double> since = Clock::now() - drawn_;
  if (since.count() >= (terminal_ ? 0.1 : 10.0)) draw(false);
}

void ConsoleReporter::end() { draw(true); }

void ConsoleReporter::draw(bool last) {
  if (quiet_) return;
  drawn_ = Clock::now();
  const double elapsed = std::chrono::duration<double>(drawn_ - begin_).count();
  const double rate = elapsed > 0 ? static_cast<double>(done_ - before_) / elapsed : 0;
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0;
  const std::string time = last ? clock_text(elapsed) : clock_text(left) + " left";
  const std::string text = fmt::format("{} {}/{} {}s  {:.3g} {}s/s  {}  {}", task_, done_, total_,
                                       unit_, rate, unit_, time, note_);
  if (!terminal_) {
    spdlog::info("{}", text);
    return;
  }
  constexpr std::int64_t kWidth = 24;
  const auto filled =
      static_cast<std::size_t>(total_ > 0 ? std::min(kWidth, kWidth * done_ / total_) : kWidth);
  const std::string bar =
      std::string(filled, '#') + std::string(static_cast<std::size_t>(kWidth) - filled, '.');
  std::fprintf(stderr, "\r\033[K[%s] %s%s", bar.c_str(), text.c_str(), last ? "\n" : "");
  std::fflush(stderr);
  bar_shown_ = !last;
}

void ConsoleReporter::clear_bar() {
  if (!bar_shown_) return;
  std::fputs("\r\033[K", stderr);
  bar_shown_ = false;
}

}  // namespace corda::tools
