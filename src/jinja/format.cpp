// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "corda/core/text.h"
#include "jinja/runtime.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

void append_repr_text(std::string& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const auto code = next_code_point(text, at);
    if (code == quote || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (code >= 0 && !is_printable(code)) {
      char buffer[16];
      std::snprintf(buffer, sizeof buffer,
                    code < 0x100     ? "\\x%02x"
                    : code < 0x10000 ? "\\u%04x"
                                     : "\\U%08x",
                    static_cast<unsigned>(code));
      out += buffer;
    } else {
      out += text.substr(begin, at - begin);
    }
  }
  out += quote;
}

void append_repr(Runtime& runtime, Text& text, const Value& value) {
  std::string& out = text.value;
  runtime.budget.step();
  switch (value.kind()) {
    case Kind::kText: {
      if (value.markup()) out += "Markup(";
      const std::size_t begin = out.size();
      append_repr_text(out, value.text());
      label_from(text, begin, *value.shared_text());
      if (value.markup()) out += ")";
      break;
    }
    case Kind::kUndefined:
      out += "Undefined";
      break;
    case Kind::kMapping: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.mapping().entries) {
        if (!std::exchange(first, false)) out += ", ";
        append_repr(runtime, text, key);
        out += ": ";
        append_repr(runtime, text, item);
      }
      out += '}';
      break;
    }
    case Kind::kSequence: {
      const auto& sequence = value.sequence();
      if (sequence.shape == Shape::kGenerator)
        fail("a generator cannot be printed; use the filter 'list' or 'join'");
      if (sequence.shape == Shape::kRange) fail("a range cannot be printed; use the filter 'list'");
      const bool is_tuple = sequence.shape == Shape::kTuple,
                 is_view = !is_tuple && sequence.shape != Shape::kList;
      if (is_view) out += core::concat(type_name(value), '(');
      out += is_tuple ? '(' : '[';
      for (std::size_t i = 0; i < sequence.items.size(); ++i) {
        if (i > 0) out += ", ";
        append_repr(runtime, text, sequence.items[i]);
      }
      if (is_tuple && sequence.items.size() == 1) out += ',';
      out += is_tuple ? ')' : ']';
      if (is_view) out += ')';
      break;
    }
    case Kind::kObject:
      fail("a value of type ", type_name(value), " cannot be printed");
    default:
      out += to_text(runtime, value);
  }
  runtime.budget.check_size(out.size());
}

std::string fixed(double value, int precision) {
  std::string buffer(400 + static_cast<std::size_t>(precision), '\0');
  buffer.resize(static_cast<std::size_t>(
      std::snprintf(buffer.data(), buffer.size(), "%.*f", precision, value)));
  return buffer;
}

std::string group_thousands(std::string digits) {
  const auto dot = std::min(digits.find('.'), digits.size());
  const std::size_t begin = digits.starts_with('-') ? 1 : 0;
  for (auto i = dot; i > begin + 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

struct Spec {
  std::string fill = " ";
  char align = '\0', sign = '\0', type = '\0';
  bool zero = false, comma = false, alternate = false;
  std::int64_t width = 0;
  int precision = -1;
};

std::int64_t read_number(std::string_view text, std::size_t& at) {
  std::int64_t number = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    number = number * 10 + (text[at] - '0');
    if (number > 100'000) fail("a width or precision in a format is too large");
  }
  return number;
}

std::string pad(Runtime& runtime, std::string text, const Spec& spec, char default_align) {
  const std::int64_t missing = spec.width - length(text);
  if (missing <= 0) return text;
  runtime.budget.bytes(text.size() + static_cast<std::size_t>(missing) * spec.fill.size());
  const char align = spec.align != '\0' ? spec.align : default_align;
  const std::int64_t left = align == '>' || align == '=' ? missing : align == '^' ? missing / 2 : 0;
  std::string before, after;
  for (std::int64_t i = 0; i < left; ++i) before += spec.fill;
  for (std::int64_t i = left; i < missing; ++i) after += spec.fill;
  const std::size_t sign = align == '=' && (text.starts_with('-') || text.starts_with('+')) ? 1 : 0;
  return text.substr(0, sign) + before + text.substr(sign) + after;
}

// A number by type d, i, u, f, F, e, g, x, X, o, b, %.
std::string number_text(const Value& value, const Spec& spec) {
  std::string text;
  const char type = spec.type;
  if (type == 'f' || type == 'F' || type == '%') {
    text = fixed(as_double(value) * (type == '%' ? 100.0 : 1.0),
                 spec.precision < 0 ? 6 : spec.precision);
    if (type == '%') text += '%';
  } else if (type == 'e' || type == 'E' || type == 'g' || type == 'G') {
    const char format[] = {'%', '.', '*', type, '\0'};
    text.resize(400 + static_cast<std::size_t>(std::max(spec.precision, 0)));
    text.resize(static_cast<std::size_t>(std::snprintf(text.data(), text.size(), format,
                                                       spec.precision < 0 ? 6 : spec.precision,
                                                       as_double(value))));
  } else if (type == 'x' || type == 'X' || type == 'o' || type == 'b') {
    const auto number = as_index(value, "a formatted number");
    char buffer[72];
    const auto magnitude =
        number < 0 ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, magnitude,
                                   type == 'o'   ? 8
                                   : type == 'b' ? 2
                                                 : 16)
                         .ptr;
    text = std::string(buffer, end);
    if (type == 'X') text = upper(text);
    if (spec.alternate) text = std::string("0") + type + text;
    if (number < 0) text = "-" + text;
  } else {
    const auto truncated =
        value.is(Kind::kFloat)
            ? static_cast<std::int64_t>(std::clamp(value.number(), -9.0e18, 9.0e18))
            : as_index(value, "a formatted number");
    text = std::to_string(truncated);
  }
  if (spec.comma) text = group_thousands(std::move(text));
  if (spec.sign != '\0' && !text.starts_with('-')) text = spec.sign + text;
  return text;
}

}  // namespace

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  std::string text(
      buffer,
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr);
  const auto e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  if (exponent < -4 || exponent >= 16) return text;
  text.assign(buffer,
              std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string to_text(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.boolean() ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.integer());
    case Kind::kFloat:
      return float_text(value.number());
    case Kind::kText:
      return value.text();
    case Kind::kUndefined:
      return {};
    default:
      return repr(runtime, value);
  }
}

Text traced_repr(Runtime& runtime, const Value& value) {
  Text out;
  append_repr(runtime, out, value);
  runtime.budget.bytes(out.value.size());
  return out;
}

std::string repr(Runtime& runtime, const Value& value) { return traced_repr(runtime, value).value; }

std::string percent_format(Runtime& runtime, const std::string& format, const Value& arguments) {
  const bool is_tuple =
      arguments.is(Kind::kSequence) && arguments.sequence().shape == Shape::kTuple;
  std::size_t used = 0;
  std::string out;
  for (std::size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out += format[at];
      continue;
    }
    ++at;
    const Value* named = nullptr;
    if (at < format.size() && format[at] == '(') {
      const auto close = format.find(')', at);
      if (close == std::string::npos || !arguments.is(Kind::kMapping))
        fail("format requires a mapping");
      named =
          arguments.mapping().find_text(std::string_view(format).substr(at + 1, close - at - 1));
      if (named == nullptr) fail("a key of the format is missing in the mapping");
      at = close + 1;
    }
    Spec spec;
    for (;
         at < format.size() && std::string_view("-+ 0#").find(format[at]) != std::string_view::npos;
         ++at) {
      if (format[at] == '-') spec.align = '<';
      if (format[at] == '0') spec.zero = true;
      if (format[at] == '#') spec.alternate = true;
      if (format[at] == '+' || (format[at] == ' ' && spec.sign == '\0')) spec.sign = format[at];
    }
    spec.width = read_number(format, at);
    if (at < format.size() && format[at] == '.')
      spec.precision = static_cast<int>(read_number(format, ++at));
    if (at >= format.size()) fail("incomplete format");
    spec.type = format[at];
    if (spec.type == '%') {
      out += '%';
      continue;
    }
    if (named == nullptr && (is_tuple ? used >= arguments.sequence().items.size() : used >= 1))
      fail("not enough arguments for format string");
    const Value& value = named != nullptr ? *named
                         : is_tuple       ? arguments.sequence().items[used]
                                          : arguments;
    if (named == nullptr) ++used;
    if (spec.type == 's' || spec.type == 'r') {
      std::string text = spec.type == 's' ? to_text(runtime, value) : repr(runtime, value);
      if (spec.precision >= 0) text.resize(byte_offset(text, spec.precision));
      out += pad(runtime, std::move(text), spec, '>');
    } else if (std::string_view("diufFeEgGxXo").find(spec.type) != std::string_view::npos) {
      if (!is_number(value))
        fail("%", spec.type, " format: a number is required, not ", type_name(value));
      if (spec.zero && spec.align == '\0') {
        spec.fill = "0";
        spec.align = '=';
      }
      out += pad(runtime, number_text(value, spec), spec, '>');
    } else {
      fail("unsupported format character '", spec.type, "'");
    }
    runtime.budget.check_size(out.size());
  }
  if (is_tuple ? used < arguments.sequence().items.size()
               : used == 0 && !arguments.is(Kind::kMapping) && !arguments.is(Kind::kSequence)) {
    fail("not all arguments converted during string formatting");
  }
  return out;
}

namespace {

Spec read_spec(std::string_view text) {
  Spec spec;
  std::size_t at = 0;
  static constexpr std::string_view kAligns = "<>^=";
  std::size_t first = 0;
  if (!text.empty()) next_code_point(text, first);
  if (first > 0 && first < text.size() && kAligns.find(text[first]) != std::string_view::npos) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    at = first + 1;
  } else if (!text.empty() && kAligns.find(text[0]) != std::string_view::npos) {
    spec.align = text[at++];
  }
  if (at < text.size() && (text[at] == '+' || text[at] == ' ' || text[at] == '-'))
    spec.sign = text[at] == '-' ? '\0' : text[at], ++at;
  if (at < text.size() && text[at] == '#') spec.alternate = true, ++at;
  if (at < text.size() && text[at] == '0') {
    if (spec.align == '\0') spec.fill = "0", spec.align = '=';
    ++at;
  }
  spec.width = read_number(text, at);
  if (at < text.size() && text[at] == ',') spec.comma = true, ++at;
  if (at < text.size() && text[at] == '.')
    spec.precision = static_cast<int>(read_number(text, ++at));
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) fail("invalid format specifier '", text, "'");
  return spec;
}

std::string format_field(Runtime& runtime, const Value& value, std::string_view text) {
  const Spec spec = read_spec(text);
  const bool plain = spec.type == '\0' || spec.type == 's';
  if (!is_number(value) || value.is(Kind::kBool) || (plain && spec.precision < 0 && !spec.comma)) {
    std::string shown = to_text(runtime, value);
    if (spec.precision >= 0) shown.resize(byte_offset(shown, spec.precision));
    if (spec.sign != '\0' && is_number(value) && !shown.starts_with('-')) shown = spec.sign + shown;
    return pad(runtime, std::move(shown), spec, is_number(value) ? '>' : '<');
  }
  Spec adjusted = spec;
  if (plain && value.is(Kind::kFloat)) adjusted.type = 'g';
  return pad(runtime, number_text(value, adjusted), spec, '>');
}

}  // namespace

std::string brace_format(Runtime& runtime, const std::string& format, const Arguments& arguments) {
  std::string out;
  std::size_t automatic = 0;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if (c != '{' && c != '}') {
      out += c;
      continue;
    }
    if (at + 1 < format.size() && format[at + 1] == c) {
      out += c;
      ++at;
      continue;
    }
    const auto close = format.find('}', at);
    if (c == '}' || close == std::string::npos)
      fail("single '", c, "' encountered in format string");
    const std::string_view field = std::string_view(format).substr(at + 1, close - at - 1);
    const auto colon = std::min(field.find(':'), field.size());
    std::string_view name = field.substr(0, colon);
    const bool as_repr = name.ends_with("!r");
    if (as_repr || name.ends_with("!s")) name.remove_suffix(2);
    const auto index = name.empty()
                           ? std::optional<std::int64_t>(static_cast<std::int64_t>(automatic++))
                           : core::parse_int(name);
    const Value* value = nullptr;
    if (index) {
      if (*index < 0 || static_cast<std::size_t>(*index) >= arguments.positional.size())
        fail("format has no argument ", *index);
      value = &arguments.positional[static_cast<std::size_t>(*index)];
    } else {
      for (const auto& [key, named] : arguments.named) {
        if (key == name) value = &named;
      }
      if (value == nullptr) fail("format has no argument '", name, "'");
    }
    const Value shown = as_repr ? Value(repr(runtime, *value)) : *value;
    out += format_field(runtime, shown, field.substr(std::min(colon + 1, field.size())));
    runtime.budget.check_size(out.size());
    at = close;
  }
  return out;
}

}  // namespace corda::jinja
