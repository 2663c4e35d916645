// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/text.h"
#include "corda/eval/scale_curve.h"
#include "corda/eval/verify_merge.h"
#include "corda/linalg/device.h"
#include "corda/merge/merge.h"

namespace corda::tools {

namespace {

struct MergeFlags {
  merge::MergeSettings settings;
  eval::VerifySettings verify_settings;
  bool verify = false;
};

// The settings of merging and of verifying stand in one list, since no name is in both.
core::SettingsList settings_of(MergeFlags& flags) {
  core::SettingsList list = merge::settings_of(flags.settings);
  const core::SettingsList verify = eval::settings_of(flags.verify_settings);
  for (const auto& setting : verify.items()) list.add(setting);
  return list;
}

void print(const MergeFlags& flags, const eval::VerifyResult& verified) {
  const double share =
      100.0 * static_cast<double>(verified.same_argmax) / static_cast<double>(verified.targets);
  std::printf(
      "%s on %s (%lld target tokens): the most likely token is the same at %.2f %%, loss %.5f with "
      "the adapter and %.5f merged, logits differ by %.2e of the largest\n",
      verified.agrees() ? "verified" : "compared", verified.data.c_str(),
      static_cast<long long>(verified.targets), share, verified.loss_before, verified.loss_after,
      verified.relative_difference);
  if (!verified.other_difference) return;
  const bool nearer = verified.relative_difference <= *verified.other_difference;
  const bool into_codes = flags.settings.into == "quantised-base";
  std::printf("merging into the %s would differ by %.2e: %s is nearer to what was trained\n",
              into_codes ? "16-bit base" : "quantised base (--into quantised-base)",
              *verified.other_difference, nearer ? "this" : "that");
}

void print(const MergeFlags& flags, const merge::MergeResult& result,
           const eval::VerifyResult* verified, bool json) {
  if (json) {
    nlohmann::ordered_json object = {{"out", flags.settings.out},
                                     {"tensors", result.tensors},
                                     {"merged", result.merged},
                                     {"shards", result.shards},
                                     {"bytes", result.bytes},
                                     {"seconds", result.seconds},
                                     {"peak_memory_bytes", linalg::peak_memory_bytes(at::kCPU)}};
    if (verified != nullptr)
      object["verify"] = {{"relative_difference", verified->relative_difference},
                          {"mean_difference", verified->mean_difference},
                          {"tokens", verified->tokens},
                          {"targets", verified->targets},
                          {"same_argmax", verified->same_argmax},
                          {"loss_before", verified->loss_before},
                          {"loss_after", verified->loss_after},
                          {"data", verified->data}};
    if (verified != nullptr && verified->other_difference)
      object["verify"]["other_relative_difference"] = *verified->other_difference;
    if (!flags.settings.covariance.empty()) {
      object["output_error"] = result.output_error;
      object["plain_error"] = result.plain_error;
    }
    print_json(object);
    return;
  }
  std::printf("%lld of %lld tensors changed, %.3f GB in %.1f s: %s\n",
              static_cast<long long>(result.merged), static_cast<long long>(result.tensors),
              static_cast<double>(result.bytes) / 1e9, result.seconds, flags.settings.out.c_str());
  if (!flags.settings.covariance.empty()) {
    std::printf("rounding errs by %.2e of the outputs' energy, to nearest it would by %.2e\n",
                result.output_error, result.plain_error);
  }
  if (verified != nullptr) print(flags, *verified);
}

// What eval is told of a merge.
eval::VerifySettings verify_settings_of(const MergeFlags& flags) {
  eval::VerifySettings settings = flags.verify_settings;
  settings.model = flags.settings.model;
  settings.adapter = flags.settings.adapter;
  settings.threads = flags.settings.threads;
  settings.base = flags.settings.base;
  settings.into = flags.settings.into;
  return settings;
}

void print(const eval::ScaleCurve& curve, bool json) {
  if (json) {
    auto files = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < curve.files.size(); ++i)
      files.push_back({{"data", curve.files[i]}, {"targets", curve.targets[i]}});
    auto points = nlohmann::ordered_json::array();
    for (const eval::ScalePoint& point : curve.points)
      points.push_back({{"scale", point.scale}, {"losses", point.losses}});
    print_json({{"files", files}, {"curve", points}});
    return;
  }
  std::printf("%-10s", "scale");
  for (const std::string& file : curve.files) std::printf("  %s", file.c_str());
  std::printf("\n");
  for (const eval::ScalePoint& point : curve.points) {
    std::printf("%-10s", core::format_double(point.scale).c_str());
    for (std::size_t i = 0; i < point.losses.size(); ++i)
      std::printf("  %*.5f", static_cast<int>(curve.files[i].size()), point.losses[i]);
    std::printf("\n");
  }
}

// Refuses what nothing looks at where one model is written, or where none is.
void refuse_unused(const MergeFlags& flags) {
  const auto refuse = [&](const std::vector<std::string>& names, const std::string& why) {
    core::refuse_changed(flags, settings_of, names, why);
  };
  const bool curve = flags.settings.scale.size() > 1;
  const bool measures = curve || flags.verify;
  if (curve) {
    refuse({"dtype", "max_shard_size", "covariance", "damping"},
           "for a model that is written, and several values of --scale write none");
  } else {
    refuse({"samples"}, "for several values of --scale");
  }
  if (!measures || flags.verify_settings.data.empty()) {
    refuse(
        {"format", "columns", "template", "system", "date", "skip_bad"},
        measures ? "for --data, which is not given" : "for --verify and several values of --scale");
  }
  if (flags.settings.into == "base" && !flags.verify)
    refuse({"base"}, "for --into quantised-base and for --verify");
}

void print_curve(const MergeFlags& flags, const CommonFlags& common, core::Reporter& reporter) {
  if (flags.verify_settings.data.empty()) {
    throw core::ConfigError(
        "several values of --scale give a curve of losses; name what to measure them on with "
        "--data, or give one value");
  }
  if (!flags.settings.out.empty() || flags.verify) {
    throw core::ConfigError(
        "several values of --scale give a curve of losses and write no model; leave out --out and "
        "--verify, or give one value");
  }
  refuse_unused(flags);
  linalg::set_threads(flags.settings.threads);
  print(eval::scale_curve(verify_settings_of(flags), flags.settings.scale, reporter), common.json);
}

void run(const MergeFlags& flags, const CommonFlags& common) {
  ConsoleReporter reporter(common.quiet);
  const auto& s = flags.settings;
  if (s.scale.size() > 1) {
    print_curve(flags, common, reporter);
    return;
  }
  if (!flags.verify && !flags.verify_settings.data.empty())
    throw core::ConfigError(
        "--data is what --verify compares on, or several values of --scale are measured on; give "
        "one of the two");
  refuse_unused(flags);
  eval::VerifyResult verified;
  std::function<void(const std::filesystem::path&)> check;
  if (flags.verify) {
    check = [&](const std::filesystem::path& merged) {
      eval::VerifySettings settings = verify_settings_of(flags);
      settings.merged = merged.string();
      settings.strength = s.scale.front();
      verified = eval::verify_merge(settings, reporter);
    };
  }
  const auto result = merge::merge(s, reporter, check);
  print(flags, result, flags.verify ? &verified : nullptr, common.json);
}

}  // namespace

void add_merge(CLI::App& app, CommonFlags& common, Action& action) {
  const auto flags = std::make_shared<MergeFlags>();
  CLI::App& verb = add_verb(app, "merge", "Put an adapter into its base: a plain model directory.",
                            settings_of(*flags), action, [flags, &common] { run(*flags, common); });
  verb.add_flag("--verify", flags->verify,
                "compare base + adapter with the merged model: logits, most likely tokens, loss");
}

}  // namespace corda::tools
