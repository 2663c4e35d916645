// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/jinja/template.h"

#include "corda/core/error.h"
#include "jinja/interpreter.h"
#include "jinja/lexer.h"

namespace corda::jinja {

Template::Template(std::string_view source, std::string name) {
  try {
    auto program = std::make_shared<Program>(parse(source));
    program->name = std::move(name);
    program_ = std::move(program);
  } catch (const SyntaxFailure& failure) {
    throw core::FormatError(core::concat(name, ":", failure.line, ": ", failure.reason));
  }
}

Rendering Template::render(const Value& variables, const RenderOptions& options) const {
  Interpreter interpreter(*program_, options);
  try {
    interpreter.run(variables);
  } catch (const Failure& failure) {
    throw core::FormatError(
        core::concat(program_->name, ":", interpreter.line(), ": ", failure.what()));
  } catch (const core::FormatError& error) {
    throw core::FormatError(
        core::concat(program_->name, ":", interpreter.line(), ": ", error.what()));
  }
  return interpreter.take();
}

bool Template::has_generation() const { return program_->has_generation; }

}  // namespace corda::jinja
