// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Runs calibration text through a model one decoder block at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "corda/covariance/draw.h"
#include "corda/dist/world.h"
#include "corda/model/model.h"
#include "corda/model/sites.h"
#include "corda/quant/model_weights.h"

namespace corda::covariance {

// A site's covariance on the device: C [in, in] fp32, symmetric. With scaling `reference` C = 1/N
// sum_n X_n^T X_n / max(X_n)^2 over the N samples, X_n [tokens, in] being sample n's activations
// and max their largest (signed) element, as the authors' code does (Yang et al. 2024); with `none`
// C = sum_t x_t x_t^T over all tokens.
//
// Centred: the same of x - m, m being the mean over all tokens (of inputs divided by their sample's
// maximum where these are). The sum S of x x^T, fp32, is taken first and tokens m m^T, fp64, taken
// off it, so the rounding is that of S: about 2e-6 sqrt(S_ii S_jj) of an entry, 1e-5 where x hardly
// varies (measured over 520 000 tokens). A deviation of a tenth of the mean is then known to 2e-4
// of its square, of a hundredth to 2e-2. In the model that was looked at (nano-qa-11m) the mean is
// at most a tenth of a site's energy and twice an input's deviation, which costs nothing. Moving x
// by a first guess of m before the product would cost 16-bit inputs their exact products.
struct SiteCovariance {
  model::Site site;
  at::Tensor covariance;  // undefined on a rank that is not its owner
  std::int64_t tokens = 0;
};

// The wanted sites of a block for one draw, in the order of the forward pass.
using BlockCovariances = std::vector<SiteCovariance>;

enum class ActivationScaling { kReference, kNone };

// Where activations between blocks live; kAuto: on the device while they fit into a quarter of its
// free memory, else in pinned host memory.
enum class HiddenStatesPlace { kAuto, kDevice, kHost };

struct StreamOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  // of weights and activations
  ActivationScaling activation_scaling = ActivationScaling::kReference;
  bool center = false;  // the mean of a site's inputs is taken off
  HiddenStatesPlace hidden_states = HiddenStatesPlace::kAuto;
  // The sites whose covariance is asked for; empty: all. Blocks without such a site are only run,
  // those after the last one that has one are not.
  std::function<bool(const std::string& site)> wanted = {};
  // The ranks that share the batches of every draw, and which of them gets a site's covariance;
  // without `owner` rank 0 gets all.
  dist::World& world = dist::alone();
  std::function<int(const std::string& site)> owner = {};
};

// The options that `settings` name, for all sites, not centred. The words are those of
// `add_draw_settings`, which core::SettingsList::check_values has seen to.
StreamOptions stream_options(const DrawSettings& settings, at::Device device,
                             dist::World& world = dist::alone());

// Called once for every block with a wanted site, in their order, with the covariances of each draw
// and the block's weights in `dtype`. Both are freed after the call unless they are kept; a
// covariance that is moved out is freed when its taker is done.
using BlockConsumer = std::function<void(std::int64_t layer, const model::Block& block,
                                         std::vector<BlockCovariances>& draws)>;

// All batches of every draw go through block n before block n + 1 is used. In the device's memory:
// the weights of this block and the next, this block's covariances (one set a draw), and the
// activations between blocks where they are not in host memory. Samples are never padded. 16-bit
// activations are multiplied exactly and summed in fp32. Throws Interrupted, and NumericalError
// naming a site whose covariance is not finite.
void stream_blocks(const quant::ModelWeights& weights, const model::ModelDescription& config,
                   const std::vector<Draw>& draws, const StreamOptions& options,
                   const BlockConsumer& consume, core::Reporter& reporter);

}  // namespace corda::covariance
