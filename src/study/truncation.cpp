// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/study/truncation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "adapter/target_modules.h"
#include "corda/calibrate/calibrate.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/eval/eval.h"
#include "corda/linalg/damped_covariance.h"
#include "corda/linalg/device.h"
#include "corda/linalg/spectrum.h"
#include "corda/model/sites.h"
#include "eval/load_model.h"
#include "eval/perplexity.h"
#include "study/input_statistics.h"
#include "study/named_settings.h"

namespace corda::study {

using core::concat;

namespace {

// This is added to ASVD's powers, so that an input which never was anything but zero has a scale.
constexpr double kLeastScale = 1e-6;

// A layer that is truncated: where its weight stands, and the site of its input.
struct Target {
  std::string module;
  std::string site;
  at::Tensor* place = nullptr;
  at::Tensor original;
};

class Truncation {
 public:
  Truncation(const TruncationSettings& settings, const ExpandPaths& expand,
             core::Reporter& reporter)
      : s_(settings), reporter_(reporter) {
    read_sets(expand);
    model_ = eval::load_model({.model = s_.model,
                               .assume_family = "",
                               .adapter = "",
                               .device = s_.device,
                               .dtype = s_.dtype,
                               .base = "bf16"},
                              reporter_);
    find_targets();
    for (const auto& [name, settings_of_test] : tests_)
      samples_[name] = eval::perplexity_samples(settings_of_test, reporter_);
  }

  std::vector<TruncationRow> run() {
    const at::NoGradGuard no_grad;
    if (ranks_.contains(0)) measure("-", "-", 0);
    for (const std::string& method : s_.methods) {
      if (method == "svd") drop(method, "-", {});
    }
    const bool needs_inputs =
        std::ranges::any_of(s_.methods, [](const auto& m) { return m != "svd"; });
    for (const auto& [name, settings] : calibrations_) {
      if (!needs_inputs) break;
      const auto statistics = calibrate(settings);
      for (const std::string& method : s_.methods) {
        if (method != "svd") drop(method, name, statistics);
      }
    }
    return std::move(rows_);
  }

 private:
  using Statistics = std::map<std::string, InputStatistics>;

  void read_sets(const ExpandPaths& expand) {
    std::vector<std::string> problems;
    for (const auto& [name, node] : s_.calibrations.entries) {
      calibrate::CalibrateSettings set;
      collect(problems, "calibrations." + name, [&] {
        read_named(calibrate::settings_of(set), node, {{"model", s_.model}, {"out", "-"}}, expand);
        if (set.center)
          throw core::ConfigError("'center' is for decompose --mode eva, not for a truncation");
        if (set.of != "inputs")
          throw core::ConfigError(
              concat("'of: ", set.of, "' is for decompose --mode dual, not for a truncation"));
      });
      covariance::settle_scaling(set, /*centred=*/false);
      set.threads = s_.threads;
      calibrations_.emplace(name, set);
    }
    for (const auto& [name, node] : s_.tests.entries) {
      eval::EvalSettings set;
      collect(problems, "tests." + name, [&] {
        read_named(eval::settings_of(set), node, {{"model", s_.model}}, expand);
        if (set.task != "perplexity")
          throw core::ConfigError(concat("the task must be perplexity; it is ", set.task));
      });
      tests_.emplace(name, set);
    }
    for (const double rank : s_.ranks) {
      if (rank != std::floor(rank))
        problems.push_back(concat("'ranks' must be whole numbers; one is ", rank));
      ranks_.insert(static_cast<std::int64_t>(rank));
    }
    static const std::set<std::string> kMethods = {"svd", "asvd", "co-svd"};
    for (const std::string& method : s_.methods) {
      if (!kMethods.contains(method))
        problems.push_back(concat("'methods' must be of svd, asvd, co-svd; one is '", method, "'"));
    }
    if (tests_.empty()) problems.emplace_back("'tests' names no data to measure on");
    const bool inputs = std::ranges::any_of(s_.methods, [](const auto& m) { return m != "svd"; });
    if (inputs && calibrations_.empty())
      problems.emplace_back("'calibrations' names no data, which asvd and co-svd need");
    if (!problems.empty()) throw core::ConfigError(core::join(problems, "\n"));
  }

  void find_targets() {
    std::map<std::string, std::string> site_of;
    for (const model::Site& site : model::sites_of(model_.config)) {
      for (const auto& module : site.modules) site_of[module] = site.name;
    }
    const std::vector<std::string> all = model::layers_of_blocks(model_.config);
    const auto chosen = adapter::select_targets(
        "target_modules", adapter::expand_targets("target_modules", s_.target_modules, all), all);
    const std::set<std::string> wanted(chosen.begin(), chosen.end());
    for (model::Linear* linear : model_.linear_layers()) {
      if (wanted.contains(linear->name))
        targets_.push_back(
            {linear->name, site_of.at(linear->name), &linear->weight, linear->weight});
    }
    if (s_.head) {
      // From here on a tied head is a layer of its own, or the embedding would be truncated too.
      if (model_.config.tied) model_.head.weight = model_.embedding;
      model_.config.tied = false;
      targets_.push_back({"lm_head", kHeadSite, &model_.head.weight, model_.head.weight});
    }
    const std::int64_t most = *ranks_.rbegin();
    for (const Target& target : targets_) {
      const std::int64_t size = std::min(target.original.size(0), target.original.size(1));
      if (most > size)
        throw core::ConfigError(concat("'ranks' holds ", most, ", and '", target.module, "' has ",
                                       size, " components; leave that number or the layer out"));
    }
  }

  Statistics calibrate(const calibrate::CalibrateSettings& given) {
    calibrate::CalibrateSettings settings = given;
    settings.seq_len = model::window_tokens(model_.config, settings.seq_len, reporter_);
    const covariance::Draw draw =
        covariance::draw_samples(settings, settings.data, s_.model, model_.config, reporter_);
    return statistics_of(model_, draw, settings.activation_scaling == "reference", s_.head,
                         reporter_);
  }

  // The matrix S of W S, fp64.
  at::Tensor metric(const std::string& method, const Target& target,
                    const Statistics& statistics) const {
    const auto options = at::TensorOptions().dtype(at::kDouble).device(model_.device());
    if (method == "svd") return at::eye(target.original.size(1), options);
    const InputStatistics& input = statistics.at(target.site);
    if (method == "asvd")
      return at::diag(input.mean_magnitude.pow(s_.asvd_alpha).add(kLeastScale)).to(options);
    return linalg::damp(input.covariance, s_.damping);
  }

  // Measures the model without 1, 2... of the smallest components, as far as the list goes.
  void drop(const std::string& method, const std::string& calibration,
            const Statistics& statistics) {
    const std::int64_t most = *ranks_.rbegin();
    if (most == 0) return;
    std::vector<at::Tensor> directions;  // [out, most], the smallest first
    reporter_.begin(concat(method, ", ", calibration), static_cast<std::int64_t>(targets_.size()),
                    "layer");
    for (const Target& target : targets_) {
      core::throw_if_stopped(reporter_, "decomposing");
      directions.push_back(smallest_of(method, target, statistics, most).to(at::kFloat));
      reporter_.advance(1, target.module);
    }
    reporter_.end();
    for (const std::int64_t rank : ranks_) {
      if (rank == 0) continue;
      for (std::size_t i = 0; i < targets_.size(); ++i) {
        const at::Tensor weight = targets_[i].original.to(at::kFloat);
        const at::Tensor u = directions[i].narrow(1, 0, rank);
        *targets_[i].place =
            weight.sub(u.mm(u.t().mm(weight))).to(targets_[i].original.scalar_type());
      }
      measure(method, calibration, rank);
    }
    for (const Target& target : targets_) *target.place = target.original;
  }

  at::Tensor smallest_of(const std::string& method, const Target& target,
                         const Statistics& statistics, std::int64_t most) const {
    try {
      return linalg::left_singular_subspace(target.original.to(at::kDouble),
                                            metric(method, target, statistics), most,
                                            linalg::Which::kSmallest)
          .vectors;
    } catch (const core::NumericalError& error) {
      throw core::NumericalError(concat("'", target.module, "': ", error.what()));
    }
  }

  void measure(const std::string& method, const std::string& calibration, std::int64_t dropped) {
    for (const auto& [name, settings] : tests_) {
      eval::EvalResult result;
      eval::measure_nll(model_, samples_.at(name), settings, result, reporter_, dist::alone());
      rows_.push_back({.method = method,
                       .calibration = calibration,
                       .test = name,
                       .dropped = dropped,
                       .nll = result.nll,
                       .perplexity = result.perplexity});
      reporter_.info(concat(method, ", calibrated on ", calibration, ", ", dropped,
                            " dropped: perplexity ", result.perplexity, " on ", name));
    }
  }

  const TruncationSettings& s_;
  core::Reporter& reporter_;
  std::map<std::string, calibrate::CalibrateSettings> calibrations_;
  std::map<std::string, eval::EvalSettings> tests_;
  std::map<std::string, std::vector<data::Sample>> samples_;
  std::set<std::int64_t> ranks_;
  model::Model model_;
  std::vector<Target> targets_;
  std::vector<TruncationRow> rows_;
};

}  // namespace

std::vector<TruncationRow> truncation(const TruncationSettings& given, core::Reporter& reporter,
                                      const ExpandPaths& expand) {
  TruncationSettings settings = given;
  const core::SettingsList list = settings_of(settings);
  list.check_required();
  list.check_values();
  if (settings.ranks.empty()) throw core::ConfigError("'ranks' names no number of components");
  linalg::set_threads(settings.threads);
  return Truncation(settings, expand, reporter).run();
}

}  // namespace corda::study
