// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The values that a chat template sees: JSON, and the few Python types that show in its output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace corda::jinja {

class Value;
struct Object;  // macros, namespaces, functions: made by the engine only

// Bytes [begin, end) of a text that came from the variables, not from the template. `source` is the
// label that the caller gave them (from 0), or kMixedSource where an operation blended them with
// other text.
struct SourceSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int32_t source = 0;
  bool operator==(const SourceSpan&) const = default;
};
using SourceSpans = std::vector<SourceSpan>;  // ascending, apart
inline constexpr std::int32_t kMixedSource = -1;

// UTF-8. `markup` marks text that `safe` or `escape` returned: what is added to it is HTML-escaped,
// as in Jinja. What no span of `sources` covers was written by the template.
struct Text {
  std::string value;
  bool markup = false;
  SourceSpans sources = {};
};

// What kind of Python sequence it stands for; only kList and kTuple come from outside or from
// literals.
enum class Shape : std::uint8_t { kList, kTuple, kGenerator, kKeys, kValues, kItems, kRange };

struct Sequence;
struct Mapping;

// A missing variable, attribute or item; printing it gives nothing, computing with it is an error.
struct Undefined {
  std::shared_ptr<const Text> name;
};

enum class Kind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kSequence,
  kMapping,
  kObject,
  kUndefined
};

// Immutable and cheap to copy (the content is shared).
class Value {
 public:
  using List = std::vector<Value>;
  using Dict = std::vector<std::pair<Value, Value>>;  // in the order of insertion

  Value() = default;  // None
  Value(std::nullptr_t) {}
  Value(bool value) : data_(value) {}
  Value(int value) : data_(std::int64_t{value}) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(std::string value, bool markup = false);
  explicit Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}
  Value(std::shared_ptr<Object> value) : data_(std::move(value)) {}
  Value(Undefined value) : data_(std::move(value)) {}

  // Both throw FormatError where the content nests deeper than kMaxNesting; of equal keys the last
  // one wins.
  static Value list(List items, Shape shape = Shape::kList);
  static Value dict(Dict entries);
  static constexpr std::int32_t kMaxNesting = 256;

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is(Kind kind) const { return this->kind() == kind; }

  // The content; the kind must be the right one (std::bad_variant_access).
  bool boolean() const { return std::get<bool>(data_); }
  std::int64_t integer() const { return std::get<std::int64_t>(data_); }
  double number() const { return std::get<double>(data_); }
  const std::string& text() const { return std::get<TextPointer>(data_)->value; }
  bool markup() const { return is(Kind::kText) && std::get<TextPointer>(data_)->markup; }
  const SourceSpans& sources() const { return std::get<TextPointer>(data_)->sources; }
  const std::shared_ptr<const Text>& shared_text() const { return std::get<TextPointer>(data_); }
  Sequence& sequence() const { return *std::get<std::shared_ptr<Sequence>>(data_); }
  const Mapping& mapping() const { return *std::get<std::shared_ptr<const Mapping>>(data_); }
  Object& object() const { return *std::get<std::shared_ptr<Object>>(data_); }
  const Undefined& undefined() const { return std::get<Undefined>(data_); }

 private:
  using TextPointer = std::shared_ptr<const Text>;
  std::variant<std::nullptr_t, bool, std::int64_t, double, TextPointer, std::shared_ptr<Sequence>,
               std::shared_ptr<const Mapping>, std::shared_ptr<Object>, Undefined>
      data_;
};

struct Sequence {
  Value::List items;
  Shape shape = Shape::kList;
  std::int32_t nesting = 1;
  bool consumed = false;  // of a generator: it was iterated over once, and is empty now
};

struct Mapping {
  Value::Dict entries;
  std::int32_t nesting = 1;

  // The value of a key, or nullptr; 1, 1.0 and True are the same key, as in Python.
  const Value* find(const Value& key) const;
  const Value* find_text(std::string_view key) const;
};

}  // namespace corda::jinja
