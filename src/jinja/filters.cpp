// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Filters of one value; those of lists are in sequence_filters.cpp.
#include "jinja/filters.h"

#include <algorithm>
#include <cmath>

#include "corda/core/text.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

template <std::string (*map)(std::string_view)>
Value text_filter(Runtime& runtime, const Value& input, const Arguments&) {
  return make_text(runtime, map(to_text(runtime, input)), input.markup());
}

Value trim(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [chars] = bind("trim", arguments, {"chars"});
  const bool given = chars != nullptr && chars->is(Kind::kText);
  const Text text = traced_text(runtime, input);
  if (given) runtime.budget.search(text.value.size(), 32 * chars->text().size());
  Text kept = part_of(text, strip(text.value, true, true, given ? &chars->text() : nullptr));
  kept.markup = input.markup();
  return make_text(runtime, std::move(kept));
}

// The words begin at the start and after white space, '-', '(', '{', '[' and '<'.
Value title_filter(Runtime& runtime, const Value& input, const Arguments&) {
  std::string out;
  bool begins = true;
  const std::string text = to_text(runtime, input);
  runtime.budget.step(static_cast<std::int64_t>(text.size()));
  for (const auto part : code_points(text)) {
    std::size_t at = 0;
    const auto code = next_code_point(part, at);
    out += begins ? upper(part) : lower(part);
    begins =
        is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
  }
  return make_text(runtime, std::move(out));
}

Value to_json_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [ascii, indent, separators, sort] =
      bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonOptions options;
  options.ensure_ascii = ascii != nullptr && truth(*ascii);
  options.sort_keys = sort != nullptr && truth(*sort);
  if (indent != nullptr && !indent->is(Kind::kNone)) {
    if (indent->is(Kind::kText)) {
      options.indent = indent->text();
    } else {
      const auto width = std::max<std::int64_t>(0, as_index(*indent, "indent"));
      runtime.budget.bytes(static_cast<std::size_t>(width));
      options.indent = std::string(static_cast<std::size_t>(width), ' ');
    }
    options.item_separator = ",";
  }
  if (separators != nullptr && !separators->is(Kind::kNone)) {
    const auto pair = iterate(runtime, *separators);
    if (pair.size() != 2 || !pair[0].is(Kind::kText) || !pair[1].is(Kind::kText))
      fail("tojson: separators must be two strings");
    options.item_separator = pair[0].text();
    options.key_separator = pair[1].text();
  }
  return Value(to_json(runtime, input, options));
}

Value default_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const auto [otherwise, boolean] = bind("default", arguments, {"default_value", "boolean"});
  if (!input.is(Kind::kUndefined) && (boolean == nullptr || !truth(*boolean) || truth(input)))
    return input;
  return otherwise != nullptr ? *otherwise : Value("");
}

Value replace_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [from, to, count] = bind("replace", arguments, {"old", "new", "count"}, 2);
  Arguments texts;
  const auto plain = [&](const Value& value) {
    Text text = traced_text(runtime, value);
    text.markup = false;
    return Value(std::move(text));
  };
  texts.positional = {plain(*from), plain(*to)};
  if (count != nullptr && !count->is(Kind::kNone)) texts.positional.push_back(*count);
  return call_method(runtime, plain(input), "replace", texts);
}

Value indent_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [width, first, blank] = bind("indent", arguments, {"width", "first", "blank"});
  if (!input.is(Kind::kText)) fail("indent: expected a string, got ", type_name(input));
  std::string indentation(4, ' ');
  if (width != nullptr && width->is(Kind::kText)) {
    indentation = width->text();
  } else if (width != nullptr) {
    const auto count = std::max<std::int64_t>(0, as_index(*width, "the width of indent"));
    runtime.budget.bytes(static_cast<std::size_t>(count));
    indentation.assign(static_cast<std::size_t>(count), ' ');
  }
  Text text = *input.shared_text();
  append(text, "\n");
  const auto lines = split_lines(text.value);
  Text out{.value = first != nullptr && truth(*first) ? indentation : "", .markup = text.markup};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) append(out, "\n");
    if (i > 0 && (!lines[i].empty() || (blank != nullptr && truth(*blank))))
      append(out, indentation);
    append(out, part_of(text, lines[i]));
    runtime.budget.check_size(out.value.size());
  }
  return make_text(runtime, std::move(out));
}

std::optional<double> parse_number(std::string_view text) {
  text = strip(text, true, true);
  if (text.starts_with('+')) text.remove_prefix(1);
  return core::parse_double(text);
}

Value int_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [otherwise, base] = bind("int", arguments, {"default", "base"});
  const Value fallback = otherwise != nullptr ? *otherwise : Value(0);
  if (input.is(Kind::kUndefined)) fail_undefined(input);
  if (input.is(Kind::kInt) || input.is(Kind::kBool)) return as_index(input, "");
  double number = 0;
  if (input.is(Kind::kFloat)) {
    number = input.number();
  } else if (input.is(Kind::kText)) {
    std::string_view text = strip(input.text(), true, true);
    const auto radix = base != nullptr ? as_index(*base, "base") : 10;
    if (radix != 10) {
      if (radix < 2 || radix > 36) fail("int: the base must be between 2 and 36");
      const std::string digits = lower(text);
      std::string_view rest = digits;
      if ((radix == 16 && rest.starts_with("0x")) || (radix == 2 && rest.starts_with("0b")) ||
          (radix == 8 && rest.starts_with("0o")))
        rest.remove_prefix(2);
      std::int64_t value = 0;
      for (const char c : rest) {
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
        if (digit >= radix || __builtin_mul_overflow(value, radix, &value) ||
            __builtin_add_overflow(value, std::int64_t{digit}, &value))
          return fallback;
      }
      return rest.empty() ? fallback : Value(value);
    }
    if (text.starts_with('+')) text.remove_prefix(1);
    if (const auto value = core::parse_int(text)) return *value;
    const auto parsed = parse_number(text);
    if (!parsed) return fallback;
    number = *parsed;
  } else {
    return fallback;
  }
  static_cast<void>(runtime);
  if (!std::isfinite(number)) return fallback;
  if (std::fabs(number) >= 9.2e18) fail("int: the number ", number, " does not fit in 64 bits");
  return static_cast<std::int64_t>(number);
}

Value float_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const auto [otherwise] = bind("float", arguments, {"default"});
  if (input.is(Kind::kUndefined)) fail_undefined(input);
  if (is_number(input)) return as_double(input);
  const auto parsed = input.is(Kind::kText) ? parse_number(input.text()) : std::nullopt;
  return parsed ? Value(*parsed) : otherwise != nullptr ? *otherwise : Value(0.0);
}

Value round_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const auto [precision, method] = bind("round", arguments, {"precision", "method"});
  if (input.is(Kind::kUndefined)) fail_undefined(input);
  if (!is_number(input)) fail("round: expected a number, got ", type_name(input));
  const auto digits = precision != nullptr ? as_index(*precision, "the precision of round") : 0;
  if (digits < -300 || digits > 300) fail("round: the precision ", digits, " is out of range");
  const std::string how = method != nullptr && method->is(Kind::kText) ? method->text() : "common";
  if (how != "common" && how != "ceil" && how != "floor")
    fail("round: the method must be common, ceil or floor");
  const double value = as_double(input), scale = std::pow(10.0, static_cast<double>(digits));
  if (how == "ceil") return std::ceil(value * scale) / scale;
  if (how == "floor") return std::floor(value * scale) / scale;
  if (!input.is(Kind::kFloat) && digits >= 0) return as_index(input, "");
  if (digits < 0) return std::nearbyint(value * scale) / scale;
  // The decimal that is nearest to the exact value, as Python's round.
  std::string text(400 + static_cast<std::size_t>(digits), '\0');
  text.resize(static_cast<std::size_t>(
      std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(digits), value)));
  return core::parse_double(text).value_or(value);
}

Value abs_filter(Runtime&, const Value& input, const Arguments&) {
  if (input.is(Kind::kFloat)) return std::fabs(input.number());
  const auto value = as_index(input, "the operand of abs");
  return value < 0 ? negate(Value(value)) : Value(value);
}

Value truncate(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [size, kill, end, leeway] =
      bind("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::string text = to_text(runtime, input),
                    tail = end != nullptr ? to_text(runtime, *end) : "...";
  const auto limit = size != nullptr ? as_index(*size, "the length of truncate") : 255;
  const auto slack = leeway != nullptr && !leeway->is(Kind::kNone)
                         ? as_index(*leeway, "the leeway of truncate")
                         : 5;
  if (limit < length(tail))
    fail("truncate: expected a length of at least ", length(tail), ", got ", limit);
  if (slack < 0 || slack > (1 << 30)) fail("truncate: the leeway ", slack, " is out of range");
  if (length(text) - slack <= limit) return Value(text);
  std::string cut = text.substr(0, byte_offset(text, limit - length(tail)));
  if (kill == nullptr || !truth(*kill)) cut.resize(std::min(cut.rfind(' '), cut.size()));
  return make_text(runtime, cut + tail);
}

Value center(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [width] = bind("center", arguments, {"width"});
  Arguments padded;
  padded.positional = {width != nullptr ? *width : Value(80)};
  return call_method(runtime, Value(traced_text(runtime, input)), "center", padded);
}

Value format_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (arguments.named.empty())
    return make_text(runtime, percent_format(runtime, to_text(runtime, input),
                                             Value::list(arguments.positional, Shape::kTuple)));
  Value::Dict entries;
  for (const auto& [name, value] : arguments.named) entries.emplace_back(name, value);
  return make_text(
      runtime, percent_format(runtime, to_text(runtime, input), Value::dict(std::move(entries))));
}

Value word_count(Runtime& runtime, const Value& input, const Arguments&) {
  const std::string text = to_text(runtime, input);
  std::int64_t count = 0;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const bool word = is_word(next_code_point(text, at));
    count += word && !inside ? 1 : 0;
    inside = word;
  }
  return count;
}

Value url_encode(Runtime& runtime, const Value& input, const Arguments&) {
  std::string out;
  for (const char c : to_text(runtime, input)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (is_word(byte) || c == '-' || c == '.' || c == '~' || c == '/')) {
      out += c;
    } else {
      static constexpr char kHex[] = "0123456789ABCDEF";
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return make_text(runtime, std::move(out));
}

Value escape(Runtime& runtime, const Value& input, const Arguments&) {
  return input.markup() ? input
                        : make_text(runtime, core::escape_html(to_text(runtime, input)), true);
}

Value safe(Runtime& runtime, const Value& input, const Arguments&) {
  Text text = traced_text(runtime, input);
  text.markup = true;
  return make_text(runtime, std::move(text));
}

Value string_filter(Runtime& runtime, const Value& input, const Arguments&) {
  return input.is(Kind::kText) ? input : make_text(runtime, traced_text(runtime, input));
}

Value length_filter(Runtime&, const Value& input, const Arguments&) { return length_of(input); }

Value attr(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [name] = bind("attr", arguments, {"name"}, 1);
  if (!name->is(Kind::kText) || input.is(Kind::kMapping)) return Undefined{};
  return attribute(runtime, input, *name);
}

}  // namespace

const FilterTable& text_filters() {
  static const FilterTable kFilters = {{"upper", text_filter<upper>},
                                       {"lower", text_filter<lower>},
                                       {"capitalize", text_filter<capitalize>},
                                       {"title", title_filter},
                                       {"trim", trim},
                                       {"tojson", to_json_filter},
                                       {"default", default_filter},
                                       {"d", default_filter},
                                       {"replace", replace_filter},
                                       {"indent", indent_filter},
                                       {"int", int_filter},
                                       {"float", float_filter},
                                       {"round", round_filter},
                                       {"abs", abs_filter},
                                       {"truncate", truncate},
                                       {"center", center},
                                       {"format", format_filter},
                                       {"wordcount", word_count},
                                       {"urlencode", url_encode},
                                       {"escape", escape},
                                       {"e", escape},
                                       {"safe", safe},
                                       {"string", string_filter},
                                       {"length", length_filter},
                                       {"count", length_filter},
                                       {"attr", attr}};
  return kFilters;
}

bool has_filter(const std::string& name) {
  return text_filters().contains(name) || sequence_filters().contains(name);
}

namespace {

// The filters whose text keeps the sources of its parts; what others make is labelled as a whole.
bool tracks_sources(std::string_view name) {
  static constexpr std::string_view kNames[] = {"trim",   "tojson", "default", "d",      "replace",
                                                "indent", "center", "safe",    "string", "join",
                                                "first",  "last",   "min",     "max",    "sum"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

}  // namespace

Value apply_filter(Runtime& runtime, const std::string& name, const Value& input,
                   const Arguments& arguments) {
  count_texts(runtime, input, arguments);
  for (const auto* table : {&text_filters(), &sequence_filters()}) {
    if (const auto found = table->find(name); found != table->end()) {
      Value result = found->second(runtime, input, arguments);
      return tracks_sources(name) ? result : label_result(std::move(result), input, arguments);
    }
  }
  fail("no filter named '", name, "'");
}

}  // namespace corda::jinja
