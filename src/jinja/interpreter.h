// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Renders a parsed template once.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja/ast.h"
#include "jinja/runtime.h"

namespace corda::jinja {

// The variables of a template, loop body, macro or block; names not found are looked up in
// `parent`.
struct Scope {
  Scope* parent = nullptr;
  bool captured = false;  // a macro was defined inside
  std::vector<std::pair<Slot, Value>> variables;

  void set(Slot slot, Value value) {
    for (auto& [key, stored] : variables) {
      if (key != slot) continue;
      stored = std::move(value);
      return;
    }
    variables.emplace_back(slot, std::move(value));
  }
};

enum class Flow { kNext, kBreak, kContinue };

class Interpreter {
 public:
  Interpreter(const Program& program, const RenderOptions& options);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  ~Interpreter();

  // Throws Failure; `line()` says where.
  void run(const Value& variables);
  std::int32_t line() const { return line_; }
  Rendering take();

 private:
  Scope* push_scope();
  void pop_scope();
  void capture_scopes();
  const Value* lookup(Slot slot) const;
  template <typename Part>  // plain text, or a Text with its sources
  void write(const Part& part);
  Flow execute(const Body& body);
  Flow execute(const Stmt& stmt);
  Flow execute_for(const Stmt& stmt);
  void execute_generation(const Stmt& stmt);
  // What the body writes, as text.
  Text render_aside(const Body& body);
  Value make_macro(const Stmt& stmt, std::string name);
  void assign(const Target& target, const Value& value);
  Value evaluate(const Expr& expr);
  Value evaluate_compare(const Expr& expr);
  Value evaluate_call(const Expr& expr);
  // `input` is what a block filter works on.
  Value evaluate_filter(const Expr& expr, const Value* input);
  Arguments evaluate_arguments(const CallArguments& given);
  Value call(const Value& callee, const Arguments& arguments);
  Value call_macro(const MacroObject& macro, const Arguments& arguments);

  const Program& program_;
  Runtime runtime_;
  Rendering rendering_;
  Text text_;
  Text* output_ = &text_;
  Scope* scope_ = nullptr;
  std::vector<std::unique_ptr<Scope>> pool_;
  std::vector<Scope*> free_;
  std::int32_t line_ = 1;
};

}  // namespace corda::jinja
