// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "dist/rendezvous.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <future>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::dist {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

std::chrono::milliseconds milliseconds(Seconds seconds) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(seconds);
}

using Store = c10::intrusive_ptr<c10d::TCPStore>;

// A store, made on a thread of its own: a port where somebody listens and says nothing would hold
// up its constructor for ever.
Store make_store(const std::string& address, int port, bool listens, Seconds limit,
                 const core::Reporter& reporter) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.isServer = listens;
  options.waitWorkers = false;
  options.timeout = milliseconds(limit);
  std::packaged_task<Store()> task(
      [address, options] { return c10::make_intrusive<c10d::TCPStore>(address, options); });
  std::future<Store> made = task.get_future();
  std::thread(std::move(task)).detach();
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
  while (made.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
    core::throw_if_stopped(reporter, "waiting for the other ranks");
    if (Clock::now() >= end) throw std::runtime_error("nobody answered in time");
  }
  return made.get();
}

// How often this rank has started at the place, this time counted. Every rank of a job runs the
// same commands, so that the ranks of one start find the same number.
std::int64_t count_start(c10d::Store& store, const Launch& launch) {
  return store.add(concat("corda/", launch.start, "/starts/", launch.rank), 1);
}

class Comer {
 public:
  Comer(const Launch& launch, const Limits& limits, const core::Reporter& reporter)
      : launch_(launch),
        reporter_(reporter),
        end_(Clock::now() + std::chrono::duration_cast<Clock::duration>(limits.join)) {}

  Place come() {
    if (launch_.rank == 0 && !launch_.hosted) return listen();
    while (true) {
      try {
        Place place = connect();
        // The server at this place may be the one of the command before, which is ending: then this
        // start is not its first, and the next server is waited for.
        if (launch_.hosted || place.start.ends_with("/1")) return place;
      } catch (const core::Interrupted&) {
        throw;
      } catch (const std::exception&) {  // not there yet
        if (Clock::now() >= end_) throw;
      }
      core::throw_if_stopped(reporter_, "waiting for the other ranks");
      if (Clock::now() >= end_) throw std::runtime_error("rank 0 did not come in time");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

 private:
  Seconds left() const { return std::max(Seconds(0.1), Seconds(end_ - Clock::now())); }

  Place named(Store store, const std::string& address, bool ours) const {
    const std::int64_t start = count_start(*store, launch_);
    return {std::move(store), address, concat(launch_.start, "/", start), ours};
  }

  Place listen() const {
    const bool by_file = launch_.address.empty();
    const std::string address = by_file ? kLoopback : launch_.address;
    Place place = named(make_store(address, by_file ? 0 : launch_.port, true, left(), reporter_),
                        address, true);
    if (by_file) core::write_file_atomic(launch_.file, concat(place.store->getPort()));
    return place;
  }

  Place connect() const {
    if (!launch_.address.empty()) {
      return named(make_store(launch_.address, launch_.port, false, left(), reporter_),
                   launch_.address, false);
    }
    // A file that an earlier job left names a port where nobody listens, or somebody else.
    const auto port = core::parse_int(core::trim(core::read_file(launch_.file)));
    if (!port) throw std::runtime_error(concat("'", launch_.file, "' names no port"));
    const Seconds patience = std::min(left(), Seconds(2));
    Store store = make_store(kLoopback, static_cast<int>(*port), false, patience, reporter_);
    store->setTimeout(milliseconds(left()));
    return named(std::move(store), kLoopback, false);
  }

  const Launch& launch_;
  const core::Reporter& reporter_;
  Clock::time_point end_;
};

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

std::string own_address_towards(const std::string& address) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), "9", &hints, &found) != 0) return "";
  std::string own;
  const int descriptor = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  if (descriptor >= 0 && ::connect(descriptor, found->ai_addr, found->ai_addrlen) == 0 &&
      ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size) == 0) {
    std::array<char, INET_ADDRSTRLEN> text{};
    if (::inet_ntop(AF_INET, &name.sin_addr, text.data(), text.size()) != nullptr)
      own = text.data();
  }
  if (descriptor >= 0) ::close(descriptor);
  ::freeaddrinfo(found);
  return own;
}

Place open_place() {
  const core::Reporter quiet;
  return {make_store(kLoopback, 0, true, Limits().join, quiet), kLoopback, "/1", true};
}

StorePtr store_of(const Place& place, const char* what) {
  return c10::make_intrusive<c10d::PrefixStore>(concat("corda/", place.start, "/", what),
                                                place.store->clone());
}

Place come_together(const Launch& launch, const Limits& limits, const core::Reporter& reporter) {
  try {
    return Comer(launch, limits, reporter).come();
  } catch (const core::Interrupted&) {
    throw;
  } catch (const std::exception& error) {
    const std::string where = launch.address.empty() ? concat("'", launch.file, "'")
                                                     : concat(launch.address, ":", launch.port);
    throw core::ResourceError(concat(
        "rank ", launch.rank, " of ", launch.size, " (", launch.launcher, "): ",
        launch.rank == 0 && !launch.hosted ? "cannot listen at " : "cannot reach rank 0 at ", where,
        "; MASTER_ADDR and MASTER_PORT must name the machine of rank 0 and a free port there, "
        "which every machine can reach (",
        core::first_line(error.what()), ")"));
  }
}

}  // namespace corda::dist
