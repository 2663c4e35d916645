// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cmath>

#include "corda/core/text.h"
#include "jinja/ast.h"
#include "jinja/runtime.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

const char* symbol_of(Operator op) {
  static constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  return kSymbols[static_cast<std::size_t>(op)];
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return quotient - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
}

double python_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  return rest != 0.0 && ((rest < 0) != (b < 0)) ? rest + b : rest;
}

Value power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  std::int64_t result = 1;
  for (; exponent > 0; --exponent) {
    if (__builtin_mul_overflow(result, base, &result))
      fail("integer result of ** does not fit in 64 bits");
    if (result == 0 || result == 1) break;
    if (result == -1 && base == -1) return exponent % 2 == 1 ? -1 : 1;
  }
  return result;
}

Value integers(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kPower:
      return power(a, b);
    case Operator::kDivide:
      if (b == 0) fail("division by zero");
      return static_cast<double>(a) / static_cast<double>(b);
    default:
      if (b == 0) fail("division by zero");
      if (b == -1) {
        if (op == Operator::kModulo) return 0;
        overflow = __builtin_sub_overflow(std::int64_t{0}, a, &result);
        break;
      }
      result = op == Operator::kFloorDivide ? floor_divide(a, b) : a - floor_divide(a, b) * b;
  }
  if (overflow) fail("integer result of ", symbol_of(op), " does not fit in 64 bits");
  return result;
}

Value floats(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return a + b;
    case Operator::kSubtract:
      return a - b;
    case Operator::kMultiply:
      return a * b;
    case Operator::kPower:
      return std::pow(a, b);
    default:
      if (b == 0.0) fail("division by zero");
      if (op == Operator::kDivide) return a / b;
      if (op == Operator::kModulo) return python_modulo(a, b);
      return std::floor((a - python_modulo(a, b)) / b + 0.5);
  }
}

Value repeat(Runtime& runtime, const Value& value, std::int64_t count) {
  if (value.is(Kind::kText)) {
    const auto size = static_cast<std::int64_t>(value.text().size());
    std::int64_t total = 0;
    if (count <= 0 || size == 0) return Value(std::string(), value.markup());
    if (__builtin_mul_overflow(size, count, &total)) fail("a repeated string is too long");
    runtime.budget.bytes(static_cast<std::size_t>(total));
    Text text{.value = {}, .markup = value.markup()};
    text.value.reserve(static_cast<std::size_t>(total));
    for (; count > 0; --count) append(text, *value.shared_text());
    return Value(std::move(text));
  }
  const auto& items = value.sequence().items;
  Value::List repeated;
  for (; count > 0 && !items.empty(); --count) {
    runtime.budget.step(static_cast<std::int64_t>(items.size()));
    repeated.insert(repeated.end(), items.begin(), items.end());
  }
  return Value::list(std::move(repeated), value.sequence().shape);
}

bool is_repeatable(const Value& value) {
  return value.is(Kind::kText) ||
         (value.is(Kind::kSequence) &&
          (value.sequence().shape == Shape::kList || value.sequence().shape == Shape::kTuple));
}

Value add_texts(Runtime& runtime, const Value& a, const Value& b) {
  const bool markup = a.markup() || b.markup();
  Text text;
  const auto add = [&](const Value& part) {
    const std::size_t begin = text.value.size();
    if (!markup || part.markup()) {
      append(text, *part.shared_text());
    } else {
      append(text, core::escape_html(part.text()));
      label_from(text, begin, *part.shared_text());
    }
  };
  runtime.budget.bytes(a.text().size() + b.text().size());
  add(a);
  add(b);
  text.markup = markup;
  return Value(std::move(text));
}

}  // namespace

Value binary(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  if (op == Operator::kAdd && a.is(Kind::kText) && b.is(Kind::kText))
    return add_texts(runtime, a, b);
  if (is_number(a) && is_number(b)) {
    if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat))
      return integers(op, as_index(a, ""), as_index(b, ""));
    return floats(op, as_double(a), as_double(b));
  }
  if (a.is(Kind::kUndefined)) fail_undefined(a);
  if (op == Operator::kModulo && a.is(Kind::kText))
    return label_result(make_text(runtime, percent_format(runtime, a.text(), b), a.markup()), a,
                        {{b}, {}});
  if (b.is(Kind::kUndefined)) fail_undefined(b);
  if (op == Operator::kMultiply) {
    if (is_repeatable(a) && (b.is(Kind::kInt) || b.is(Kind::kBool)))
      return repeat(runtime, a, as_index(b, ""));
    if (is_repeatable(b) && (a.is(Kind::kInt) || a.is(Kind::kBool)))
      return repeat(runtime, b, as_index(a, ""));
  }
  if (op == Operator::kAdd && a.is(Kind::kSequence) && b.is(Kind::kSequence) && is_repeatable(a) &&
      a.sequence().shape == b.sequence().shape) {
    Value::List items = a.sequence().items;
    items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
    return make_list(runtime, std::move(items), a.sequence().shape);
  }
  fail("unsupported operand types for ", symbol_of(op), ": '", type_name(a), "' and '",
       type_name(b), "'");
}

Value negate(const Value& value) {
  if (value.is(Kind::kFloat)) return -value.number();
  if (value.is(Kind::kUndefined)) fail_undefined(value);
  return integers(Operator::kSubtract, 0, as_index(value, "the operand of -"));
}

}  // namespace corda::jinja
