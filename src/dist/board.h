// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A board at the place where the ranks meet.
#pragma once

#include <memory>

#include "corda/dist/world.h"
#include "dist/meeting.h"

namespace corda::dist {

// Its counter and its texts are the keys of `store`, which are nobody else's.
std::unique_ptr<Board> board_in(StorePtr store, Watcher& watcher);

}  // namespace corda::dist
