// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Whether a text is well-formed XML, as Expat judges, and how many elements of each name it has.
#pragma once

#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "support/process.h"
#include "support/temporary_directory.h"

namespace corda::testing {

struct Elements {
  std::string error;  // "" where it is well-formed
  std::map<std::string, int> count;
};

inline Elements elements_of(const std::string& xml) {
  const TemporaryDirectory folder;
  const std::string file = (folder.path() / "x.xml").string();
  std::ofstream(file, std::ios::binary) << xml;
  const ProcessResult result =
      run_process({"/usr/bin/env", "python3", "-c",
                   "import sys, collections, xml.parsers.expat as e\n"
                   "p = e.ParserCreate(); n = collections.Counter()\n"
                   "p.StartElementHandler = lambda name, attributes: n.update([name])\n"
                   "p.ParseFile(open(sys.argv[1], 'rb'))\n"
                   "[print(*i) for i in n.items()]",
                   file});
  Elements elements;
  if (result.exit_code != 0)
    elements.error = "exit code " + std::to_string(result.exit_code) + ": " + result.err;
  std::istringstream lines(result.out);
  std::string name;
  for (int count = 0; lines >> name >> count;) elements.count[name] = count;
  return elements;
}

}  // namespace corda::testing
