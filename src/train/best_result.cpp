// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/best_result.h"

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"

namespace corda::train {

using core::concat;

core::Json to_json(const BestSoFar& best) {
  return {{"step", best.step}, {"loss", best.loss}, {"worse", best.worse}, {"data", best.data}};
}

BestSoFar best_from_json(const core::Fields& json) {
  return {.step = json.integer("step", 1),
          .loss = json.number("loss"),
          .worse = json.integer("worse", 0),
          .data = json.text("data")};
}

BestResult::BestResult(const fs::path& run, std::string data)
    : directory_(run / "best"), data_(std::move(data)) {}

fs::path BestResult::directory_of(std::int64_t step) const {
  return directory_ / concat("step-", step);
}

bool BestResult::restore(const BestSoFar& best) {
  std::error_code ignored;
  if (best.data != data_ || !fs::is_directory(directory_of(best.step), ignored)) return false;
  best_ = best;
  named_.fill(best.step);
  return true;
}

void BestResult::evaluated(std::int64_t step, double loss,
                           const std::function<void(const fs::path&)>& save) {
  if (best_ && loss >= best_->loss) {
    ++best_->worse;
    return;
  }
  save(directory_of(step));
  best_ = {.step = step, .loss = loss, .worse = 0, .data = data_};
  remove_all_but_needed();
}

void BestResult::checkpointed() {
  if (!best_) return;
  named_ = {named_.back(), best_->step};
}

void BestResult::remove_all_but_needed() const {
  std::error_code ignored;
  std::vector<fs::path> surplus;
  for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
    const auto is = [&](std::int64_t step) { return entry.path() == directory_of(step); };
    if (!is(best_->step) && std::none_of(named_.begin(), named_.end(), is))
      surplus.push_back(entry.path());
  }
  for (const fs::path& path : surplus) fs::remove_all(path, ignored);
}

void BestResult::move_to(const fs::path& result, const std::string& card) {
  if (!card.empty()) card::write(directory_of(best_->step), card);
  std::error_code error;
  fs::rename(directory_of(best_->step), result, error);
  if (error) core::throw_output_error("create", result, error.value());
  core::sync_path(result.parent_path());
  fs::remove_all(directory_, error);
}

}  // namespace corda::train
