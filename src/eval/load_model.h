// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model with or without an adapter, as it is measured and talked to.
#pragma once

#include <functional>
#include <string>

#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "corda/eval/eval.h"
#include "corda/model/model.h"

namespace corda::eval {

struct ModelChoice {
  std::string model;
  std::string assume_family;
  std::string adapter;  // "": none
  std::string device;
  std::string dtype;
  std::string base = "auto";  // quant::base_names
  bool offers_base = false;   // whether the user has a setting for it
};

ModelChoice choice_of(const EvalSettings& settings);

// The adapter is folded into the weights. One that makes good what codes lose takes a base `auto`
// in these. `checked` is called once it is known to fit, before any weight of the base is read; it
// may be empty. On the device of this rank of `world`.
model::Model load_model(const ModelChoice& choice, core::Reporter& reporter,
                        const std::function<void()>& checked = {},
                        dist::World& world = dist::alone());

}  // namespace corda::eval
