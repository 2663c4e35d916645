// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Chat templates: Jinja as transformers renders it (trim_blocks, lstrip_blocks, immutable sandbox,
// loop controls,
// `{% generation %}`), for the part of the language that chat templates use.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "corda/jinja/value.h"

namespace corda::jinja {

// What a hostile template cannot exceed; each gives a FormatError.
struct Limits {
  std::int64_t max_depth = 1000;  // nested expressions, blocks and macro calls
  // Nodes evaluated, items made, and 1 for each 32 bytes of text made.
  std::int64_t max_steps = 10'000'000;
  std::int64_t max_bytes = 64 << 20;  // of the output and of any single string
};

struct RenderOptions {
  Limits limits;
  std::optional<std::tm> now;  // what `strftime_now` formats; unset = the local time of the clock
};

// Bytes [begin, end) of the output.
struct OutputSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool operator==(const OutputSpan&) const = default;
};

struct Rendering {
  std::string text;
  SourceSpans sources;                 // what of the text came from labelled variables
  std::vector<OutputSpan> generation;  // what `{% generation %}` blocks wrote, in order
  // `{% generation %}` blocks inside a macro, call, filter or set block: where their text ended up
  // is not known.
  std::int64_t unplaced_generation = 0;
};

struct Program;  // the parsed template

// A parsed template; may be rendered by several threads at once.
class Template {
 public:
  // Throws FormatError "NAME:LINE: reason" for wrong syntax and for statements that are refused
  // (include, import, extends, block, ...).
  Template(std::string_view source, std::string name);

  // `variables` is a dict. Throws FormatError "NAME:LINE: reason" for what Jinja would raise, for
  // `raise_exception` (the reason is its message), and where a limit is reached.
  Rendering render(const Value& variables, const RenderOptions& options = {}) const;

  // Whether a `{% generation %}` block occurs in the source.
  bool has_generation() const;

 private:
  std::shared_ptr<const Program> program_;
};

}  // namespace corda::jinja
