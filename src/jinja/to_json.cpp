// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "jinja/runtime.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

class Writer {
 public:
  Writer(Runtime& runtime, const JsonOptions& options) : runtime_(runtime), options_(options) {}

  Text run(const Value& value) {
    write(value);
    runtime_.budget.bytes(out_.size());
    return std::move(text_);
  }

 private:
  void write(const Value& value) {
    runtime_.budget.step();
    runtime_.budget.check_size(out_.size());
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        break;
      case Kind::kBool:
        out_ += value.boolean() ? "true" : "false";
        break;
      case Kind::kText:
        write_text(*value.shared_text());
        break;
      case Kind::kInt:
        out_ += std::to_string(value.integer());
        break;
      case Kind::kFloat:
        out_ += number(value.number());
        break;
      case Kind::kMapping:
        write_mapping(value.mapping());
        break;
      case Kind::kSequence:
        if (value.sequence().shape == Shape::kList || value.sequence().shape == Shape::kTuple) {
          write_list(value.sequence().items);
          break;
        }
        [[fallthrough]];
      default:
        fail("Object of type ", type_name(value), " is not JSON serializable");
    }
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_text(value);
  }

  void write_text(const Text& text) {
    const std::size_t begin = out_.size();
    write_quoted(text.value);
    label_from(text_, begin, text);
  }

  void write_quoted(std::string_view text) {
    out_ += '"';
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      const auto code = next_code_point(text, at);
      static constexpr std::string_view kFrom = "\"\\\n\r\t\f\b", kTo = "\"\\nrtfb";
      const auto found =
          code > 0 && code < 0x80 ? kFrom.find(static_cast<char>(code)) : std::string_view::npos;
      if (found != std::string_view::npos) {
        out_ += '\\';
        out_ += kTo[found];
      } else if (code >= 0 && (code < 0x20 || (options_.ensure_ascii && code > 0x7F))) {
        if (code >= 0x10000) {
          write_escape(0xD800 + ((code - 0x10000) >> 10));
          write_escape(0xDC00 + ((code - 0x10000) & 0x3FF));
        } else {
          write_escape(code);
        }
      } else {
        out_ += text.substr(begin, at - begin);
      }
    }
    out_ += '"';
  }

  void write_escape(std::int32_t unit) {
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(unit & 0xFFFF));
    out_ += buffer;
  }

  void new_line() {
    if (!options_.indent) return;
    out_ += '\n';
    for (std::int64_t i = 0; i < level_; ++i) {
      out_ += *options_.indent;
      runtime_.budget.check_size(out_.size());
    }
    runtime_.budget.step(level_ * static_cast<std::int64_t>(options_.indent->size() / 32));
  }

  void write_list(const Value::List& items) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    ++level_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += options_.item_separator;
      new_line();
      write(items[i]);
    }
    --level_;
    new_line();
    out_ += ']';
  }

  std::string key_text(const Value& key) const {
    switch (key.kind()) {
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return key.boolean() ? "true" : "false";
      case Kind::kInt:
        return std::to_string(key.integer());
      case Kind::kFloat:
        return number(key.number());
      default:
        fail("keys must be str, int, float, bool or None, not ", type_name(key));
    }
  }

  void write_mapping(const Mapping& mapping) {
    if (mapping.entries.empty()) {
      out_ += "{}";
      return;
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : mapping.entries) entries.push_back(&entry);
    if (options_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
        return compare(runtime_, a->first, b->first, "<") < 0;
      });
    }
    out_ += '{';
    ++level_;
    bool first = true;
    for (const auto* entry : entries) {
      if (!std::exchange(first, false)) out_ += options_.item_separator;
      new_line();
      if (entry->first.is(Kind::kText)) {
        write_text(*entry->first.shared_text());
      } else {
        write_quoted(key_text(entry->first));
      }
      out_ += options_.key_separator;
      write(entry->second);
    }
    --level_;
    new_line();
    out_ += '}';
  }

  Runtime& runtime_;
  const JsonOptions& options_;
  Text text_;
  std::string& out_ = text_.value;
  std::int64_t level_ = 0;
};

}  // namespace

Text to_json(Runtime& runtime, const Value& value, const JsonOptions& options) {
  return Writer(runtime, options).run(value);
}

}  // namespace corda::jinja
