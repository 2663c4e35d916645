// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "local_ranks.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>

#include "corda/core/error.h"
#include "corda/dist/world.h"

namespace corda::tools {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

// How long the others may take to end once one has failed: they may save a checkpoint.
constexpr auto kPatience = std::chrono::seconds(600);

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (auto& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The environment of one rank: ours, with a launcher's variables in it.
std::vector<std::string> environment_of(int rank, int count, int port) {
  const std::map<std::string, std::string> own = {
      {"RANK", concat(rank)},        {"WORLD_SIZE", concat(count)},
      {"LOCAL_RANK", concat(rank)},  {"MASTER_ADDR", "127.0.0.1"},
      {"MASTER_PORT", concat(port)}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
  // Variables of a launcher around this process, which would name another job.
  constexpr std::array kForeign = {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"};
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    if (!own.contains(name) && std::ranges::find(kForeign, name) == kForeign.end())
      result.push_back(text);
  }
  for (const auto& [name, value] : own) result.push_back(concat(name, "=", value));
  return result;
}

pid_t start(std::vector<std::string> argv, int rank, int count, int port) {
  std::vector<std::string> environment = environment_of(rank, count, port);
  pid_t process = 0;
  const int error = ::posix_spawn(&process, "/proc/self/exe", nullptr, nullptr,
                                  pointers_to(argv).data(), pointers_to(environment).data());
  if (error != 0) {
    throw core::ResourceError(
        concat("cannot start process ", rank, " of ", count, ": ", std::strerror(error)));
  }
  return process;
}

int exit_code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

class Ranks {
 public:
  explicit Ranks(dist::MeetingPlace& place) : place_(place) {}

  ~Ranks() {  // only where starting them failed half-way
    for (const auto& [process, rank] : running_) ::kill(process, SIGKILL);
    for (const auto& [process, rank] : running_) ::waitpid(process, nullptr, 0);
  }

  void add(pid_t process, int rank) { running_[process] = rank; }
  bool any() const { return !running_.empty(); }
  int first_failure() const { return failure_; }

  void send(int signal) const {
    for (const auto& [process, rank] : running_) ::kill(process, signal);
  }

  // Takes note of the processes that have ended.
  void look() {
    for (auto it = running_.begin(); it != running_.end();) {
      int status = 0;
      if (::waitpid(it->first, &status, WNOHANG) != it->first) {
        ++it;
        continue;
      }
      const int code = exit_code_of(status);
      if (code != 0 && failure_ == 0) {
        failure_ = code;
        failed_at_ = Clock::now();
      }
      if (WIFSIGNALED(status)) {
        place_.report_gone(it->second, concat("was ended by signal ", WTERMSIG(status), " (",
                                              ::strsignal(WTERMSIG(status)), ")"));
      }
      it = running_.erase(it);
    }
  }

  bool is_overdue() const { return failure_ != 0 && Clock::now() - failed_at_ > kPatience; }

 private:
  dist::MeetingPlace& place_;
  std::map<pid_t, int> running_;
  int failure_ = 0;
  Clock::time_point failed_at_;
};

}  // namespace

std::vector<std::string> without_gpus(const std::vector<std::string>& arguments) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with("--gpus=")) continue;
    if (arguments[i] == "--gpus") {
      ++i;
      continue;
    }
    result.push_back(arguments[i]);
  }
  return result;
}

int run_local_ranks(int count, const std::vector<std::string>& arguments,
                    const std::function<bool()>& stop_requested) {
  const auto place = dist::open_meeting_place(count);
  std::vector<std::string> argv{"corda"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  Ranks ranks(*place);
  for (int rank = 0; rank < count; ++rank) ranks.add(start(argv, rank, count, place->port()), rank);
  bool asked = false;
  while (ranks.any()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ranks.look();
    if (stop_requested() && !std::exchange(asked, true)) ranks.send(SIGTERM);
    if (ranks.is_overdue()) ranks.send(SIGKILL);
  }
  return ranks.first_failure();
}

}  // namespace corda::tools
