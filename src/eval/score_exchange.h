// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Items shared out to several ranks, and their scores brought together.
#pragma once

#include <cstdint>
#include <vector>

#include "corda/dist/world.h"
#include "eval/task_items.h"
#include "eval/task_score.h"

namespace corda::eval {

// This rank's items, ascending. Neighbours stay together, since they often begin alike.
std::vector<std::size_t> own_items(const dist::World& world, const std::vector<Item>& items);

// The scores of all `count` items in order, on every rank, from `own`, which are those of the items
// `indices`.
std::vector<ItemScore> all_scores(dist::World& world, const std::vector<std::size_t>& indices,
                                  const std::vector<ItemScore>& own, std::size_t count);

}  // namespace corda::eval
