// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/trained_state.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <utility>

#include "corda/core/error.h"

namespace corda::train {

using core::concat;

namespace {

constexpr std::array kMoments = {".exp_avg", ".exp_avg_sq", ".step"};  // as AdamW::state has them
constexpr std::size_t kSteps = 3;  // kinds of tensors of a part: weights, two moments, steps

// What ranks do together next.
enum class Request : std::int64_t { kEnd, kGather, kSpread, kSpreadSteps, kCheck };

// Which tensor of a split state.
struct Place {
  std::size_t part = 0;
  std::size_t kind = 0;
  std::size_t tensor = 0;  // of the part
  bool is_beside(const Place& other) const { return part == other.part && kind == other.kind; }
};

[[noreturn]] void throw_not_finite(const std::string& name) {
  throw core::NumericalError(concat("'", name,
                                    "' is not finite after the last step, training diverged; "
                                    "start again with a lower optim.lr"));
}

class WholeState final : public TrainedState {
 public:
  WholeState(const AdamW& optimizer, bool is_first) : optimizer_(optimizer), is_first_(is_first) {}

  void by_first(const std::function<void()>& work) override {
    if (is_first_) work();
  }

  StateTensors tensors() override {
    auto named = optimizer_.state();
    for (const auto& [name, parameter] : optimizer_.parameters())
      named.emplace_back(name, parameter.detach());
    StateTensors result;
    std::vector<at::Tensor> values;
    for (auto& [name, tensor] : named) {
      result.entries.push_back({name, tensor.sizes().vec()});
      values.push_back(std::move(tensor));
    }
    result.value = [values = std::move(values)](std::size_t entry) { return values[entry]; };
    return result;
  }

  bool is_split() const override { return false; }

  void restore(const std::function<at::Tensor(const StateEntry&)>& stored) override {
    const at::NoGradGuard no_grad;
    const StateTensors state = tensors();
    for (std::size_t i = 0; i < state.entries.size(); ++i)
      state.value(i).copy_(stored(state.entries[i]));
  }

  void require_finite() override {
    const auto& parameters = optimizer_.parameters();
    std::vector<at::Tensor> finite;
    for (const auto& [name, parameter] : parameters) finite.push_back(parameter.isfinite().all());
    if (finite.empty()) return;
    const at::Tensor all = at::stack(finite).cpu();  // one wait for the device
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (!all[static_cast<std::int64_t>(i)].item<bool>()) throw_not_finite(parameters[i].first);
  }

 private:
  const AdamW& optimizer_;
  bool is_first_;
};

// Rank 0 says what is to be done together next, and the others do it with it.
class SplitState final : public TrainedState {
 public:
  SplitState(const AdamW& optimizer, ShardedParameters& parameters, dist::World& world)
      : parameters_(parameters), world_(world) {
    const auto moments = optimizer.state();
    for (std::size_t part = 0; part < optimizer.parameters().size(); ++part) {
      const at::Tensor own = optimizer.parameters()[part].second.detach();
      const auto moment = [&](std::size_t i) { return moments[part * kMoments.size() + i].second; };
      pieces_.push_back({own, moment(0), moment(1)});
      steps_.push_back(moment(2));
    }
    list_entries();
  }

  void by_first(const std::function<void()>& work) override {
    parameters_.forget();
    here_ = {};
    if (!world_.is_first()) return serve();
    try {
      work();
    } catch (const std::exception&) {
      try {
        say(Request::kEnd);
      } catch (const std::exception&) {  // then the others end by what they learn of this rank
      }
      throw;
    }
    say(Request::kEnd);
  }

  StateTensors tensors() override {
    return {entries_, [this](std::size_t entry) { return value(places_[entry]); }};
  }

  bool is_split() const override { return true; }

  void restore(const std::function<at::Tensor(const StateEntry&)>& stored) override {
    const at::NoGradGuard no_grad;
    here_ = {};
    at::Tensor steps = at::zeros({parts()}, at::kDouble);
    for (std::size_t i = 0; i < entries_.size();) {
      const Place first = places_[i];
      if (first.kind == kSteps) {  // one for all tensors of a part
        steps[static_cast<std::int64_t>(first.part)] = stored(entries_[i]).item<double>();
        while (i < entries_.size() && places_[i].is_beside(first)) ++i;
        continue;
      }
      const at::Tensor room = parameters_.room_of(first.part);
      room.zero_();
      for (; i < entries_.size() && places_[i].is_beside(first); ++i)
        view(room, places_[i]).copy_(stored(entries_[i]));
      together(Request::kSpread, first);
    }
    say(Request::kSpreadSteps);
    spread_steps(steps);
  }

  void require_finite() override {
    say(Request::kCheck);
    const at::Tensor found = count_not_finite();
    for (std::int64_t part = 0; part < parts(); ++part) {
      if (found[part].item<double>() > 0)
        throw_not_finite(parameters_.layout().parts[static_cast<std::size_t>(part)].name);
    }
  }

 private:
  std::int64_t parts() const { return static_cast<std::int64_t>(pieces_.size()); }

  void list_entries() {
    const auto& all = parameters_.layout().parts;
    for (std::size_t part = 0; part < all.size(); ++part) {
      for (std::size_t kind = 0; kind <= kSteps; ++kind) {
        for (std::size_t i = 0; i < all[part].places.size(); ++i) {
          const ShardPlace& place = all[part].places[i];
          StateEntry entry{place.name, place.sizes};
          if (kind > 0) entry.name += kMoments[kind - 1];
          if (kind == kSteps) entry.sizes.clear();
          entries_.push_back(std::move(entry));
          places_.push_back({part, kind, i});
        }
      }
    }
  }

  at::Tensor view(const at::Tensor& whole, const Place& place) const {
    const ShardPlace& where = parameters_.layout().parts[place.part].places[place.tensor];
    return whole.narrow(0, where.begin, where.elements()).view(where.sizes);
  }

  at::Tensor value(const Place& place) {
    if (place.kind == kSteps) return steps_[place.part];
    if (!here_.whole.defined() || !here_.place.is_beside(place)) {
      here_ = {};
      here_.whole = together(Request::kGather, place);
      here_.place = place;
    }
    return view(here_.whole, place);
  }

  // On rank 0: tells the others and does it.
  void say(Request request, const Place& place = {}) {
    const at::Tensor told =
        at::tensor({static_cast<std::int64_t>(request), static_cast<std::int64_t>(place.part),
                    static_cast<std::int64_t>(place.kind)},
                   at::kLong);
    world_.broadcast(told, 0);
  }
  at::Tensor together(Request request, const Place& place) {
    say(request, place);
    return exchange(request, place);
  }

  // On every rank.
  at::Tensor exchange(Request request, const Place& place) {
    const at::Tensor& piece = pieces_[place.part][place.kind];
    if (request == Request::kGather) return parameters_.gathered(place.part, piece);
    parameters_.spread(place.part, piece);
    return {};
  }
  void spread_steps(const at::Tensor& steps) {
    world_.broadcast(steps, 0);
    for (std::int64_t part = 0; part < parts(); ++part)
      steps_[static_cast<std::size_t>(part)].fill_(steps[part].item<double>());
  }
  // Of how many ranks the piece of each part is not finite.
  at::Tensor count_not_finite() {
    const at::Tensor found = at::zeros({parts()}, at::kDouble);
    for (std::int64_t part = 0; part < parts(); ++part) {
      const at::Tensor& own = pieces_[static_cast<std::size_t>(part)].front();
      if (!own.isfinite().all().item<bool>()) found[part] = 1;
    }
    world_.sum(found);
    return found;
  }

  // On the other ranks.
  void serve() {
    while (true) {
      const at::Tensor told = at::zeros({3}, at::kLong);
      world_.broadcast(told, 0);
      const auto request = static_cast<Request>(told[0].item<std::int64_t>());
      const Place place{static_cast<std::size_t>(told[1].item<std::int64_t>()),
                        static_cast<std::size_t>(told[2].item<std::int64_t>())};
      if (request == Request::kEnd) return;
      if (request == Request::kCheck) {
        count_not_finite();
      } else if (request == Request::kSpreadSteps) {
        spread_steps(at::zeros({parts()}, at::kDouble));
      } else {
        exchange(request, place);
      }
    }
  }

  // What stands in the room.
  struct Here {
    Place place;
    at::Tensor whole;
  };

  ShardedParameters& parameters_;
  dist::World& world_;
  std::vector<std::array<at::Tensor, kSteps>> pieces_;  // weights and two moments of each part
  std::vector<at::Tensor> steps_;
  std::vector<StateEntry> entries_;
  std::vector<Place> places_;  // of the entries
  Here here_;
};

}  // namespace

std::int64_t StateTensors::bytes() const {
  std::int64_t bytes = 0;
  for (const StateEntry& entry : entries) {
    std::int64_t elements = 1;
    for (const std::int64_t size : entry.sizes) elements *= size;
    bytes += 4 * elements;
  }
  return bytes;
}

at::Tensor TrainedState::parameter(const std::string& name) {
  const StateTensors state = tensors();
  const auto found = std::ranges::find(state.entries, name, &StateEntry::name);
  if (found == state.entries.end())
    throw core::InternalError(concat("[train::TrainedState] no parameter ", name));
  return state.value(static_cast<std::size_t>(found - state.entries.begin()));
}

std::unique_ptr<TrainedState> whole_state(const AdamW& optimizer, bool is_first) {
  return std::make_unique<WholeState>(optimizer, is_first);
}

std::unique_ptr<TrainedState> split_state(const AdamW& optimizer, ShardedParameters& parameters,
                                          dist::World& world) {
  return std::make_unique<SplitState>(optimizer, parameters, world);
}

}  // namespace corda::train
