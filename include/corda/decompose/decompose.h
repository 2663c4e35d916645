// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Makes the adapter that training starts from, out of a model and its input covariances.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/covariance/draw.h"
#include "corda/dist/world.h"

namespace corda::decompose {

// The members of DrawSettings say how `data` and `task_data` are drawn and run.
struct DecomposeSettings : covariance::DrawSettings {
  std::string model;                    // the base's directory
  std::string assume_family = {};       // a model_type to read the model as; "": its own
  std::vector<std::string> covariance;  // directories
  // What becomes of several covariances: mix them with equal weight, or compact, every layer takes
  // one of them (CorDA++).
  std::string covariance_choice = "mix";
  std::string task_covariance;         // with covariance directories, of modes with two: the task's
  std::vector<std::string> task_data;  // likewise with `data`: the task's files
  // eva with `data`: whether the mean is taken off the inputs, auto | true | false; auto: true.
  std::string center = "auto";
  std::string method = "corda";  // corda | pissa
  std::string mode = "kpa";      // of modes() (mode.h); corda only
  double beta = 0.8;             // sc: weight of the knowledge, that of the task is 1 - beta
  std::string base = "nf4";      // cloq: in which codes training will hold the base, nf4 | fp8
  std::int64_t rank = 128;  // of the adapter; stored factors have 2r where a start is subtracted
  // How layers come to their ranks, whose mean is `rank`: auto | equal | explained | compact.
  std::string ranks = "auto";
  double rho = 2;    // the largest rank of a layer, in units of `rank`; explained, compact
  double alpha = 0;  // the adapter's product is scaled by alpha / rank; 0: the rank
  // Last parts of the names of the layers that get an adapter, or whole names; all-linear: every
  // layer of the blocks.
  std::vector<std::string> target_modules = {"all-linear"};
  double damping = 0.01;        // c of C + c mean(diag C) I
  bool exact = false;           // the exact fp64 route for every layer
  std::string device = "auto";  // linalg::device_of
  std::string out;              // the adapter directory that is written
};

// The list behind the flags of `corda decompose` and settings.resolved.yaml.
core::SettingsList settings_of(DecomposeSettings& settings);
// Throws ConfigError for settings that do not go together, or that the mode does not look at.
void check(const DecomposeSettings& settings);

struct DecomposeResult {
  std::int64_t layers = 0;  // that were decomposed, those skipped among them
  std::int64_t rank = 0;
  std::int64_t smallest_rank = 0;   // of a layer with an adapter
  std::int64_t largest_rank = 0;    // likewise
  std::int64_t layers_without = 0;  // that were given no rank and have no adapter
  // The share of the energy that was chosen, 0 to 1: the sum of energy^2 over that of
  // total_energy^2, or of the energies themselves where these are sums.
  double energy_share = 0;
  std::int64_t layers_skipped = 0;  // that an earlier process had finished
  std::int64_t layers_redone = 0;   // by the exact route, the fast one having proved no bound
  double worst_bound = 1;           // of any layer, see adapter::LayerReport::bound
  double seconds = 0;
  std::int64_t peak_memory_bytes = 0;                   // linalg::peak_memory_bytes
  std::map<std::string, adapter::LayerReport> reports;  // by module name
};

// Writes an adapter directory (adapter.h) and settings.resolved.yaml, atomically. modes() says what
// the directions are, and `ranks` how many a layer gets (ranks.h in src/decompose). The covariances
// come from directories (`covariance`), the next site being read
// while the present one is decomposed, or are collected on the way (`data`), the model running one
// block at a time (covariance/stream.h). Several directories are averaged after each was divided by
// its trace, then scaled back by the mean of the traces, so that A0 and B0 stay as balanced as with
// one. In the device's memory: two sites with the weights of their layers, or what streaming needs,
// and the solver's workspace; the adapter itself is on the disk. Every layer's energy is proved to
// be within the bounds of linalg/spectrum.h, or computed by the exact route. Finished sites are
// kept in `OUT.work` until the adapter is complete: after a kill the same command goes on there.
// Several ranks share the sites (and with `data` the samples), and rank 0 writes what one would
// write, but for the order of sums. Throws ConfigError (settings, a rank above a layer's size,
// covariances of another model), FormatError (a module without covariance, malformed files),
// NumericalError naming the layer.
DecomposeResult decompose(const DecomposeSettings& settings, core::Reporter& reporter,
                          dist::World& world = dist::alone());

}  // namespace corda::decompose
