// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The ways to make an adapter: one row of a table each (docs/modes.md has formulas and sources,
// docs/adding-a-mode.md says how a row comes to be).
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace corda::decompose {

struct SiteWork;
struct LayerStart;
struct LayerSite;

// What a mode is made from beside the weight. One covariance alone is `covariance` or `data`
// whatever it is of; of two the task's is `task_covariance` or `task_data`.
enum class Input { kWeight, kKnowledge, kTask, kBoth };

struct Mode {
  std::string_view name;
  std::string_view method;  // that the adapter is of: corda, or pissa, whose only mode has no name
  std::string_view what;    // one line for a user
  Input input = Input::kWeight;
  bool reads_weight = true;
  bool trains_a = true;
  bool trains_b = true;
  bool subtracts_start = false;  // A0 and B0 are not zero; the file holds 2 x rank
  // The start makes good what the base loses in codes (DecomposeSettings::base), so it changes what
  // the model computes, and the adapter is for a base in these codes.
  bool corrects_base = false;
  // Whether the values of components are singular values, whose squares add up; else they are
  // energies, which add up themselves.
  bool has_singular_values = true;
  // Whether components are the largest ones, so that their shares of the whole tell layers apart.
  bool takes_largest = true;
  bool is_of_product = false;  // of W C~: CorDA++'s choices are defined
  // Whether its inputs are centred, as it was published; to the others the mean counts, and they
  // refuse a covariance without it.
  bool centres = false;
  // Whether the task may be given by Gram matrices of gradients in place of a covariance.
  bool takes_gradients = false;
  // Settings that only some modes read and this one does; a mode refuses those it lacks. "": none.
  std::array<std::string_view, 2> own_settings = {};
  std::string_view ranks = "equal";  // what `ranks: auto` means: as the mode was published
  // Functions of src/decompose/starts.h: the first makes what the layers of a site share, once
  // (null: they share nothing), the second makes the start of one layer.
  void (*prepare)(SiteWork& site) = nullptr;
  LayerStart (*start)(const SiteWork& site, const LayerSite& layer) = nullptr;
};

std::span<const Mode> modes();

}  // namespace corda::decompose
