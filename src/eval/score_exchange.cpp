// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/score_exchange.h"

#include "core/json.h"

namespace corda::eval {

namespace {

core::Json to_json(std::size_t index, const ItemScore& score) {
  return {{"item", index},
          {"log_likelihoods", score.log_likelihoods},
          {"greedy", score.greedy},
          {"answer", score.answer},
          {"extracted", score.extracted},
          {"metrics", score.metrics}};
}

ItemScore score_of(const core::Json& json) {
  return {.log_likelihoods = json.at("log_likelihoods").get<std::vector<double>>(),
          .greedy = json.at("greedy").get<std::vector<bool>>(),
          .answer = json.at("answer").get<std::string>(),
          .extracted = json.at("extracted").get<std::vector<std::string>>(),
          .metrics = json.at("metrics").get<std::vector<double>>()};
}

// How many bytes are put to the model.
std::size_t size_of(const Item& item) {
  std::size_t size = 1;
  for (const auto* texts : {&item.contexts, &item.continuations})
    for (const auto& text : *texts) size += text.size();
  return size;
}

}  // namespace

std::vector<std::size_t> own_items(const dist::World& world, const std::vector<Item>& items) {
  std::size_t total = 0;
  for (const Item& item : items) total += size_of(item);
  const auto ranks = static_cast<std::size_t>(world.size());
  std::vector<std::size_t> own;
  std::size_t before = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    // The rank in whose equal part of all bytes the item begins.
    if (before * ranks / total == static_cast<std::size_t>(world.rank())) own.push_back(i);
    before += size_of(items[i]);
  }
  return own;
}

std::vector<ItemScore> all_scores(dist::World& world, const std::vector<std::size_t>& indices,
                                  const std::vector<ItemScore>& own, std::size_t count) {
  if (world.is_alone()) return own;
  core::Json mine = core::Json::array();
  for (std::size_t i = 0; i < indices.size(); ++i) mine.push_back(to_json(indices[i], own[i]));
  std::vector<ItemScore> all(count);
  for (const std::string& text : world.gather(core::json_line(mine))) {
    for (const core::Json& score : core::parse_json(text, "a rank's scores"))
      all.at(score.at("item").get<std::size_t>()) = score_of(score);
  }
  return all;
}

}  // namespace corda::eval
