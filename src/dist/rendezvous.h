// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The place where ranks leave texts for each other, and how they come to it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "corda/core/reporter.h"
#include "corda/dist/launch.h"
#include "dist/meeting.h"

namespace corda::dist {

struct Place {
  c10::intrusive_ptr<c10d::TCPStore> store;
  std::string address;
  std::string start;     // in front of every key: tells this start from others at the same place
  bool is_ours = false;  // the server ends with this process
};

std::string host_name();
// The address of this machine that packets to `address` leave from; "" where that is not known.
std::string own_address_towards(const std::string& address);

// A server on this machine, at a port of the system's choice.
Place open_place();
// A store whose keys have `place.start` and `what` in front, over a connection of its own so that
// no other call can hold it up.
StorePtr store_of(const Place& place, const char* what);

// Listens or connects, as the launch says. Throws ResourceError once the limit is over, Interrupted
// where the reporter asks to stop.
Place come_together(const Launch& launch, const Limits& limits, const core::Reporter& reporter);

// The store that the ranks' watchers write to; the address of ranks that one machine started.
inline constexpr const char* kLife = "life";
inline constexpr const char* kLoopback = "127.0.0.1";

}  // namespace corda::dist
