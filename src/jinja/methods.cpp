// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <map>

#include "jinja/runtime.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

using Method = Value (*)(Runtime&, const Value&, const Arguments&);

const std::string& text_of(const Value& value, const char* what) {
  if (value.is(Kind::kText)) return value.text();
  if (value.is(Kind::kUndefined)) fail_undefined(value);
  fail(what, " must be str, not ", type_name(value));
}

// The parts lie inside the text `whole`.
Value texts(Runtime& runtime, const Value& whole, const std::vector<std::string_view>& parts,
            Shape shape = Shape::kList) {
  Value::List items;
  items.reserve(parts.size());
  for (const auto part : parts) {
    runtime.budget.bytes(part.size());
    items.emplace_back(part_of(*whole.shared_text(), part));
  }
  return make_list(runtime, std::move(items), shape);
}

template <bool left, bool right>
Value strip_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [chars] = bind("strip", arguments, {"chars"});
  const bool given = chars != nullptr && !chars->is(Kind::kNone);
  const std::string* set = given ? &text_of(*chars, "the argument of strip()") : nullptr;
  // Every character of the text may be looked for among all of the set.
  if (given) runtime.budget.search(self.text().size(), 32 * set->size());
  const auto kept = strip(self.text(), left, right, set);
  runtime.budget.bytes(kept.size());
  return text_part(self, kept);
}

template <bool from_right>
Value split_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [separator, max] = bind("split", arguments, {"sep", "maxsplit"});
  const std::int64_t max_splits = max != nullptr ? as_index(*max, "maxsplit") : -1;
  runtime.budget.step(static_cast<std::int64_t>(self.text().size() / 8));
  if (separator == nullptr || separator->is(Kind::kNone)) {
    return texts(
        runtime, self,
        from_right ? rsplit_space(self.text(), max_splits) : split_space(self.text(), max_splits));
  }
  const auto& on = text_of(*separator, "the separator of split()");
  if (on.empty()) fail("empty separator");
  runtime.budget.search(self.text().size(), on.size());
  return texts(
      runtime, self,
      from_right ? rsplit_on(self.text(), on, max_splits) : split_on(self.text(), on, max_splits));
}

// The part of the text that the arguments `start` and `end` choose, and the index of its first code
// point.
std::pair<std::string_view, std::int64_t> window(const Value& self, const Value* start,
                                                 const Value* end) {
  const std::int64_t count = length(self.text());
  const auto bound = [&](const Value* value, std::int64_t otherwise) {
    if (value == nullptr || value->is(Kind::kNone)) return otherwise;
    const auto index = as_index(*value, "a position");
    return std::clamp<std::int64_t>(index < 0 ? (index < -count ? 0 : index + count) : index, 0,
                                    count);
  };
  const auto from = bound(start, 0), to = bound(end, count);
  if (from >= to) return {{}, from};
  const auto rest = std::string_view(self.text()).substr(byte_offset(self.text(), from));
  return {rest.substr(0, byte_offset(rest, to - from)), from};
}

template <bool at_end>
Value affix_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [affix, start, end] =
      bind(at_end ? "endswith" : "startswith", arguments, {"affix", "start", "end"}, 1);
  const auto text =
      start != nullptr ? window(self, start, end).first : std::string_view(self.text());
  const auto matches = [&](const Value& wanted) {
    const auto& part =
        text_of(wanted, at_end ? "the argument of endswith()" : "the argument of startswith()");
    return at_end ? text.ends_with(part) : text.starts_with(part);
  };
  if (!affix->is(Kind::kSequence) || affix->sequence().shape != Shape::kTuple)
    return matches(*affix);
  const auto items = iterate(runtime, *affix);
  return std::any_of(items.begin(), items.end(), matches);
}

template <bool from_right, bool must_exist>
Value find_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [part, start, end] = bind("find", arguments, {"sub", "start", "end"}, 1);
  const auto [text, offset] = window(self, start, end);
  const auto& wanted = text_of(*part, "the argument of find()");
  runtime.budget.search(text.size(), wanted.size());
  const auto found = from_right ? text.rfind(wanted) : text.find(wanted);
  if (found != std::string_view::npos) return offset + length(text.substr(0, found));
  if (must_exist) fail("substring not found");
  return std::int64_t{-1};
}

Text replace_text(Runtime& runtime, const Text& whole, const std::string& from, const Text& to,
                  std::int64_t count) {
  Text out{.value = {}, .markup = whole.markup};
  const std::string_view text = whole.value;
  std::size_t at = 0;
  runtime.budget.bytes(text.size());
  runtime.budget.search(text.size(), from.size());
  for (; count != 0; --count) {
    if (from.empty()) {
      runtime.budget.bytes(to.value.size());
      append(out, to);
      const std::size_t begin = at;
      if (at >= text.size()) return out;
      next_code_point(text, at);
      append_part(out, whole, begin, at);
    } else {
      const auto found = text.find(from, at);
      if (found == std::string_view::npos) break;
      append_part(out, whole, at, found);
      append(out, to);
      at = found + from.size();
    }
    runtime.budget.check_size(out.value.size());
    runtime.budget.step(1 + static_cast<std::int64_t>(to.value.size() / 32));
  }
  append_part(out, whole, at, text.size());
  return out;
}

Value replace_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [from, to, count] = bind("replace", arguments, {"old", "new", "count"}, 2);
  const auto limit = count != nullptr ? as_index(*count, "count") : -1;
  const std::string& old = text_of(*from, "replace() argument 1");
  text_of(*to, "replace() argument 2");
  return make_text(runtime,
                   replace_text(runtime, *self.shared_text(), old, *to->shared_text(), limit));
}

Value count_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [part, start, end] = bind("count", arguments, {"sub", "start", "end"}, 1);
  const auto text = window(self, start, end).first;
  const auto& wanted = text_of(*part, "the argument of count()");
  runtime.budget.search(text.size(), wanted.size());
  if (wanted.empty()) return length(text) + 1;
  return static_cast<std::int64_t>(split_on(text, wanted, -1).size()) - 1;
}

Value join_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [list] = bind("join", arguments, {"iterable"}, 1);
  Text out{.value = {}, .markup = self.markup()};
  bool first = true;
  for (const auto& item : iterate(runtime, *list)) {
    if (!std::exchange(first, false)) append(out, *self.shared_text());
    text_of(item, "an item of join()");
    append(out, *item.shared_text());
    runtime.budget.check_size(out.value.size());
  }
  return make_text(runtime, std::move(out));
}

template <bool from_right>
Value partition_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [separator] = bind("partition", arguments, {"sep"}, 1);
  const auto& on = text_of(*separator, "the separator of partition()");
  if (on.empty()) fail("empty separator");
  const std::string_view text = self.text();
  runtime.budget.search(text.size(), on.size());
  const auto found = from_right ? text.rfind(on) : text.find(on);
  if (found != std::string_view::npos)
    return texts(
        runtime, self,
        {text.substr(0, found), text.substr(found, on.size()), text.substr(found + on.size())},
        Shape::kTuple);
  return from_right ? texts(runtime, self, {"", "", text}, Shape::kTuple)
                    : texts(runtime, self, {text, "", ""}, Shape::kTuple);
}

template <bool suffix>
Value remove_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [affix] = bind(suffix ? "removesuffix" : "removeprefix", arguments, {"affix"}, 1);
  std::string_view text = self.text();
  const auto& part = text_of(*affix, "the argument");
  if (suffix ? text.ends_with(part) : text.starts_with(part))
    suffix ? text.remove_suffix(part.size()) : text.remove_prefix(part.size());
  runtime.budget.bytes(text.size());
  return text_part(self, text);
}

// 'l', 'r' and 'c' as in ljust, rjust and center; 'z' is zfill.
template <char mode>
Value pad_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [width, fill] = bind("padding", arguments, {"width", "fillchar"}, 1);
  const std::string with = mode == 'z'       ? "0"
                           : fill != nullptr ? text_of(*fill, "the fill character")
                                             : " ";
  if (length(with) != 1) fail("the fill character must be exactly one character long");
  const std::int64_t wanted = as_index(*width, "the width"), missing = wanted - length(self.text());
  if (missing <= 0) return self;
  runtime.budget.bytes(
      static_cast<std::size_t>(std::min<std::int64_t>(missing, std::int64_t{1} << 40)) *
          with.size() +
      self.text().size());
  const std::int64_t left = mode == 'l'   ? 0
                            : mode == 'c' ? missing / 2 + (missing & wanted & 1)
                                          : missing;
  std::string before, after;
  for (std::int64_t i = 0; i < left; ++i) before += with;
  for (std::int64_t i = left; i < missing; ++i) after += with;
  const std::size_t sign =
      mode == 'z' && (self.text().starts_with('-') || self.text().starts_with('+')) ? 1 : 0;
  Text padded{.value = {}, .markup = self.markup()};
  append_part(padded, *self.shared_text(), 0, sign);
  append(padded, before);
  append_part(padded, *self.shared_text(), sign, self.text().size());
  append(padded, after);
  return Value(std::move(padded));
}

template <std::string (*map)(std::string_view)>
Value map_method(Runtime& runtime, const Value& self, const Arguments&) {
  return make_text(runtime, map(self.text()), self.markup());
}

template <CharClass wanted>
Value class_method(Runtime&, const Value& self, const Arguments&) {
  return all_of_class(self.text(), wanted);
}

Value lines_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [keep] = bind("splitlines", arguments, {"keepends"});
  return texts(runtime, self, split_lines(self.text(), keep != nullptr && truth(*keep)));
}

const std::map<std::string_view, Method>& text_methods() {
  static const std::map<std::string_view, Method> kMethods = {
      {"strip", strip_method<true, true>},
      {"lstrip", strip_method<true, false>},
      {"rstrip", strip_method<false, true>},
      {"split", split_method<false>},
      {"rsplit", split_method<true>},
      {"splitlines", lines_method},
      {"startswith", affix_method<false>},
      {"endswith", affix_method<true>},
      {"find", find_method<false, false>},
      {"rfind", find_method<true, false>},
      {"index", find_method<false, true>},
      {"rindex", find_method<true, true>},
      {"replace", replace_method},
      {"count", count_method},
      {"join", join_method},
      {"partition", partition_method<false>},
      {"rpartition", partition_method<true>},
      {"removeprefix", remove_method<false>},
      {"removesuffix", remove_method<true>},
      {"ljust", pad_method<'l'>},
      {"rjust", pad_method<'r'>},
      {"center", pad_method<'c'>},
      {"zfill", pad_method<'z'>},
      {"upper", map_method<upper>},
      {"lower", map_method<lower>},
      {"title", map_method<title>},
      {"capitalize", map_method<capitalize>},
      {"swapcase", map_method<swap_case>},
      {"casefold", map_method<lower>},
      {"isalpha", class_method<CharClass::kAlpha>},
      {"isdigit", class_method<CharClass::kDecimal>},
      {"isdecimal", class_method<CharClass::kDecimal>},
      {"isnumeric", class_method<CharClass::kNumeric>},
      {"isalnum", class_method<CharClass::kAlphaNumeric>},
      {"isspace", class_method<CharClass::kSpace>},
      {"islower",
       [](Runtime&, const Value& self, const Arguments&) { return Value(is_lower(self.text())); }},
      {"isupper",
       [](Runtime&, const Value& self, const Arguments&) { return Value(is_upper(self.text())); }},
      {"format", [](Runtime& runtime, const Value& self, const Arguments& arguments) {
         return make_text(runtime, brace_format(runtime, self.text(), arguments), self.markup());
       }}};
  return kMethods;
}

Value get_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [key, otherwise] = bind("get", arguments, {"key", "default"}, 1);
  if (!is_hashable(*key)) fail("unhashable type: '", type_name(*key), "'");
  runtime.budget.step(static_cast<std::int64_t>(self.mapping().entries.size() / 8));
  const Value* found = self.mapping().find(*key);
  return found != nullptr ? *found : otherwise != nullptr ? *otherwise : Value();
}

template <Shape shape>
Value view_method(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (!arguments.positional.empty() || !arguments.named.empty())
    fail("items(), keys() and values() take no arguments");
  Value::List items;
  for (const auto& [key, value] : self.mapping().entries) {
    items.push_back(shape == Shape::kKeys     ? key
                    : shape == Shape::kValues ? value
                                              : Value::list({key, value}, Shape::kTuple));
  }
  return make_list(runtime, std::move(items), shape);
}

const std::map<std::string_view, Method>& dict_methods() {
  static const std::map<std::string_view, Method> kMethods = {
      {"get", get_method},
      {"keys", view_method<Shape::kKeys>},
      {"values", view_method<Shape::kValues>},
      {"items", view_method<Shape::kItems>},
      {"copy", [](Runtime&, const Value& self, const Arguments&) { return self; }}};
  return kMethods;
}

template <bool must_exist>
Value occurrences(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto [wanted] = bind(must_exist ? "index" : "count", arguments, {"value"}, 1);
  std::int64_t count = 0;
  const auto& items = self.sequence().items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!equal(runtime, items[i], *wanted)) continue;
    if (must_exist) return static_cast<std::int64_t>(i);
    ++count;
  }
  if (must_exist) fail("the value is not in the list");
  return count;
}

const std::map<std::string_view, Method>& list_methods() {
  static const std::map<std::string_view, Method> kMethods = {
      {"count", occurrences<false>},
      {"index", occurrences<true>},
      {"copy", [](Runtime&, const Value& self, const Arguments&) { return self; }}};
  return kMethods;
}

const std::map<std::string_view, Method>* methods_of(const Value& self) {
  if (self.is(Kind::kText)) return &text_methods();
  if (self.is(Kind::kMapping)) return &dict_methods();
  if (self.is(Kind::kSequence) &&
      (self.sequence().shape == Shape::kList || self.sequence().shape == Shape::kTuple))
    return &list_methods();
  return nullptr;
}

}  // namespace

bool has_method(const Value& self, std::string_view name) {
  const auto* methods = methods_of(self);
  return methods != nullptr && methods->find(name) != methods->end();
}

bool is_unsafe_method(const Value& self, std::string_view name) {
  static constexpr std::string_view kList[] = {"append", "clear",  "extend",  "insert",
                                               "pop",    "remove", "reverse", "sort"};
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (self.is(Kind::kMapping))
    return std::find(std::begin(kDict), std::end(kDict), name) != std::end(kDict);
  return self.is(Kind::kSequence) && self.sequence().shape == Shape::kList &&
         std::find(std::begin(kList), std::end(kList), name) != std::end(kList);
}

Value call_method(Runtime& runtime, const Value& self, const std::string& name,
                  const Arguments& arguments) {
  const auto* methods = methods_of(self);
  const auto found = methods != nullptr ? methods->find(name)
                                        : std::map<std::string_view, Method>::const_iterator{};
  if (methods == nullptr || found == methods->end())
    fail("'", type_name(self), "' object has no method '", name, "'");
  count_texts(runtime, self, arguments);
  Value result = found->second(runtime, self, arguments);
  // The text of these is made anew; that of all others keeps the sources of its parts.
  static constexpr std::string_view kUntracked[] = {"upper",    "lower",    "title", "capitalize",
                                                    "swapcase", "casefold", "format"};
  return self.is(Kind::kText) && std::find(std::begin(kUntracked), std::end(kUntracked), name) !=
                                     std::end(kUntracked)
             ? label_result(std::move(result), self, arguments)
             : result;
}

Value call_loop(Runtime& runtime, LoopObject& loop, const std::string& name,
                const Arguments& arguments) {
  const auto& values = arguments.positional;
  if (name == "cycle") {
    if (values.empty()) fail("no items for cycling given");
    return values[static_cast<std::size_t>(loop.index) % values.size()];
  }
  const Value now = Value::list(values, Shape::kTuple);
  if (loop.changed && equal(runtime, *loop.changed, now)) return false;
  loop.changed = now;
  return true;
}

}  // namespace corda::jinja
