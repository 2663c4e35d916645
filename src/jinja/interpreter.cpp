// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "jinja/interpreter.h"

#include <utility>

#include "jinja/text.h"

namespace corda::jinja {

namespace {

// Counts one level of nesting for as long as it lives.
struct Depth {
  explicit Depth(Budget& used) : budget(used) { budget.enter(); }
  ~Depth() { budget.leave(); }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  Budget& budget;
};

}  // namespace

Interpreter::Interpreter(const Program& program, const RenderOptions& options)
    : program_(program), runtime_{Budget(options.limits), options.now, {}} {}

Interpreter::~Interpreter() {
  for (const auto& each : runtime_.namespaces) each->attributes.clear();
}

void Interpreter::run(const Value& variables) {
  if (!variables.is(Kind::kMapping))
    fail("the variables of a template must be a dict, got ", type_name(variables));
  Scope* root = push_scope();
  for (std::size_t slot = 0; slot < program_.names.size(); ++slot) {
    if (has_function(program_.names[slot]))
      root->set(static_cast<Slot>(slot),
                Value(std::make_shared<FunctionObject>(program_.names[slot])));
    if (const Value* value = variables.mapping().find_text(program_.names[slot]))
      root->set(static_cast<Slot>(slot), *value);
  }
  execute(program_.body);
}

Scope* Interpreter::push_scope() {
  if (free_.empty()) {
    pool_.push_back(std::make_unique<Scope>());
    free_.push_back(pool_.back().get());
  }
  Scope* scope = free_.back();
  free_.pop_back();
  scope->parent = scope_;
  scope_ = scope;
  return scope;
}

void Interpreter::pop_scope() {
  Scope* scope = scope_;
  scope_ = scope->parent;
  if (scope->captured) return;  // a macro may still look into it
  scope->variables.clear();
  free_.push_back(scope);
}

// Keeps a macro's surroundings until the end of the rendering.
void Interpreter::capture_scopes() {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent)
    scope->captured = true;
}

const Value* Interpreter::lookup(Slot slot) const {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [key, value] : scope->variables) {
      if (key == slot) return &value;
    }
  }
  return nullptr;
}

Rendering Interpreter::take() {
  rendering_.text = std::move(text_.value);
  rendering_.sources = std::move(text_.sources);
  return std::move(rendering_);
}

template <typename Part>
void Interpreter::write(const Part& part) {
  const std::size_t before = output_->value.size();
  append(*output_, part);
  runtime_.budget.bytes(output_->value.size() - before);
  runtime_.budget.check_size(output_->value.size());
}

Flow Interpreter::execute(const Body& body) {
  const Depth depth(runtime_.budget);
  for (const auto& stmt : body) {
    runtime_.budget.step();
    line_ = stmt.line;
    const Flow flow = execute(stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Flow Interpreter::execute(const Stmt& stmt) {
  switch (stmt.kind) {
    case StmtKind::kData:
      write(std::string_view(stmt.data));
      break;
    case StmtKind::kOutput: {
      const Value value = evaluate(*stmt.expr);
      if (value.is(Kind::kText)) {
        write(*value.shared_text());
      } else {
        write(traced_text(runtime_, value));
      }
      break;
    }
    case StmtKind::kIf:
      if (truth(evaluate(*stmt.expr))) return execute(stmt.body);
      return stmt.otherwise.empty() ? Flow::kNext : execute(stmt.otherwise);
    case StmtKind::kFor:
      return execute_for(stmt);
    case StmtKind::kSet:
      assign(stmt.targets[0], evaluate(*stmt.expr));
      break;
    case StmtKind::kSetBlock: {
      Value value = make_text(runtime_, render_aside(stmt.body));
      if (stmt.expr) value = evaluate_filter(*stmt.expr, &value);
      assign(stmt.targets[0], value);
      break;
    }
    case StmtKind::kMacro:
      scope_->set(stmt.slot, make_macro(stmt, program_.names[static_cast<std::size_t>(stmt.slot)]));
      break;
    case StmtKind::kCallBlock: {
      Arguments arguments = evaluate_arguments(*stmt.expr->arguments);
      arguments.named.emplace_back("caller", make_macro(stmt, "caller"));
      const Value callee = evaluate(*stmt.expr->children[0]);
      write(traced_text(runtime_, call(callee, arguments)));
      break;
    }
    case StmtKind::kFilterBlock: {
      const Value value = make_text(runtime_, render_aside(stmt.body));
      write(traced_text(runtime_, evaluate_filter(*stmt.expr, &value)));
      break;
    }
    case StmtKind::kGeneration:
      execute_generation(stmt);
      break;
    case StmtKind::kWith: {
      std::vector<Value> values;
      for (const auto& expr : stmt.values) values.push_back(evaluate(*expr));
      push_scope();
      for (std::size_t i = 0; i < values.size(); ++i) assign(stmt.targets[i], values[i]);
      const Flow flow = execute(stmt.body);
      pop_scope();
      return flow;
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Flow Interpreter::execute_for(const Stmt& stmt) {
  Value::List items = iterate(runtime_, evaluate(*stmt.expr));
  if (stmt.condition) {
    Value::List kept;
    for (auto& item : items) {
      push_scope();
      assign(stmt.targets[0], item);
      if (truth(evaluate(*stmt.condition))) kept.push_back(std::move(item));
      pop_scope();
    }
    items = std::move(kept);
  }
  if (items.empty()) {
    if (stmt.otherwise.empty()) return Flow::kNext;
    push_scope();
    const Flow flow = execute(stmt.otherwise);
    pop_scope();
    return flow;
  }
  const auto loop = std::make_shared<LoopObject>();
  loop->items = std::move(items);
  Flow flow = Flow::kNext;
  for (; loop->index < static_cast<std::int64_t>(loop->items.size()) && flow != Flow::kBreak;
       ++loop->index) {
    runtime_.budget.step();
    line_ = stmt.line;
    Scope* scope = push_scope();
    scope->set(kSlotLoop, Value(loop));
    assign(stmt.targets[0], loop->items[static_cast<std::size_t>(loop->index)]);
    flow = execute(stmt.body);
    pop_scope();
  }
  loop->changed.reset();
  return Flow::kNext;
}

void Interpreter::execute_generation(const Stmt& stmt) {
  push_scope();
  const auto begin = static_cast<std::int64_t>(output_->value.size());
  execute(stmt.body);
  pop_scope();
  if (output_ == &text_) {
    rendering_.generation.push_back({begin, static_cast<std::int64_t>(output_->value.size())});
  } else {
    ++rendering_.unplaced_generation;
  }
}

Text Interpreter::render_aside(const Body& body) {
  Text text;
  Text* outer = std::exchange(output_, &text);
  push_scope();
  execute(body);
  pop_scope();
  output_ = outer;
  return text;
}

Value Interpreter::make_macro(const Stmt& stmt, std::string name) {
  const auto macro = std::make_shared<MacroObject>();
  macro->stmt = &stmt;
  macro->closure = scope_;
  macro->name = std::move(name);
  capture_scopes();
  return Value(macro);
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    const auto items = iterate(runtime_, value);
    if (items.size() != target.items.size())
      fail("cannot unpack ", items.size(), " values into ", target.items.size(), " names");
    for (std::size_t i = 0; i < items.size(); ++i) assign(target.items[i], items[i]);
    return;
  }
  if (!target.attribute.is(Kind::kText)) return scope_->set(target.slot, value);
  const Value* space = lookup(target.slot);
  if (space == nullptr || !space->is(Kind::kObject) ||
      space->object().type != ObjectType::kNamespace) {
    fail("cannot assign attribute on non-namespace object '",
         program_.names[static_cast<std::size_t>(target.slot)], "'");
  }
  auto& attributes = static_cast<NamespaceObject&>(space->object()).attributes;
  runtime_.budget.step(static_cast<std::int64_t>(attributes.size() / 8));
  for (auto& [name, stored] : attributes) {
    if (name != target.attribute.text()) continue;
    stored = value;
    return;
  }
  attributes.emplace_back(target.attribute.text(), value);
}

Value Interpreter::evaluate(const Expr& expr) {
  const Depth depth(runtime_.budget);
  runtime_.budget.step();
  line_ = expr.line;
  const auto child = [&](std::size_t i) { return evaluate(*expr.children[i]); };
  switch (expr.kind) {
    case ExprKind::kConst:
      return expr.value;
    case ExprKind::kName: {
      const Value* found = lookup(expr.slot);
      return found != nullptr ? *found : Value(Undefined{expr.value.shared_text()});
    }
    case ExprKind::kAttribute:
      return attribute(runtime_, child(0), expr.value);
    case ExprKind::kItem: {
      const Value object = child(0);
      return item(runtime_, object, child(1));
    }
    case ExprKind::kSlice: {
      Value parts[4];
      for (std::size_t i = 0; i < 4; ++i) {
        if (expr.children[i]) parts[i] = child(i);
      }
      return slice(runtime_, parts[0], parts[1], parts[2], parts[3]);
    }
    case ExprKind::kCall:
      return evaluate_call(expr);
    case ExprKind::kFilter:
      return evaluate_filter(expr, nullptr);
    case ExprKind::kTest: {
      const Value input = child(0);
      const Arguments arguments = evaluate_arguments(*expr.arguments);
      return apply_test(runtime_, expr.value.text(), input, arguments);
    }
    case ExprKind::kNot:
      return !truth(child(0));
    case ExprKind::kNegate:
      return negate(child(0));
    case ExprKind::kPlus: {
      Value value = child(0);
      if (!is_number(value)) fail("bad operand type for unary +: '", type_name(value), "'");
      return value;
    }
    case ExprKind::kAnd: {
      Value left = child(0);
      return truth(left) ? child(1) : left;
    }
    case ExprKind::kOr: {
      Value left = child(0);
      return truth(left) ? left : child(1);
    }
    case ExprKind::kBinary: {
      const Value left = child(0), right = child(1);
      line_ = expr.line;
      return binary(runtime_, expr.op, left, right);
    }
    case ExprKind::kConditional:
      if (truth(child(0))) return child(1);
      return expr.children.size() > 2 ? child(2) : Value(Undefined{});
    case ExprKind::kConcat: {
      Text text;
      for (std::size_t i = 0; i < expr.children.size(); ++i) {
        append(text, traced_text(runtime_, child(i)));
        runtime_.budget.check_size(text.value.size());
      }
      return make_text(runtime_, std::move(text));
    }
    case ExprKind::kCompare:
      return evaluate_compare(expr);
    case ExprKind::kList:
    case ExprKind::kTuple: {
      Value::List items;
      for (std::size_t i = 0; i < expr.children.size(); ++i) items.push_back(child(i));
      return make_list(runtime_, std::move(items),
                       expr.kind == ExprKind::kTuple ? Shape::kTuple : Shape::kList);
    }
    case ExprKind::kDict: {
      Value::Dict entries;
      for (std::size_t i = 0; i < expr.children.size(); i += 2) {
        Value key = child(i);
        if (!is_hashable(key)) fail("unhashable type: '", type_name(key), "'");
        entries.emplace_back(std::move(key), child(i + 1));
      }
      return Value::dict(std::move(entries));
    }
  }
  fail("an expression of an unknown kind");
}

Value Interpreter::evaluate_compare(const Expr& expr) {
  Value left = evaluate(*expr.children[0]);
  for (std::size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = evaluate(*expr.children[i + 1]);
    line_ = expr.line;
    bool holds = false;
    switch (expr.comparisons[i]) {
      case Comparison::kEqual:
        holds = equal(runtime_, left, right);
        break;
      case Comparison::kNotEqual:
        holds = !equal(runtime_, left, right);
        break;
      case Comparison::kIn:
        holds = contains(runtime_, right, left);
        break;
      case Comparison::kNotIn:
        holds = !contains(runtime_, right, left);
        break;
      case Comparison::kLess:
        holds = compare(runtime_, left, right, "<") == -1;
        break;
      case Comparison::kGreater:
        holds = compare(runtime_, left, right, ">") == 1;
        break;
      case Comparison::kLessEqual:
        holds = compare(runtime_, left, right, "<=") <= 0;
        break;
      case Comparison::kGreaterEqual: {
        const int order = compare(runtime_, left, right, ">=");
        holds = order == 0 || order == 1;
        break;
      }
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Interpreter::evaluate_arguments(const CallArguments& given) {
  Arguments arguments;
  for (const auto& expr : given.positional) arguments.positional.push_back(evaluate(*expr));
  if (given.star) {
    for (auto& value : iterate(runtime_, evaluate(*given.star)))
      arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, expr] : given.named) arguments.named.emplace_back(name, evaluate(*expr));
  if (given.double_star) {
    const Value extra = evaluate(*given.double_star);
    if (!extra.is(Kind::kMapping)) fail("the argument after ** must be a mapping");
    for (const auto& [key, value] : extra.mapping().entries) {
      if (!key.is(Kind::kText)) fail("keywords must be strings");
      arguments.named.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

Value Interpreter::evaluate_filter(const Expr& expr, const Value* input) {
  const Value value = expr.children[0] == nullptr ? *input
                      : expr.children[0]->kind == ExprKind::kFilter
                          ? evaluate_filter(*expr.children[0], input)
                          : evaluate(*expr.children[0]);
  const Arguments arguments = evaluate_arguments(*expr.arguments);
  line_ = expr.line;
  return apply_filter(runtime_, expr.value.text(), value, arguments);
}

Value Interpreter::evaluate_call(const Expr& expr) {
  const Expr& callee = *expr.children[0];
  if (callee.kind == ExprKind::kAttribute) {
    const Value self = evaluate(*callee.children[0]);
    const std::string& name = callee.value.text();
    if (is_unsafe_method(self, name))
      fail("access to attribute '", name, "' of '", type_name(self),
           "' object is unsafe: values cannot be changed");
    if (has_method(self, name)) {
      const Arguments arguments = evaluate_arguments(*expr.arguments);
      line_ = expr.line;
      return call_method(runtime_, self, name, arguments);
    }
    const Value function = attribute(runtime_, self, callee.value);
    return call(function, evaluate_arguments(*expr.arguments));
  }
  const Value function = evaluate(callee);
  const Arguments arguments = evaluate_arguments(*expr.arguments);
  line_ = expr.line;
  return call(function, arguments);
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (callee.is(Kind::kUndefined)) fail_undefined(callee);
  if (!callee.is(Kind::kObject)) fail("'", type_name(callee), "' object is not callable");
  auto& object = callee.object();
  switch (object.type) {
    case ObjectType::kMacro:
      return call_macro(static_cast<const MacroObject&>(object), arguments);
    case ObjectType::kFunction:
      return call_function(runtime_, static_cast<const FunctionObject&>(object).name, arguments);
    case ObjectType::kMethod: {
      const auto& method = static_cast<const MethodObject&>(object);
      if (method.self.is(Kind::kObject))
        return call_loop(runtime_, static_cast<LoopObject&>(method.self.object()), method.name,
                         arguments);
      return call_method(runtime_, method.self, method.name, arguments);
    }
    default:
      fail("'", type_name(callee), "' object is not callable");
  }
}

Value Interpreter::call_macro(const MacroObject& macro, const Arguments& arguments) {
  const Depth depth(runtime_.budget);
  const auto& stmt = *macro.stmt;
  const std::size_t count = stmt.parameters.size();
  Scope* outer = std::exchange(scope_, macro.closure);
  Scope* scope = push_scope();
  std::vector<const Value*> given(count, nullptr);
  Value::List extra;
  Value::Dict extra_named;
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < count)
      given[i] = &arguments.positional[i];
    else
      extra.push_back(arguments.positional[i]);
  }
  for (const auto& [name, value] : arguments.named) {
    std::size_t i = 0;
    while (i < count && program_.names[static_cast<std::size_t>(stmt.parameters[i])] != name) ++i;
    if (i < count && given[i] != nullptr)
      fail("macro '", macro.name, "' got two values for '", name, "'");
    if (i < count)
      given[i] = &value;
    else if (name == "caller")
      scope->set(kSlotCaller, value);
    else
      extra_named.emplace_back(name, value);
  }
  // Macros that mention `varargs` or `kwargs` accept more than they name; known for the template as
  // a whole.
  const bool takes_extra = program_.uses_varargs, takes_named = program_.uses_kwargs;
  if (!extra.empty() && !takes_extra)
    fail("macro '", macro.name, "' takes not more than ", count, " argument(s)");
  if (!extra_named.empty() && !takes_named)
    fail("macro '", macro.name, "' takes no keyword argument '", extra_named[0].first.text(), "'");
  scope->set(kSlotVarargs, make_list(runtime_, std::move(extra), Shape::kTuple));
  scope->set(kSlotKwargs, Value::dict(std::move(extra_named)));
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first_default = count - stmt.values.size();
    const Slot slot = stmt.parameters[i];
    if (given[i] != nullptr)
      scope->set(slot, *given[i]);
    else if (i >= first_default)
      scope->set(slot, evaluate(*stmt.values[i - first_default]));
    else
      scope->set(slot, Value(Undefined{std::make_shared<const Text>(
                           Text{program_.names[static_cast<std::size_t>(slot)], false})}));
  }
  Text text;
  Text* output = std::exchange(output_, &text);
  execute(stmt.body);
  output_ = output;
  pop_scope();
  scope_ = outer;
  return make_text(runtime_, std::move(text));
}

}  // namespace corda::jinja
