// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <map>

#include "jinja/runtime.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

using Test = bool (*)(Runtime&, const Value&, const Arguments&);

const Value& other(const Arguments& arguments) {
  const auto [value] = bind("test", arguments, {"other"}, 1);
  return *value;
}

template <Kind kind>
bool is_kind(Runtime&, const Value& value, const Arguments&) {
  return value.is(kind);
}

bool is_equal(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return equal(runtime, value, other(arguments));
}
bool is_unequal(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return !equal(runtime, value, other(arguments));
}
bool is_less(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return compare(runtime, value, other(arguments), "<") == -1;
}
bool is_greater(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return compare(runtime, value, other(arguments), ">") == 1;
}
bool is_at_most(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return compare(runtime, value, other(arguments), "<=") <= 0;
}
bool is_at_least(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const int order = compare(runtime, value, other(arguments), ">=");
  return order == 0 || order == 1;
}

std::int64_t remainder(const Value& value, std::int64_t divisor) {
  if (divisor == 0) fail("division by zero");
  return divisor == -1 ? 0 : as_index(value, "the tested number") % divisor;
}

bool is_sequence(Runtime&, const Value& value, const Arguments&) {
  if (value.is(Kind::kSequence)) {
    const auto shape = value.sequence().shape;
    return shape == Shape::kList || shape == Shape::kTuple || shape == Shape::kRange;
  }
  return value.is(Kind::kText) || value.is(Kind::kMapping) || value.is(Kind::kUndefined);
}

bool is_same(Runtime&, const Value& value, const Arguments& arguments) {
  const Value& same = other(arguments);
  if (value.kind() != same.kind()) return false;
  if (value.is(Kind::kSequence)) return &value.sequence() == &same.sequence();
  if (value.is(Kind::kMapping)) return &value.mapping() == &same.mapping();
  return equal_keys(value, same);
}

const std::map<std::string_view, Test>& tests() {
  static const std::map<std::string_view, Test> kTests = {
      {"defined",
       [](Runtime&, const Value& value, const Arguments&) { return !value.is(Kind::kUndefined); }},
      {"undefined", is_kind<Kind::kUndefined>},
      {"none", is_kind<Kind::kNone>},
      {"string", is_kind<Kind::kText>},
      {"mapping", is_kind<Kind::kMapping>},
      {"boolean", is_kind<Kind::kBool>},
      {"integer", is_kind<Kind::kInt>},
      {"float", is_kind<Kind::kFloat>},
      {"number", [](Runtime&, const Value& value, const Arguments&) { return is_number(value); }},
      {"sequence", is_sequence},
      {"iterable",
       [](Runtime&, const Value& value, const Arguments&) { return is_iterable(value); }},
      {"callable",
       [](Runtime&, const Value& value, const Arguments&) {
         return value.is(Kind::kObject) && value.object().type != ObjectType::kNamespace &&
                value.object().type != ObjectType::kLoop;
       }},
      {"true", [](Runtime&, const Value& value,
                  const Arguments&) { return value.is(Kind::kBool) && value.boolean(); }},
      {"false", [](Runtime&, const Value& value,
                   const Arguments&) { return value.is(Kind::kBool) && !value.boolean(); }},
      {"odd",
       [](Runtime&, const Value& value, const Arguments&) { return remainder(value, 2) != 0; }},
      {"even",
       [](Runtime&, const Value& value, const Arguments&) { return remainder(value, 2) == 0; }},
      {"divisibleby",
       [](Runtime&, const Value& value, const Arguments& arguments) {
         return remainder(value, as_index(other(arguments), "the divisor")) == 0;
       }},
      {"lower", [](Runtime& runtime, const Value& value,
                   const Arguments&) { return is_lower(to_text(runtime, value)); }},
      {"upper", [](Runtime& runtime, const Value& value,
                   const Arguments&) { return is_upper(to_text(runtime, value)); }},
      {"escaped", [](Runtime&, const Value& value, const Arguments&) { return value.markup(); }},
      {"in", [](Runtime& runtime, const Value& value,
                const Arguments& arguments) { return contains(runtime, other(arguments), value); }},
      {"sameas", is_same},
      {"filter", [](Runtime& runtime, const Value& value,
                    const Arguments&) { return has_filter(to_text(runtime, value)); }},
      {"test", [](Runtime& runtime, const Value& value,
                  const Arguments&) { return has_test(to_text(runtime, value)); }},
      {"eq", is_equal},
      {"equalto", is_equal},
      {"==", is_equal},
      {"ne", is_unequal},
      {"!=", is_unequal},
      {"lt", is_less},
      {"lessthan", is_less},
      {"<", is_less},
      {"gt", is_greater},
      {"greaterthan", is_greater},
      {">", is_greater},
      {"le", is_at_most},
      {"<=", is_at_most},
      {"ge", is_at_least},
      {">=", is_at_least}};
  return kTests;
}

}  // namespace

bool has_test(const std::string& name) { return tests().contains(name); }

bool apply_test(Runtime& runtime, const std::string& name, const Value& input,
                const Arguments& arguments) {
  const auto found = tests().find(name);
  if (found == tests().end()) fail("no test named '", name, "'");
  count_texts(runtime, input, arguments);
  return found->second(runtime, input, arguments);
}

}  // namespace corda::jinja
