// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "support/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "support/temporary_directory.h"

namespace corda::testing {

namespace {

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void redirect(const std::string& path, int flags, int target) {
  const int descriptor = ::open(path.c_str(), flags, 0600);
  if (descriptor < 0 || ::dup2(descriptor, target) < 0) ::_exit(126);
}

// This process's environment, or one in which CUDA finds no GPU.
std::vector<std::string> environment(Gpus gpus) {
  const std::string visible = "CUDA_VISIBLE_DEVICES=";
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (gpus == Gpus::kVisible || !std::string_view(*entry).starts_with(visible))
      result.emplace_back(*entry);
  }
  if (gpus == Gpus::kHidden) result.push_back(visible);
  return result;
}

// Pointers to the texts, with the null pointer that ends them.
std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& argv, const Watch& watch, Gpus gpus) {
  const TemporaryDirectory scratch;
  const std::string out = (scratch.path() / "out").string();
  const std::string err = (scratch.path() / "err").string();
  const std::vector<std::string> variables = environment(gpus);
  const std::vector<char*> arguments = pointers_to(argv);
  const std::vector<char*> environment_pointers = pointers_to(variables);
  // A job in the background ignores SIGINT; the child must not, from its first moment.
  ::signal(SIGINT, SIG_DFL);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    redirect(out, O_WRONLY | O_CREAT, STDOUT_FILENO);
    redirect(err, O_WRONLY | O_CREAT, STDERR_FILENO);
    ::execve(arguments[0], arguments.data(), environment_pointers.data());
    ::_exit(127);
  }
  int status = 0;
  bool watched = static_cast<bool>(watch);
  while (::waitpid(child, &status, watched ? WNOHANG : 0) == 0) {
    watched = watch(child, content_of(err));
    if (watched) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  ProcessResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = content_of(out);
  result.err = content_of(err);
  return result;
}

ProcessResult run_corda(std::vector<std::string> arguments, const Watch& watch) {
  arguments.insert(arguments.begin(), CORDA_BINARY);
  return run_process(arguments, watch);
}

ProcessResult run_disturbed(const std::vector<std::string>& arguments, const Watch& watch,
                            const std::function<void()>& prepare) {
  constexpr int kAttempts = 5;
  ProcessResult result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    prepare();
    const Watch fresh = watch;  // it may count its calls
    result = run_corda(arguments, fresh);
    if (result.exit_code != 0) break;
  }
  return result;
}

Watch interrupt_when_written(const std::string& file) {
  return [file](pid_t process, const std::string& /*err*/) {
    std::error_code error;
    const bool written =
        std::filesystem::exists(file, error) && std::filesystem::file_size(file, error) > 0;
    if (written) ::kill(process, SIGINT);
    return !written;
  };
}

Watch interrupt_when_said(const std::string& text) {
  return [text](pid_t process, const std::string& err) {
    const bool said = err.find(text) != std::string::npos;
    if (said) ::kill(process, SIGINT);
    return !said;
  };
}

}  // namespace corda::testing
