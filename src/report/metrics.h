// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// metrics.jsonl as series over steps.
#pragma once

#include "report/run.h"

namespace corda::report {

// Adds every number of every line to `run.metrics` by its key, and the gauge of each kind of layer
// to `run.gauge_by_kind`; null is a value that was not finite. A line that is no step is a problem,
// which names file and line, but for a last one that was cut off. A step that is not above the one
// before replaces it and all behind it.
void read_metrics(const fs::path& path, Run& run);

}  // namespace corda::report
