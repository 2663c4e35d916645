// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What filters, methods and operators need from a rendering: its budget and the engine's own
// objects.
#pragma once

#include <array>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "corda/jinja/template.h"
#include "jinja/failure.h"
#include "jinja/sources.h"

namespace corda::jinja {

struct Stmt;
struct Scope;

enum class ObjectType : std::uint8_t { kNamespace, kMacro, kFunction, kMethod, kLoop };

struct Object {
  explicit Object(ObjectType object_type) : type(object_type) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  ObjectType type;
};

struct NamespaceObject : Object {
  NamespaceObject() : Object(ObjectType::kNamespace) {}
  std::vector<std::pair<std::string, Value>> attributes;
};

struct MacroObject : Object {
  MacroObject() : Object(ObjectType::kMacro) {}
  const Stmt* stmt = nullptr;
  Scope* closure = nullptr;
  std::string name;
};

struct FunctionObject : Object {
  explicit FunctionObject(std::string function)
      : Object(ObjectType::kFunction), name(std::move(function)) {}
  std::string name;
};

struct MethodObject : Object {
  MethodObject(Value owner, std::string method)
      : Object(ObjectType::kMethod), self(std::move(owner)), name(std::move(method)) {}
  Value self;
  std::string name;
};

struct LoopObject : Object {
  LoopObject() : Object(ObjectType::kLoop) {}
  Value::List items;
  std::int64_t index = 0;  // from 0
  std::int64_t depth = 1;
  std::optional<Value> changed;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Counts what a rendering uses up; throws Failure at a limit.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  void step(std::int64_t count = 1) {
    if (count > limits_.max_steps - steps_)
      fail("the template needs more than ", limits_.max_steps, " steps");
    steps_ += count;
  }
  // To be called before (or soon after) a string of that size is made.
  void bytes(std::size_t size) {
    check_size(size);
    read(size);
  }
  void read(std::size_t size) { step(static_cast<std::int64_t>(size / 32)); }
  // Looking for `part` bytes anywhere in `size`: the worst case is their product.
  void search(std::size_t size, std::size_t part) {
    step(static_cast<std::int64_t>(size / 32) * (1 + static_cast<std::int64_t>(part / 32)));
  }
  void check_size(std::size_t size) const {
    if (size > static_cast<std::size_t>(limits_.max_bytes))
      fail("the template makes text of more than ", limits_.max_bytes, " bytes");
  }
  void enter() {
    if (++depth_ > limits_.max_depth) fail("the template nests deeper than ", limits_.max_depth);
  }
  void leave() { --depth_; }

 private:
  Limits limits_;
  std::int64_t steps_ = 0;
  std::int64_t depth_ = 0;
};

// The engine as filters see it; `select("test")` and `map("filter")` call back into it.
struct Runtime {
  Budget budget;
  std::optional<std::tm> now;
  std::vector<std::shared_ptr<NamespaceObject>>
      namespaces;  // emptied at the end: they may refer to themselves
};

// What a filter, a test or a method may read of the texts it is given.
void count_texts(Runtime& runtime, const Value& input, const Arguments& arguments);

// operations.cpp: Python's operators.
const char* type_name(const Value& value);
bool truth(const Value& value);
bool equal(Runtime& runtime, const Value& a, const Value& b);
// -1, 0, 1; Failure where Python has no order for the two types.
int compare(Runtime& runtime, const Value& a, const Value& b, const char* symbol);
bool contains(Runtime& runtime, const Value& container, const Value& item);
std::int64_t length_of(const Value& value);
// The items that iteration gives; empties a generator.
Value::List iterate(Runtime& runtime, const Value& value);
bool is_iterable(const Value& value);
bool is_number(const Value& value);  // int, float or bool
double as_double(const Value& value);
std::int64_t as_index(const Value& value, const char* what);
Value attribute(Runtime& runtime, const Value& object, const Value& name);
Value item(Runtime& runtime, const Value& object, const Value& key);
Value slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step);
[[noreturn]] void fail_undefined(const Value& undefined);
Value make_text(Runtime& runtime, std::string text, bool markup = false);
Value make_text(Runtime& runtime, Text text);
// The part `view` of the text `whole`, with its markup and sources.
Value text_part(const Value& whole, std::string_view view);
Value make_list(Runtime& runtime, Value::List items, Shape shape = Shape::kList);
bool equal_keys(const Value& a, const Value& b);
bool is_hashable(const Value& value);

// arithmetic.cpp
enum class Operator : std::uint8_t;
Value binary(Runtime& runtime, Operator op, const Value& a, const Value& b);
Value negate(const Value& value);

// format.cpp: str(), repr(), json.dumps, "%" and str.format.
std::string to_text(Runtime& runtime, const Value& value);
std::string repr(Runtime& runtime, const Value& value);
std::string float_text(double value);
std::string percent_format(Runtime& runtime, const std::string& format, const Value& arguments);
std::string brace_format(Runtime& runtime, const std::string& format, const Arguments& arguments);

// to_json.cpp
struct JsonOptions {
  bool ensure_ascii = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
Text to_json(Runtime& runtime, const Value& value, const JsonOptions& options);

// methods.cpp: whether the type of `self` has that method, whether the sandbox forbids it, and its
// call; `cycle` and `changed` of a loop.
bool has_method(const Value& self, std::string_view name);
bool is_unsafe_method(const Value& self, std::string_view name);
Value call_method(Runtime& runtime, const Value& self, const std::string& name,
                  const Arguments& arguments);
Value call_loop(Runtime& runtime, LoopObject& loop, const std::string& name,
                const Arguments& arguments);

// functions.cpp: what every template can call by name.
bool has_function(std::string_view name);
Value call_function(Runtime& runtime, const std::string& name, const Arguments& arguments);

// filters.cpp and tests.cpp
Value apply_filter(Runtime& runtime, const std::string& name, const Value& input,
                   const Arguments& arguments);
bool apply_test(Runtime& runtime, const std::string& name, const Value& input,
                const Arguments& arguments);
bool has_filter(const std::string& name);
bool has_test(const std::string& name);

// Assigns arguments to parameters by position and name; nullptr where one is not given. Failure for
// one too many.
template <std::size_t N>
std::array<const Value*, N> bind(const char* callee, const Arguments& arguments,
                                 const char* const (&names)[N], std::size_t required = 0) {
  std::array<const Value*, N> bound{};
  if (arguments.positional.size() > N)
    fail(callee, "() takes at most ", N, " arguments, got ", arguments.positional.size());
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    std::size_t i = 0;
    while (i < N && name != names[i]) ++i;
    if (i == N) fail(callee, "() has no argument '", name, "'");
    if (bound[i] != nullptr) fail(callee, "() got two values for '", name, "'");
    bound[i] = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (bound[i] == nullptr) fail(callee, "() needs the argument '", names[i], "'");
  }
  return bound;
}

}  // namespace corda::jinja
