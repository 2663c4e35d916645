// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cmath>

#include "jinja/runtime.h"
#include "jinja/text.h"

namespace corda::jinja {

const char* type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kText:
      return "str";
    case Kind::kMapping:
      return "dict";
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kObject: {
      static constexpr const char* kNames[] = {"Namespace", "Macro", "function", "method",
                                               "LoopContext"};
      return kNames[static_cast<std::size_t>(value.object().type)];
    }
    case Kind::kSequence: {
      static constexpr const char* kNames[] = {
          "list", "tuple", "generator", "dict_keys", "dict_values", "dict_items", "range"};
      return kNames[static_cast<std::size_t>(value.sequence().shape)];
    }
  }
  return "";
}

void fail_undefined(const Value& undefined) {
  const auto& name = undefined.undefined().name;
  if (!name) fail("a value is undefined");
  fail("'", name->value, "' is undefined");
}

Value make_text(Runtime& runtime, std::string text, bool markup) {
  runtime.budget.bytes(text.size());
  return {std::move(text), markup};
}

Value make_text(Runtime& runtime, Text text) {
  runtime.budget.bytes(text.value.size());
  return Value(std::move(text));
}

Value make_list(Runtime& runtime, Value::List items, Shape shape) {
  runtime.budget.step(static_cast<std::int64_t>(items.size()));
  return Value::list(std::move(items), shape);
}

bool is_number(const Value& value) {
  return value.is(Kind::kInt) || value.is(Kind::kFloat) || value.is(Kind::kBool);
}

double as_double(const Value& value) {
  if (value.is(Kind::kFloat)) return value.number();
  return value.is(Kind::kBool) ? static_cast<double>(value.boolean())
                               : static_cast<double>(value.integer());
}

std::int64_t as_index(const Value& value, const char* what) {
  if (value.is(Kind::kInt)) return value.integer();
  if (value.is(Kind::kBool)) return value.boolean() ? 1 : 0;
  if (value.is(Kind::kUndefined)) fail_undefined(value);
  fail(what, " must be an integer, got ", type_name(value));
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
    case Kind::kUndefined:
      return false;
    case Kind::kBool:
      return value.boolean();
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.number() != 0.0;
    case Kind::kText:
      return !value.text().empty();
    case Kind::kMapping:
      return !value.mapping().entries.empty();
    case Kind::kObject:
      return true;
    case Kind::kSequence:
      return value.sequence().shape == Shape::kGenerator || !value.sequence().items.empty();
  }
  return false;
}

bool is_hashable(const Value& value) {
  if (value.is(Kind::kMapping)) return false;
  if (!value.is(Kind::kSequence)) return true;
  const auto& items = value.sequence().items;
  return value.sequence().shape != Shape::kList &&
         std::all_of(items.begin(), items.end(), is_hashable);
}

bool equal_keys(const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) {
    if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) return as_index(a, "") == as_index(b, "");
    return as_double(a) == as_double(b);
  }
  if (a.kind() != b.kind()) return false;
  if (a.is(Kind::kText)) return a.text() == b.text();
  if (a.is(Kind::kNone)) return true;
  if (a.is(Kind::kObject)) return &a.object() == &b.object();
  if (!a.is(Kind::kSequence)) return a.is(Kind::kUndefined);
  const auto& left = a.sequence();
  const auto& right = b.sequence();
  return left.shape == right.shape && left.items.size() == right.items.size() &&
         std::equal(left.items.begin(), left.items.end(), right.items.begin(), equal_keys);
}

void count_texts(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto count = [&](const Value& value) {
    if (value.is(Kind::kText)) runtime.budget.read(value.text().size());
  };
  count(input);
  for (const Value& value : arguments.positional) count(value);
  for (const auto& [name, value] : arguments.named) count(value);
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.budget.step();
  if (a.is(Kind::kText) && b.is(Kind::kText) && a.text().size() == b.text().size())
    runtime.budget.read(a.text().size());
  if (a.kind() != b.kind() || (!a.is(Kind::kSequence) && !a.is(Kind::kMapping)))
    return equal_keys(a, b);
  if (a.is(Kind::kMapping)) {
    const auto& left = a.mapping();
    const auto& right = b.mapping();
    if (left.entries.size() != right.entries.size()) return false;
    for (const auto& [key, value] : left.entries) {
      runtime.budget.step(static_cast<std::int64_t>(right.entries.size() / 8));
      const Value* other = right.find(key);
      if (other == nullptr || !equal(runtime, value, *other)) return false;
    }
    return true;
  }
  const auto& left = a.sequence();
  const auto& right = b.sequence();
  if (&left == &right) return true;
  if (left.shape != right.shape || left.shape == Shape::kGenerator ||
      left.items.size() != right.items.size())
    return false;
  for (std::size_t i = 0; i < left.items.size(); ++i) {
    if (!equal(runtime, left.items[i], right.items[i])) return false;
  }
  return true;
}

int compare(Runtime& runtime, const Value& a, const Value& b, const char* symbol) {
  runtime.budget.step();
  if (is_number(a) && is_number(b)) {
    if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) {
      const auto left = as_index(a, ""), right = as_index(b, "");
      return left < right ? -1 : left > right ? 1 : 0;
    }
    const double left = as_double(a), right = as_double(b);
    return left < right ? -1 : left > right ? 1 : left == right ? 0 : 2;  // 2: NaN, neither
  }
  if (a.is(Kind::kText) && b.is(Kind::kText)) {
    runtime.budget.read(std::min(a.text().size(), b.text().size()));
    const int order = a.text().compare(b.text());
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  if (a.is(Kind::kSequence) && b.is(Kind::kSequence) && a.sequence().shape == b.sequence().shape &&
      (a.sequence().shape == Shape::kList || a.sequence().shape == Shape::kTuple)) {
    const auto& left = a.sequence().items;
    const auto& right = b.sequence().items;
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!equal(runtime, left[i], right[i])) return compare(runtime, left[i], right[i], symbol);
    }
    return left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0;
  }
  if (a.is(Kind::kUndefined)) fail_undefined(a);
  if (b.is(Kind::kUndefined)) fail_undefined(b);
  fail("'", symbol, "' not supported between instances of '", type_name(a), "' and '", type_name(b),
       "'");
}

namespace {

// Keys are compared one by one.
void count_lookup(Runtime& runtime, const Value& mapping, const Value& key) {
  const auto entries = static_cast<std::int64_t>(mapping.mapping().entries.size());
  const auto size = key.is(Kind::kText) ? static_cast<std::int64_t>(key.text().size()) : 0;
  runtime.budget.step(entries / 8 + entries * (size / 32));
}

}  // namespace

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kText:
      if (!item.is(Kind::kText))
        fail("'in <string>' requires string as left operand, not ", type_name(item));
      runtime.budget.search(container.text().size(), item.text().size());
      return container.text().find(item.text()) != std::string::npos;
    case Kind::kMapping:
      if (!is_hashable(item)) fail("unhashable type: '", type_name(item), "'");
      count_lookup(runtime, container, item);
      return container.mapping().find(item) != nullptr;
    case Kind::kSequence: {
      const auto items = iterate(runtime, container);
      return std::any_of(items.begin(), items.end(),
                         [&](const Value& value) { return equal(runtime, value, item); });
    }
    default:
      fail("argument of type '", type_name(container), "' is not iterable");
  }
}

std::int64_t length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kText:
      return length(value.text());
    case Kind::kMapping:
      return static_cast<std::int64_t>(value.mapping().entries.size());
    case Kind::kSequence:
      if (value.sequence().shape != Shape::kGenerator)
        return static_cast<std::int64_t>(value.sequence().items.size());
      [[fallthrough]];
    default:
      fail("object of type '", type_name(value), "' has no len()");
  }
}

bool is_iterable(const Value& value) {
  return value.is(Kind::kUndefined) || value.is(Kind::kText) || value.is(Kind::kMapping) ||
         value.is(Kind::kSequence);
}

Value::List iterate(Runtime& runtime, const Value& value) {
  Value::List items;
  switch (value.kind()) {
    case Kind::kUndefined:
      break;
    case Kind::kText:
      runtime.budget.step(static_cast<std::int64_t>(value.text().size()));
      for (const auto part : code_points(value.text()))
        items.emplace_back(part_of(*value.shared_text(), part));
      break;
    case Kind::kMapping:
      for (const auto& entry : value.mapping().entries) items.push_back(entry.first);
      break;
    case Kind::kSequence: {
      auto& sequence = value.sequence();
      if (sequence.shape != Shape::kGenerator) {
        items = sequence.items;
      } else if (!std::exchange(sequence.consumed, true)) {
        items = std::move(sequence.items);
      }
      break;
    }
    default:
      fail("'", type_name(value), "' object is not iterable");
  }
  runtime.budget.step(static_cast<std::int64_t>(items.size()));
  return items;
}

Value text_part(const Value& whole, std::string_view view) {
  Text part = part_of(*whole.shared_text(), view);
  part.markup = whole.markup();
  return Value(std::move(part));
}

namespace {

std::optional<Value> loop_attribute(const LoopObject& loop, std::string_view name) {
  const auto count = static_cast<std::int64_t>(loop.items.size());
  if (name == "index") return loop.index + 1;
  if (name == "index0") return loop.index;
  if (name == "revindex") return count - loop.index;
  if (name == "revindex0") return count - loop.index - 1;
  if (name == "first") return loop.index == 0;
  if (name == "last") return loop.index == count - 1;
  if (name == "length") return count;
  if (name == "depth") return loop.depth;
  if (name == "depth0") return loop.depth - 1;
  const auto at = static_cast<std::size_t>(loop.index);
  if (name == "previtem") return at > 0 ? loop.items[at - 1] : Value(Undefined{});
  if (name == "nextitem")
    return at + 1 < loop.items.size() ? loop.items[at + 1] : Value(Undefined{});
  return std::nullopt;
}

// What getattr() finds, if anything.
std::optional<Value> own_attribute(const Value& object, const Value& name) {
  const std::string& text = name.text();
  if (object.is(Kind::kObject)) {
    auto& target = object.object();
    if (target.type == ObjectType::kNamespace) {
      for (const auto& [key, value] : static_cast<NamespaceObject&>(target).attributes) {
        if (key == text) return value;
      }
    } else if (target.type == ObjectType::kLoop) {
      if (auto found = loop_attribute(static_cast<LoopObject&>(target), text)) return found;
      if (text == "cycle" || text == "changed")
        return Value(std::make_shared<MethodObject>(object, text));
    } else if (target.type == ObjectType::kMacro && text == "name") {
      return Value(static_cast<MacroObject&>(target).name);
    }
    return std::nullopt;
  }
  if (is_unsafe_method(object, text)) return Value(Undefined{name.shared_text()});
  if (has_method(object, text)) return Value(std::make_shared<MethodObject>(object, text));
  return std::nullopt;
}

}  // namespace

Value attribute(Runtime& runtime, const Value& object, const Value& name) {
  if (object.is(Kind::kUndefined)) fail_undefined(object);
  if (object.is(Kind::kMapping)) {
    const Value* found = object.mapping().find_text(name.text());
    runtime.budget.step(static_cast<std::int64_t>(object.mapping().entries.size() / 8));
    if (auto own = own_attribute(object, name)) return *own;
    return found != nullptr ? *found : Value(Undefined{name.shared_text()});
  }
  if (auto own = own_attribute(object, name)) return *own;
  return Undefined{name.shared_text()};
}

Value item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is(Kind::kUndefined)) fail_undefined(object);
  if (object.is(Kind::kMapping) && is_hashable(key)) {
    count_lookup(runtime, object, key);
    if (const Value* found = object.mapping().find(key)) return *found;
  } else if (key.is(Kind::kInt) || key.is(Kind::kBool)) {
    std::int64_t index = as_index(key, "");
    const bool is_text = object.is(Kind::kText);
    if (is_text || (object.is(Kind::kSequence) && (object.sequence().shape == Shape::kList ||
                                                   object.sequence().shape == Shape::kTuple ||
                                                   object.sequence().shape == Shape::kRange))) {
      if (is_text) runtime.budget.step(static_cast<std::int64_t>(object.text().size() / 32));
      const std::int64_t count = length_of(object);
      if (index < 0) index += count;
      if (index < 0 || index >= count) return Undefined{};
      if (!is_text) return object.sequence().items[static_cast<std::size_t>(index)];
      const auto begin = byte_offset(object.text(), index);
      auto end = begin;
      next_code_point(object.text(), end);
      return text_part(object, std::string_view(object.text()).substr(begin, end - begin));
    }
  }
  if (!key.is(Kind::kText)) return Undefined{};
  if (auto own = own_attribute(object, key)) return *own;
  return Undefined{key.shared_text()};
}

Value slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step) {
  if (object.is(Kind::kUndefined)) fail_undefined(object);
  const bool is_text = object.is(Kind::kText);
  if (!is_text &&
      (!object.is(Kind::kSequence) || object.sequence().shape == Shape::kGenerator ||
       object.sequence().shape == Shape::kKeys || object.sequence().shape == Shape::kValues ||
       object.sequence().shape == Shape::kItems)) {
    fail("'", type_name(object), "' object cannot be sliced");
  }
  if (is_text) runtime.budget.read(object.text().size());
  const std::int64_t count = length_of(object);
  const std::int64_t by = step.is(Kind::kNone) ? 1 : as_index(step, "a slice step");
  if (by == 0) fail("slice step cannot be zero");
  const std::int64_t low = by > 0 ? 0 : -1, high = by > 0 ? count : count - 1;
  const auto clamp = [&](const Value& bound, std::int64_t otherwise) {
    if (bound.is(Kind::kNone)) return otherwise;
    std::int64_t index = as_index(bound, "a slice index");
    if (index < 0) index = index < -count ? low : index + count;
    return std::clamp(index, low, high);
  };
  const std::int64_t from = clamp(start, by > 0 ? low : high),
                     to = clamp(stop, by > 0 ? high : low);
  if (is_text && by == 1) {
    if (from >= to) return Value(std::string(), object.markup());
    const std::string_view rest =
        std::string_view(object.text()).substr(byte_offset(object.text(), from));
    runtime.budget.bytes(rest.size());
    return text_part(object, rest.substr(0, byte_offset(rest, to - from)));
  }
  if (is_text) runtime.budget.step(count);
  const auto parts = is_text ? code_points(object.text()) : std::vector<std::string_view>{};
  Text text{.value = {}, .markup = object.markup()};
  Value::List items;
  for (std::int64_t i = from; by > 0 ? i < to : i > to;) {
    if (is_text) {
      append(text, part_of(*object.shared_text(), parts[static_cast<std::size_t>(i)]));
    } else {
      items.push_back(object.sequence().items[static_cast<std::size_t>(i)]);
    }
    if (by > count || by < -count) break;
    i += by;
  }
  if (is_text) return make_text(runtime, std::move(text));
  return make_list(runtime, std::move(items), object.sequence().shape);
}

}  // namespace corda::jinja
