// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <optional>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "jinja/parser.h"

namespace corda::jinja {

namespace {

constexpr std::int32_t kMaxHeight = 400;

std::vector<ExprPtr> pack(ExprPtr a, ExprPtr b = nullptr) {
  std::vector<ExprPtr> list;
  list.push_back(std::move(a));
  if (b) list.push_back(std::move(b));
  return list;
}

}  // namespace

ExpressionParser::ExpressionParser(std::string_view source) : tokens_(tokenize(source)) {
  for (const char* name : {"loop", "caller", "varargs", "kwargs"}) slot(name);
}

bool ExpressionParser::take_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  next();
  return true;
}

bool ExpressionParser::take_name(std::string_view text) {
  if (!is_name(text)) return false;
  next();
  return true;
}

void ExpressionParser::expect_operator(std::string_view text) {
  if (!take_operator(text)) error(core::concat("expected '", text, "', got '", peek().text, "'"));
}

void ExpressionParser::expect(TokenKind kind, std::string_view what) {
  if (peek().kind != kind) error(core::concat("expected ", what, ", got '", peek().text, "'"));
  next();
}

std::string ExpressionParser::expect_name() {
  if (peek().kind != TokenKind::kName)
    error(core::concat("expected a name, got '", peek().text, "'"));
  return next().text;
}

Slot ExpressionParser::slot(const std::string& name) {
  const auto [found, added] = slots_.try_emplace(name, static_cast<Slot>(program_.names.size()));
  if (added) program_.names.push_back(name);
  return found->second;
}

void ExpressionParser::finish(Expr& expr) const {
  const auto grow = [&](const ExprPtr& child) {
    if (child) expr.height = std::max(expr.height, child->height + 1);
  };
  for (const auto& child : expr.children) grow(child);
  if (expr.arguments) {
    for (const auto& child : expr.arguments->positional) grow(child);
    for (const auto& [name, child] : expr.arguments->named) grow(child);
    grow(expr.arguments->star);
    grow(expr.arguments->double_star);
  }
  if (expr.height > kMaxHeight) error("an expression nests too deeply");
}

ExprPtr ExpressionParser::make(ExprKind kind, std::int32_t line, std::vector<ExprPtr> children,
                               Value value) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  expr->children = std::move(children);
  expr->value = std::move(value);
  finish(*expr);
  return expr;
}

ExprPtr ExpressionParser::parse_expression(bool with_condition) {
  const Nesting nesting(*this);
  auto expr = parse_or();
  while (with_condition && is_name("if")) {
    const auto line = next().line;
    auto children = pack(parse_or(), std::move(expr));
    if (take_name("else")) children.push_back(parse_expression());
    expr = make(ExprKind::kConditional, line, std::move(children));
  }
  return expr;
}

ExprPtr ExpressionParser::parse_or() {
  auto left = parse_and();
  while (is_name("or")) {
    const auto line = next().line;
    left = make(ExprKind::kOr, line, pack(std::move(left), parse_and()));
  }
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  auto left = parse_not();
  while (is_name("and")) {
    const auto line = next().line;
    left = make(ExprKind::kAnd, line, pack(std::move(left), parse_not()));
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!is_name("not")) return parse_compare();
  const Nesting nesting(*this);
  const auto line = next().line;
  return make(ExprKind::kNot, line, pack(parse_not()));
}

ExprPtr ExpressionParser::parse_compare() {
  const auto line = peek().line;
  auto children = pack(parse_sum());
  std::vector<Comparison> comparisons;
  static const std::vector<std::pair<std::string_view, Comparison>> kOperators = {
      {"==", Comparison::kEqual},  {"!=", Comparison::kNotEqual},
      {"<", Comparison::kLess},    {"<=", Comparison::kLessEqual},
      {">", Comparison::kGreater}, {">=", Comparison::kGreaterEqual}};
  while (true) {
    std::optional<Comparison> found;
    if (peek().kind == TokenKind::kOperator) {
      for (const auto& [text, comparison] : kOperators) {
        if (peek().text == text) found = comparison;
      }
    } else if (is_name("in")) {
      found = Comparison::kIn;
    } else if (is_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in") {
      next();
      found = Comparison::kNotIn;
    }
    if (!found) break;
    next();
    comparisons.push_back(*found);
    children.push_back(parse_sum());
  }
  if (comparisons.empty()) return std::move(children[0]);
  auto expr = make(ExprKind::kCompare, line, std::move(children));
  expr->comparisons = std::move(comparisons);
  return expr;
}

ExprPtr ExpressionParser::parse_sum() {
  auto left = parse_concat();
  while (is_operator("+") || is_operator("-")) {
    const auto token = next();
    left = make(ExprKind::kBinary, token.line, pack(std::move(left), parse_concat()));
    left->op = token.text == "+" ? Operator::kAdd : Operator::kSubtract;
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  const auto line = peek().line;
  auto parts = pack(parse_product());
  while (take_operator("~")) parts.push_back(parse_product());
  return parts.size() == 1 ? std::move(parts[0]) : make(ExprKind::kConcat, line, std::move(parts));
}

ExprPtr ExpressionParser::parse_product() {
  auto left = parse_power();
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    const auto token = next();
    left = make(ExprKind::kBinary, token.line, pack(std::move(left), parse_power()));
    left->op = token.text == "*"   ? Operator::kMultiply
               : token.text == "/" ? Operator::kDivide
               : token.text == "%" ? Operator::kModulo
                                   : Operator::kFloorDivide;
  }
  return left;
}

ExprPtr ExpressionParser::parse_power() {
  auto left = parse_unary(true);
  while (is_operator("**")) {
    const auto line = next().line;
    left = make(ExprKind::kBinary, line, pack(std::move(left), parse_unary(true)));
    left->op = Operator::kPower;
  }
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filter) {
  ExprPtr expr;
  if (is_operator("-") || is_operator("+")) {
    const Nesting nesting(*this);
    const auto token = next();
    expr = make(token.text == "-" ? ExprKind::kNegate : ExprKind::kPlus, token.line,
                pack(parse_unary(false)));
  } else {
    expr = parse_primary();
  }
  expr = parse_postfix(std::move(expr));
  return with_filter ? parse_filter_chain(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::parse_primary() {
  const Token token = next();
  switch (token.kind) {
    case TokenKind::kName: {
      const auto constant = [&](Value value) {
        return make(ExprKind::kConst, token.line, {}, std::move(value));
      };
      if (token.text == "true" || token.text == "True") return constant(true);
      if (token.text == "false" || token.text == "False") return constant(false);
      if (token.text == "none" || token.text == "None") return constant(nullptr);
      auto expr = make(ExprKind::kName, token.line, {}, token.text);
      expr->slot = slot(token.text);
      if (expr->slot == kSlotVarargs) program_.uses_varargs = true;
      if (expr->slot == kSlotKwargs) program_.uses_kwargs = true;
      return expr;
    }
    case TokenKind::kString: {
      std::string text = token.text;
      while (peek().kind == TokenKind::kString) text += next().text;
      return make(ExprKind::kConst, token.line, {}, std::move(text));
    }
    case TokenKind::kInteger: {
      const auto value = core::parse_int(token.text);
      if (!value) error(core::concat("the integer ", token.text, " is too large"));
      return make(ExprKind::kConst, token.line, {}, *value);
    }
    case TokenKind::kFloat:
      return make(ExprKind::kConst, token.line, {}, core::parse_double(token.text).value_or(0.0));
    case TokenKind::kOperator:
      if (token.text == "(") {
        auto expr = is_operator(")") ? make(ExprKind::kTuple, token.line, {}) : parse_tuple();
        expect_operator(")");
        return expr;
      }
      if (token.text == "[") return parse_list();
      if (token.text == "{") return parse_dict();
      [[fallthrough]];
    default:
      throw SyntaxFailure{token.line,
                          core::concat("expected an expression, got '", token.text, "'")};
  }
}

ExprPtr ExpressionParser::parse_tuple(bool with_condition, std::string_view stop_at) {
  const auto line = peek().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty() &&
        (peek().kind == TokenKind::kVariableEnd || peek().kind == TokenKind::kBlockEnd ||
         is_operator(")") || (!stop_at.empty() && is_name(stop_at)))) {
      break;
    }
    items.push_back(parse_expression(with_condition));
    if (!take_operator(",")) break;
    is_tuple = true;
  }
  return is_tuple ? make(ExprKind::kTuple, line, std::move(items)) : std::move(items[0]);
}

ExprPtr ExpressionParser::parse_list() {
  const auto line = peek().line;
  std::vector<ExprPtr> items;
  while (!is_operator("]")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("]")) break;
    items.push_back(parse_expression());
  }
  expect_operator("]");
  return make(ExprKind::kList, line, std::move(items));
}

ExprPtr ExpressionParser::parse_dict() {
  const auto line = peek().line;
  std::vector<ExprPtr> items;
  while (!is_operator("}")) {
    if (!items.empty()) expect_operator(",");
    if (is_operator("}")) break;
    items.push_back(parse_expression());
    expect_operator(":");
    items.push_back(parse_expression());
  }
  expect_operator("}");
  return make(ExprKind::kDict, line, std::move(items));
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr operand) {
  while (true) {
    if (is_operator(".") || is_operator("[")) {
      operand = parse_subscript(std::move(operand));
    } else if (is_operator("(")) {
      operand = parse_call(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr object) {
  const auto token = next();
  if (token.text == ".") {
    if (peek().kind == TokenKind::kInteger) {
      auto index = parse_primary();
      return make(ExprKind::kItem, token.line, pack(std::move(object), std::move(index)));
    }
    auto name = expect_name();
    return make(ExprKind::kAttribute, token.line, pack(std::move(object)), std::move(name));
  }
  std::vector<ExprPtr> parts(3);
  std::size_t part = 0;
  bool is_slice = false;
  while (!is_operator("]")) {
    if (take_operator(":")) {
      is_slice = true;
      if (++part > 2) error("a slice has at most three parts");
    } else {
      if (parts[part]) error(core::concat("expected ']', got '", peek().text, "'"));
      parts[part] = parse_expression();
    }
  }
  next();
  if (!is_slice) {
    if (!parts[0]) error("an index is missing between the brackets");
    return make(ExprKind::kItem, token.line, pack(std::move(object), std::move(parts[0])));
  }
  parts.insert(parts.begin(), std::move(object));
  return make(ExprKind::kSlice, token.line, std::move(parts));
}

std::unique_ptr<CallArguments> ExpressionParser::parse_arguments() {
  expect_operator("(");
  auto arguments = std::make_unique<CallArguments>();
  bool first = true;
  while (!is_operator(")")) {
    if (!first) expect_operator(",");
    if (is_operator(")")) break;
    first = false;
    if (take_operator("*")) {
      arguments->star = parse_expression();
    } else if (take_operator("**")) {
      arguments->double_star = parse_expression();
    } else if (peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator &&
               peek(1).text == "=") {
      auto name = next().text;
      next();
      arguments->named.emplace_back(std::move(name), parse_expression());
    } else {
      if (!arguments->named.empty()) error("a positional argument follows a named one");
      arguments->positional.push_back(parse_expression());
    }
  }
  next();
  return arguments;
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  const auto line = peek().line;
  auto arguments = parse_arguments();
  auto expr = make(ExprKind::kCall, line, pack(std::move(callee)));
  expr->arguments = std::move(arguments);
  finish(*expr);
  return expr;
}

ExprPtr ExpressionParser::parse_filter(ExprPtr operand) {
  const auto line = peek().line;
  std::string name = expect_name();
  while (take_operator(".")) name += "." + expect_name();
  auto arguments = is_operator("(") ? parse_arguments() : std::make_unique<CallArguments>();
  std::vector<ExprPtr> children(1);
  children[0] = std::move(operand);
  auto expr = make(ExprKind::kFilter, line, std::move(children), std::move(name));
  expr->arguments = std::move(arguments);
  finish(*expr);
  return expr;
}

ExprPtr ExpressionParser::parse_filters(ExprPtr operand, bool start_inline) {
  if (start_inline) operand = parse_filter(std::move(operand));
  while (take_operator("|")) operand = parse_filter(std::move(operand));
  return operand;
}

ExprPtr ExpressionParser::parse_test(ExprPtr operand) {
  const auto line = next().line;
  const bool negated = take_name("not");
  std::string name = expect_name();
  while (take_operator(".")) name += "." + expect_name();
  auto arguments = std::make_unique<CallArguments>();
  const auto kind = peek().kind;
  const bool is_word = kind == TokenKind::kName && !is_name("else") && !is_name("or") &&
                       !is_name("and") && !is_name("if") && !is_name("is");
  if (is_operator("(")) {
    arguments = parse_arguments();
  } else if (is_word || kind == TokenKind::kString || kind == TokenKind::kInteger ||
             kind == TokenKind::kFloat || is_operator("[") || is_operator("{")) {
    arguments->positional.push_back(parse_postfix(parse_primary()));
  } else if (is_name("is")) {
    error("tests cannot be chained with 'is'");
  }
  auto expr = make(ExprKind::kTest, line, pack(std::move(operand)), std::move(name));
  expr->arguments = std::move(arguments);
  finish(*expr);
  return negated ? make(ExprKind::kNot, line, pack(std::move(expr))) : std::move(expr);
}

ExprPtr ExpressionParser::parse_filter_chain(ExprPtr operand) {
  while (true) {
    if (take_operator("|")) {
      operand = parse_filter(std::move(operand));
    } else if (is_name("is")) {
      operand = parse_test(std::move(operand));
    } else if (is_operator("(")) {
      operand = parse_call(std::move(operand));
    } else {
      return operand;
    }
  }
}

}  // namespace corda::jinja
