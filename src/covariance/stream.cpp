// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/covariance/stream.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <memory>

#include "corda/core/error.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "corda/model/block_loader.h"
#include "corda/model/forward.h"
#include "covariance/accumulator.h"
#include "covariance/hidden_states.h"

namespace corda::covariance {

using core::concat;

namespace {

// What activations between blocks take of one rank.
struct HiddenStatesNeed {
  std::int64_t bytes = 0;
  bool on_host = false;  // of the machine's memory, for a GPU
};

HiddenStatesNeed hidden_states_of(const std::vector<Draw>& draws,
                                  const model::ModelDescription& config,
                                  const StreamOptions& options) {
  std::int64_t tokens = 0;
  for (const auto& draw : draws) tokens += draw.tokens;
  HiddenStatesNeed need;
  need.bytes = tokens / options.world.size() * config.hidden_size *
               static_cast<std::int64_t>(c10::elementSize(options.dtype));
  need.on_host = hidden_states_on_host(options.hidden_states, need.bytes, options.device);
  return need;
}

// One draw: its batches on the device and its activations between blocks.
struct Lane {
  const Draw& draw;
  std::vector<model::Batch> batches;
  std::unique_ptr<HiddenStates> hidden;
};

// Elements of a block's tensors.
std::int64_t block_elements(const quant::ModelWeights& weights,
                            const model::ModelDescription& config, std::int64_t layer) {
  std::int64_t elements = 0;
  for (const std::string& name : model::block_tensors(config, layer)) {
    std::int64_t size = 1;
    for (const std::int64_t extent : weights.info(name).shape) size *= extent;
    elements += size;
  }
  return elements;
}

// Throws where a block with its covariances, or the activations between blocks, have no room.
// `wanted`: of each block up to the last that has any.
void require_memory(const quant::ModelWeights& weights, const model::ModelDescription& config,
                    const std::vector<std::vector<model::Site>>& wanted,
                    const StreamOptions& options, std::int64_t draws,
                    const HiddenStatesNeed& hidden) {
  const auto element = static_cast<std::int64_t>(c10::elementSize(options.dtype));
  std::int64_t most = element * config.vocab_size * config.hidden_size;  // embedding
  for (std::size_t layer = 0; layer < wanted.size(); ++layer) {
    std::int64_t bytes =
        element * block_elements(weights, config, static_cast<std::int64_t>(layer));
    for (const model::Site& site : wanted[layer])
      bytes +=
          draws * static_cast<std::int64_t>(sizeof(float)) * site.in_features * site.in_features;
    most = std::max(most, bytes);
  }
  constexpr const char* kFewer = "lower --samples or --seq-len, or ";
  constexpr const char* kOther = "use a device with more free memory (--device)";
  linalg::require_memory(options.device, "a block of the model with its covariances", most, kOther);
  if (hidden.on_host) {
    linalg::require_memory(at::kCPU, "what lies between blocks (--hidden-states)", hidden.bytes,
                           concat(kFewer, "use a machine with more memory"));
  } else {
    linalg::require_memory(options.device,
                           "a block with its covariances and what lies between blocks",
                           most + hidden.bytes, concat(kFewer, kOther));
  }
}

class Streamer {
 public:
  Streamer(const quant::ModelWeights& weights, const model::ModelDescription& config,
           const std::vector<Draw>& draws, const StreamOptions& options,
           const HiddenStatesNeed& hidden, core::Reporter& reporter)
      : options_(options),
        reporter_(reporter),
        load_{.device = options.device, .weights = options.dtype, .compute = options.dtype},
        loader_(weights, config, load_),
        model_(model::model_without_weights(config, load_)) {
    if (options.device.is_cuda()) {
      reporter.info(concat("activations between blocks: ", hidden.bytes / 1000000, " MB in ",
                           hidden.on_host ? "pinned host memory" : "the GPU's memory"));
    }
    for (const auto& draw : draws)
      lanes_.push_back({draw, {}, std::make_unique<HiddenStates>(options.device, hidden.on_host)});
  }

  void embed() {
    model_.embedding = loader_.embedding();
    for (auto& lane : lanes_) {
      for (const std::size_t i : own_batches(lane.draw)) {
        const data::PackedBatch& packed = lane.draw.batches[i];
        lane.batches.push_back(model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                 model_.config.vocab_size, options_.device));
        lane.hidden->put(lane.batches.size() - 1, model::embed(model_, lane.batches.back().ids));
      }
    }
    model_.embedding = at::Tensor();
  }

  // Runs block `layer` and returns the covariances of `sites`.
  std::vector<BlockCovariances> run(std::int64_t layer, const std::vector<model::Site>& sites) {
    model_.blocks[static_cast<std::size_t>(layer)] = loader_.take(layer);
    std::vector<BlockCovariances> result;
    for (auto& lane : lanes_) result.push_back(run_lane(lane, layer, sites));
    return result;
  }

  const model::Block& block(std::int64_t layer) const {
    return model_.blocks[static_cast<std::size_t>(layer)];
  }
  void release(std::int64_t layer) {
    model_.blocks[static_cast<std::size_t>(layer)] = {};
    loader_.forget(layer);
  }

  // Says where the mean drowns what is left without it.
  void warn_of_rounding() const {
    if (drowned_.empty()) return;
    reporter_.warn(concat(
        "the inputs of ", drowned_.size(), " sites (the first: ", drowned_.front(),
        ") vary by less than 1 % of their mean, so their centred covariance is partly rounding of "
        "fp32 sums; without --center it is not"));
  }

 private:
  // The numbers of the batches that this rank takes.
  std::vector<std::size_t> own_batches(const Draw& draw) const {
    std::vector<std::int64_t> sizes;
    for (const auto& batch : draw.batches) sizes.push_back(batch.tokens());
    return data::share_of(sizes, options_.world.rank(), options_.world.size());
  }

  BlockCovariances run_lane(Lane& lane, std::int64_t layer, const std::vector<model::Site>& sites) {
    std::map<std::string, CovarianceAccumulator> sums;
    for (const auto& site : sites) {
      sums.try_emplace(site.name, site.in_features,
                       options_.activation_scaling == ActivationScaling::kReference,
                       options_.device, options_.center);
    }
    for (std::size_t i = 0; i < lane.batches.size(); ++i) {
      core::throw_if_stopped(reporter_, "calibrating");
      const model::Batch& batch = lane.batches[i];
      model::PackedAttention attention(batch);
      const auto observe = [&](const std::string& site, const at::Tensor& x) {
        if (const auto sum = sums.find(site); sum != sums.end()) sum->second.add(x, batch.offsets);
      };
      const model::Positions positions = model::positions_of(model_, batch);
      lane.hidden->put(i, model::forward_block(model_, layer, lane.hidden->take(i), positions,
                                               attention, observe));
    }
    BlockCovariances result;
    for (const auto& site : sites) {
      CovarianceAccumulator& sum = sums.at(site.name);
      const int owner = options_.owner ? options_.owner(site.name) : 0;
      for (const at::Tensor& part : sum.sums()) options_.world.sum_to(part, owner);
      if (options_.world.rank() != owner) {
        result.push_back({site, {}, lane.draw.tokens});
        continue;
      }
      const at::Tensor covariance = sum.finish(lane.draw.samples, lane.draw.tokens);
      if (!covariance.isfinite().all().item<bool>()) {
        throw core::NumericalError(
            concat("the covariance of '", site.name,
                   "' is not finite: a weight is not, an activation overflowed, or a sample's ",
                   "largest activation is zero; check the model, try --dtype fp32 or ",
                   "--activation-scaling none"));
      }
      note_rounding(sum, site.name);
      result.push_back({site, covariance, lane.draw.tokens});
    }
    return result;
  }

  void note_rounding(const CovarianceAccumulator& sum, const std::string& site) {
    constexpr double kLeastShare = 1e-4;  // a thousand times the rounding of fp32 sums
    if (options_.center && !(sum.share_left() >= kLeastShare)) drowned_.push_back(site);
  }

  const StreamOptions& options_;
  core::Reporter& reporter_;
  model::LoadOptions load_;
  model::BlockLoader loader_;
  model::Model model_;
  std::vector<Lane> lanes_;
  std::vector<std::string> drowned_;  // sites whose inputs hardly vary
};

}  // namespace

StreamOptions stream_options(const DrawSettings& settings, at::Device device, dist::World& world) {
  const std::map<std::string, ActivationScaling> scalings = {
      {"auto", ActivationScaling::kReference},
      {"reference", ActivationScaling::kReference},
      {"none", ActivationScaling::kNone}};
  const std::map<std::string, HiddenStatesPlace> places = {{"auto", HiddenStatesPlace::kAuto},
                                                           {"device", HiddenStatesPlace::kDevice},
                                                           {"host", HiddenStatesPlace::kHost}};
  return {.device = device,
          .dtype = linalg::dtype_of(settings.dtype, device),
          .activation_scaling = scalings.at(settings.activation_scaling),
          .hidden_states = places.at(settings.hidden_states),
          .world = world};
}

void stream_blocks(const quant::ModelWeights& weights, const model::ModelDescription& config,
                   const std::vector<Draw>& draws, const StreamOptions& options,
                   const BlockConsumer& consume, core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<model::Site>> wanted;
  std::int64_t end = 0;
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    auto& sites = wanted.emplace_back(model::sites_of_block(config, layer));
    std::erase_if(sites, [&](const auto& s) { return options.wanted && !options.wanted(s.name); });
    if (!sites.empty()) end = layer + 1;
  }
  if (end == 0) return;
  wanted.resize(static_cast<std::size_t>(end));
  const HiddenStatesNeed hidden = hidden_states_of(draws, config, options);
  require_memory(weights, config, wanted, options, static_cast<std::int64_t>(draws.size()), hidden);
  Streamer streamer(weights, config, draws, options, hidden, reporter);
  streamer.embed();
  for (std::int64_t layer = 0; layer < end; ++layer) {
    const auto& sites = wanted[static_cast<std::size_t>(layer)];
    auto covariances = streamer.run(layer, sites);
    if (!sites.empty()) consume(layer, streamer.block(layer), covariances);
    streamer.release(layer);
  }
  streamer.warn_of_rounding();
}

}  // namespace corda::covariance
