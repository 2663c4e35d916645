// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The parts of a report.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "report/document.h"
#include "report/run.h"

namespace corda::report {

// Runs of one group have all but rate and seed in common.
struct Groups {
  std::vector<std::string> names;  // in the order of their first runs
  std::vector<std::size_t> of;     // by run: the place of its group in `names`
};

// Groups the runs by what they say themselves, else by method and the settings in which they
// differ.
Groups groups_of(const std::vector<Run>& runs);

// The settings in which runs differ, in the order of the first run's.
std::vector<std::string> differing_settings(const std::vector<Run>& runs);

// How runs look in every chart: a colour each where they are few, else one for their group.
struct Colouring {
  std::vector<Ink> of;  // by run
  bool by_group = false;
  Legend legend;
};
Colouring colouring_of(const std::vector<Run>& runs, const Groups& groups);

Section summary(const std::vector<Run>& runs);
Section curves(const std::vector<Run>& runs, const Colouring& colouring);

// What was learnt against what was kept.
struct Compared {
  std::string task;                     // the measure of what was learnt
  std::map<std::string, Measure> base;  // of the untrained model
};
// Without blocks where nothing was measured.
Section comparison(const std::vector<Run>& runs, const Groups& groups, const Compared& compared);

// Energies, the gauge, norms and singular values by layer; without blocks where no run has them.
Section layers(const std::vector<Run>& runs, const Groups& groups);
Section settings(const std::vector<Run>& runs);
Section origins(const std::vector<Run>& runs, const std::string& program);

}  // namespace corda::report
