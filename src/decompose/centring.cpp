// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/centring.h"

#include <string>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "decompose/mode_of.h"

namespace corda::decompose {

using core::concat;

namespace {

// Says in what EVA's covariance is not PEFT's.
void note_unlike_peft(const io::CovarianceReader& covariance, core::Reporter& reporter) {
  std::vector<std::string> unlike;
  if (!covariance.manifest().centered) unlike.emplace_back("keeps the mean of the inputs");
  if (covariance.manifest().activation_scaling == "reference")
    unlike.emplace_back("divides samples by their largest activation");
  if (unlike.empty()) return;
  reporter.info(concat("the covariance '", covariance.directory().string(), "' ",
                       core::join(unlike, " and "),
                       ", as PEFT's EVA does not; corda calibrate --center makes one like PEFT's"));
}

}  // namespace

void settle_inputs(DecomposeSettings& settings) {
  const bool is_looked_at = !settings.data.empty() && mode_of(settings).centres;
  if (!is_looked_at)
    settings.center = "auto";
  else if (settings.center == "auto")
    settings.center = "true";
  covariance::settle_scaling(settings, settings.center == "true");
}

void check_centring(const Mode& mode, const Covariances& covariances, core::Reporter& reporter) {
  const io::CovarianceReader* centred = nullptr;
  const io::CovarianceReader* whole = nullptr;
  for (const auto& reader : covariances.knowledge) io::require_of_inputs(reader, title_of(mode));
  for (const auto* reader : covariances.all()) {
    if (reader->manifest().of_gradients && mode.takes_gradients) continue;
    if (!mode.centres) io::require_uncentred(*reader, title_of(mode));
    (reader->manifest().centered ? centred : whole) = reader;
  }
  if (centred != nullptr && whole != nullptr) {
    throw core::ConfigError(
        concat("the covariance '", centred->directory().string(), "' is centred and '",
               whole->directory().string(),
               "' is not; give several that corda calibrate made alike, all with "
               "--center or none"));
  }
  if (!mode.centres) return;
  for (const auto* reader : covariances.all()) note_unlike_peft(*reader, reporter);
  if (centred != nullptr && covariances.all().size() > 1) {
    reporter.info(
        "each covariance is less its own mean, so that what lies between the means is lost; for "
        "the one mean of all texts, which PEFT's EVA takes off, give them to one corda calibrate "
        "--center");
  }
}

}  // namespace corda::decompose
