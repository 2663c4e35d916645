// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/report/report.h"

#include <algorithm>
#include <set>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "report/sections.h"

namespace corda::report {

using core::concat;

core::SettingsList settings_of(ReportSettings& s) {
  core::SettingsList list;
  list.add("runs", s.runs, "run directories of corda train; shells write runs/* for all")
      .path()
      .required();
  list.add("base", s.base,
           "a folder whose evaluations/NAME.json, printed by corda eval --json, are of the "
           "untrained model")
      .path();
  list.add("task", s.task, "the measure of what was learnt; the others say what was kept");
  list.add("format", s.format, "of the page; auto: as the name of --out ends, else html",
           {"auto", "html", "markdown"});
  list.add("out", s.out, "the file that is written; none: the page is printed").path();
  list.add("title", s.title, "of the page; none: the runs' names");
  return list;
}

namespace {

// The last parts of the paths, so many that no two runs have one name.
void name_runs(std::vector<Run>& runs) {
  const auto last_parts = [](const fs::path& path, std::size_t count) {
    std::vector<std::string> parts;
    for (const fs::path& part : fs::absolute(path).lexically_normal())
      if (!part.empty()) parts.push_back(part.string());
    const std::size_t first = parts.size() > count ? parts.size() - count : 0;
    return core::join({parts.begin() + static_cast<std::ptrdiff_t>(first), parts.end()}, "/");
  };
  for (std::size_t count = 1; count < 20; ++count) {
    std::set<std::string> names;
    for (Run& run : runs) {
      run.name = last_parts(run.path, count);
      names.insert(run.name);
    }
    if (names.size() == runs.size()) return;
  }
}

std::string title_of(const ReportSettings& settings, const std::vector<Run>& runs) {
  if (!settings.title.empty()) return settings.title;
  std::vector<std::string> names;
  for (const Run& run : runs) names.push_back(run.name);
  if (names.size() > 3) return concat(names.size(), " runs of corda");
  return core::join(names, ", ");
}

// Says where the measure that was asked for as the task is none that a run has.
void warn_of_task(const std::string& task, const std::vector<Run>& runs, core::Reporter& reporter) {
  std::set<std::string> names;
  for (const Run& run : runs)
    for (const auto& [name, measure] : run.measures) names.insert(name);
  if (task == ReportSettings{}.task || names.contains(task)) return;
  reporter.warn(concat("--task: no run was measured on '", task, "'; ",
                       names.empty()
                           ? std::string("none has an evaluation")
                           : concat("there is ", core::listed({names.begin(), names.end()}))));
}

Section problems_of(const std::vector<std::string>& problems) {
  Section section{.title = "What could not be read"};
  for (const auto& problem : problems) section.blocks.emplace_back(Paragraph{problem});
  return section;
}

}  // namespace

// What all have in common, behind what they differ in.
Section settings(const std::vector<Run>& runs) {
  Section section{.title = "Settings"};
  const std::vector<std::string> differing = differing_settings(runs);
  const auto value_of = [](const Run& run, const std::string& name) -> std::string {
    for (const auto& [key, value] : run.settings)
      if (key == name) return value.empty() ? "-" : value;
    return "-";
  };
  if (runs.size() > 1 && !differing.empty()) {
    section.blocks.emplace_back(Paragraph{"What the runs differ in:"});
    Table table{.head = {"run"}};
    table.head.insert(table.head.end(), differing.begin(), differing.end());
    table.texts = table.head.size();
    for (const Run& run : runs) {
      table.rows.push_back({run.name});
      for (const auto& name : differing) table.rows.back().push_back(value_of(run, name));
    }
    section.blocks.emplace_back(std::move(table));
  }
  if (runs.size() > 1) section.blocks.emplace_back(Paragraph{"What they share:"});
  Table shared{.head = {"setting", "value"}, .texts = 2};
  for (const auto& [name, value] : runs.front().settings) {
    if (std::find(differing.begin(), differing.end(), name) == differing.end())
      shared.rows.push_back({name, value.empty() ? "-" : value});
  }
  section.blocks.emplace_back(std::move(shared));
  return section;
}

Section origins(const std::vector<Run>& runs, const std::string& program) {
  Section section{.title = "Origins"};
  Table table{.head = {"run", "what", "version or hash"}, .texts = 3};
  for (const Run& run : runs) {
    for (const auto& [what, value] : run.origins) table.rows.push_back({run.name, what, value});
  }
  section.blocks.emplace_back(std::move(table));
  if (!program.empty())
    section.blocks.emplace_back(Paragraph{concat("This page was made by ", program, ".")});
  return section;
}

std::string report(const ReportSettings& given, core::Reporter& reporter,
                   const Supplement& supplement) {
  ReportSettings s = given;
  const core::SettingsList list = settings_of(s);
  list.check_values();
  list.check_required();
  std::vector<std::string> problems;
  std::vector<Run> runs;
  reporter.begin("report", static_cast<std::int64_t>(s.runs.size()), "run");
  for (const std::string& path : s.runs) {
    core::throw_if_stopped(reporter, "reading runs");
    runs.push_back(read_run(path));
    const auto inspected = supplement.inspected.find(path);
    if (inspected != supplement.inspected.end()) add_inspected(inspected->second, runs.back());
    const auto& found = runs.back().problems;
    problems.insert(problems.end(), found.begin(), found.end());
    reporter.advance(1, path);
  }
  reporter.end();
  name_runs(runs);
  const Groups groups = groups_of(runs);
  Compared compared{.task = s.task, .base = {}};
  if (!s.base.empty()) compared.base = read_measures(s.base, problems);
  for (const auto& problem : problems) reporter.warn(problem);
  warn_of_task(s.task, runs, reporter);

  Document document{.title = title_of(s, runs)};
  Section first = summary(runs);
  for (const auto& sentence : supplement.sentences)
    first.blocks.insert(first.blocks.begin(), Paragraph{sentence});
  document.sections.push_back(std::move(first));
  if (!problems.empty()) document.sections.push_back(problems_of(problems));
  document.sections.push_back(comparison(runs, groups, compared));
  document.sections.push_back(curves(runs, colouring_of(runs, groups)));
  document.sections.push_back(layers(runs, groups));
  document.sections.push_back(settings(runs));
  document.sections.push_back(origins(runs, supplement.program));
  std::erase_if(document.sections, [](const Section& section) { return section.blocks.empty(); });

  const bool markdown =
      s.format == "markdown" || (s.format == "auto" && fs::path(s.out).extension() == ".md");
  const std::string page = markdown ? to_markdown(document) : to_html(document);
  if (!s.out.empty()) core::write_file_atomic(s.out, page);
  return page;
}

}  // namespace corda::report
