// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "support/ranks.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace corda::testing {

Variables mpirun_variables(int rank, int size, const std::string& job) {
  return {{"OMPI_COMM_WORLD_RANK", std::to_string(rank)},
          {"OMPI_COMM_WORLD_SIZE", std::to_string(size)},
          {"OMPI_COMM_WORLD_LOCAL_RANK", std::to_string(rank)},
          {"OMPI_COMM_WORLD_LOCAL_SIZE", std::to_string(size)},
          {"PMIX_NAMESPACE", job}};
}

Variables torchrun_variables(int rank, int size, int port) {
  return {{"RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(size)},
          {"LOCAL_RANK", std::to_string(rank)},
          {"MASTER_ADDR", "127.0.0.1"},
          {"MASTER_PORT", std::to_string(port)}};
}

int free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  if (descriptor < 0 || ::bind(descriptor, reinterpret_cast<sockaddr*>(&name), size) != 0 ||
      ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size) != 0)
    throw std::runtime_error("no free port");
  ::close(descriptor);
  return ntohs(name.sin_port);
}

std::vector<ProcessResult> run_ranks(const std::vector<RankProcess>& ranks) {
  std::vector<ProcessResult> results(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    threads.emplace_back([&, i] {
      std::vector<std::string> argv = {"/usr/bin/env"};
      for (const auto& [name, value] : ranks[i].variables) argv.push_back(name + "=" + value);
      if (ranks[i].largest_file > 0) {
        const std::string blocks = std::to_string(ranks[i].largest_file / 512);
        argv.insert(argv.end(),
                    {"/bin/sh", "-c", "ulimit -f " + blocks + "; exec \"$@\"", "corda"});
      }
      if (ranks[i].program.empty())
        argv.emplace_back(CORDA_BINARY);
      else
        argv.insert(argv.end(), ranks[i].program.begin(), ranks[i].program.end());
      argv.insert(argv.end(), ranks[i].arguments.begin(), ranks[i].arguments.end());
      std::this_thread::sleep_for(ranks[i].delay);
      results[i] = run_process(argv, ranks[i].watch);
      if (ranks[i].ended) ranks[i].ended();
    });
  }
  for (auto& thread : threads) thread.join();
  return results;
}

std::vector<RankProcess> ranks_of(int size, const std::vector<std::string>& arguments,
                                  const Variables& extra) {
  static std::atomic<int> starts = 0;
  const std::string job = "test-" + std::to_string(::getpid()) + "-" + std::to_string(starts++);
  std::vector<RankProcess> ranks;
  for (int rank = 0; rank < size; ++rank) {
    Variables variables = mpirun_variables(rank, size, job);
    variables.insert(extra.begin(), extra.end());
    RankProcess& process = ranks.emplace_back();
    process.arguments = arguments;
    process.variables = std::move(variables);
  }
  return ranks;
}

}  // namespace corda::testing
