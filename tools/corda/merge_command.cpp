// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/eval/verify_merge.h"
#include "corda/merge/merge.h"

namespace corda::tools {

namespace {

struct MergeFlags {
  merge::MergeSettings settings;
  bool verify = false;
  std::string device = "auto";
};

void print(const MergeFlags& flags, const merge::MergeResult& result,
           const eval::VerifyResult* verified, bool json) {
  if (json) {
    nlohmann::ordered_json object = {{"out", flags.settings.out}, {"tensors", result.tensors},
                                     {"merged", result.merged},   {"shards", result.shards},
                                     {"bytes", result.bytes},     {"seconds", result.seconds}};
    if (verified != nullptr)
      object["verify"] = {{"relative_difference", verified->relative_difference},
                          {"tokens", verified->tokens}};
    print_json(object);
    return;
  }
  std::printf("%lld of %lld tensors changed, %.3f GB in %.1f s: %s\n",
              static_cast<long long>(result.merged), static_cast<long long>(result.tensors),
              static_cast<double>(result.bytes) / 1e9, result.seconds, flags.settings.out.c_str());
  if (verified != nullptr) {
    std::printf(
        "verified: logits differ from base + adapter by %.2e of the largest, over %lld tokens\n",
        verified->relative_difference, static_cast<long long>(verified->tokens));
  }
}

void run(const MergeFlags& flags, const CommonFlags& common) {
  ConsoleReporter reporter(common.quiet);
  const auto& s = flags.settings;
  eval::VerifyResult verified;
  std::function<void(const std::filesystem::path&)> check;
  if (flags.verify) {
    check = [&](const std::filesystem::path& merged) {
      verified = eval::verify_merge({.model = s.model,
                                     .adapter = s.adapter,
                                     .merged = merged.string(),
                                     .device = flags.device},
                                    reporter);
    };
  }
  const auto result = merge::merge(s, reporter, check);
  print(flags, result, flags.verify ? &verified : nullptr, common.json);
}

}  // namespace

void add_merge(CLI::App& app, CommonFlags& common, Action& action) {
  const auto flags = std::make_shared<MergeFlags>();
  CLI::App& verb = add_verb(app, "merge", "Put an adapter into its base: a plain model directory.",
                            merge::settings_of(flags->settings), action,
                            [flags, &common] { run(*flags, common); });
  verb.add_flag("--verify", flags->verify,
                "compare the logits of base + adapter with those of the merged model");
  verb.add_option("--device", flags->device, "of --verify: auto, cpu, cuda or cuda:N [auto]")
      ->type_name("TEXT");
}

}  // namespace corda::tools
