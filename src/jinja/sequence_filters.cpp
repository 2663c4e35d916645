// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>

#include "corda/core/text.h"
#include "jinja/ast.h"
#include "jinja/filters.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

// `attribute="a.b.0"`: looked up part by part, as items first.
Value dotted_item(Runtime& runtime, Value value, const Value& path) {
  if (!path.is(Kind::kText)) return item(runtime, value, path);
  for (const auto part : split_on(path.text(), ".", -1)) {
    const auto index = core::parse_int(part);
    value = item(runtime, value, index && *index >= 0 ? Value(*index) : Value(part));
  }
  return value;
}

// What sort, unique, min and max compare: texts in lower case unless `case_sensitive`.
Value sort_key(Runtime& runtime, const Value& value, const Value* path,
               const Value* case_sensitive) {
  Value key =
      path != nullptr && !path->is(Kind::kNone) ? dotted_item(runtime, value, *path) : value;
  if (key.is(Kind::kText) && (case_sensitive == nullptr || !truth(*case_sensitive)))
    return make_text(runtime, lower(key.text()));
  return key;
}

using Keyed = std::vector<std::pair<Value, Value>>;

Keyed with_keys(Runtime& runtime, const Value& input, const Value* path,
                const Value* case_sensitive) {
  Keyed keyed;
  for (auto& value : iterate(runtime, input)) {
    Value key = sort_key(runtime, value, path, case_sensitive);
    keyed.emplace_back(std::move(key), std::move(value));
  }
  return keyed;
}

void sort_keyed(Runtime& runtime, Keyed& keyed, bool descending) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return descending ? compare(runtime, b.first, a.first, "<") == -1
                      : compare(runtime, a.first, b.first, "<") == -1;
  });
}

Value sort_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [descending, sensitive, path] =
      bind("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  Keyed keyed;
  if (path != nullptr && path->is(Kind::kText) && path->text().find(',') != std::string::npos) {
    for (auto& value : iterate(runtime, input)) {
      Value::List keys;
      for (const auto part : split_on(path->text(), ",", -1)) {
        const Value one(part);
        keys.push_back(sort_key(runtime, value, &one, sensitive));
      }
      keyed.emplace_back(Value::list(std::move(keys)), std::move(value));
    }
  } else {
    keyed = with_keys(runtime, input, path, sensitive);
  }
  sort_keyed(runtime, keyed, descending != nullptr && truth(*descending));
  Value::List items;
  for (auto& [key, value] : keyed) items.push_back(std::move(value));
  return make_list(runtime, std::move(items));
}

Value unique(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [sensitive, path] = bind("unique", arguments, {"case_sensitive", "attribute"});
  Value::List seen, items;
  for (auto& [key, value] : with_keys(runtime, input, path, sensitive)) {
    if (!is_hashable(key)) fail("unhashable type: '", type_name(key), "'");
    runtime.budget.step(static_cast<std::int64_t>(seen.size() / 8));
    if (std::any_of(seen.begin(), seen.end(),
                    [&, &wanted = key](const Value& other) { return equal_keys(other, wanted); }))
      continue;
    seen.push_back(key);
    items.push_back(std::move(value));
  }
  return make_list(runtime, std::move(items), Shape::kGenerator);
}

template <int wanted>
Value extreme(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [sensitive, path] =
      bind(wanted < 0 ? "min" : "max", arguments, {"case_sensitive", "attribute"});
  const auto keyed = with_keys(runtime, input, path, sensitive);
  if (keyed.empty()) return Undefined{};
  const auto* best = &keyed[0];
  for (const auto& each : keyed) {
    if (compare(runtime, each.first, best->first, wanted < 0 ? "<" : ">") == wanted) best = &each;
  }
  return best->second;
}

Value sum(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [path, start] = bind("sum", arguments, {"attribute", "start"});
  Value total = start != nullptr ? *start : Value(0);
  for (const auto& value : iterate(runtime, input)) {
    const Value part =
        path != nullptr && !path->is(Kind::kNone) ? dotted_item(runtime, value, *path) : value;
    total = binary(runtime, Operator::kAdd, total, part);
  }
  return total;
}

Value join(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [separator, path] = bind("join", arguments, {"d", "attribute"});
  const Text between = separator != nullptr ? traced_text(runtime, *separator) : Text{};
  Text out;
  bool first = true;
  for (const auto& value : iterate(runtime, input)) {
    if (!std::exchange(first, false)) append(out, between);
    append(out, traced_text(runtime, path != nullptr && !path->is(Kind::kNone)
                                         ? dotted_item(runtime, value, *path)
                                         : value));
    runtime.budget.check_size(out.value.size());
  }
  return make_text(runtime, std::move(out));
}

Value map_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Value::List items;
  if (!truth(input)) return make_list(runtime, {}, Shape::kGenerator);  // None too, as in Jinja
  const bool by_attribute = arguments.positional.empty();
  if (by_attribute) {
    const auto [path, otherwise] = bind("map", arguments, {"attribute", "default"}, 1);
    for (const auto& value : iterate(runtime, input)) {
      Value found = dotted_item(runtime, value, *path);
      items.push_back(found.is(Kind::kUndefined) && otherwise != nullptr ? *otherwise
                                                                         : std::move(found));
    }
  } else {
    const std::string name = to_text(runtime, arguments.positional[0]);
    const Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()},
                         arguments.named};
    for (const auto& value : iterate(runtime, input))
      items.push_back(apply_filter(runtime, name, value, rest));
  }
  return make_list(runtime, std::move(items), Shape::kGenerator);
}

// select, reject (a test of the items) and selectattr, rejectattr (of an attribute of theirs).
template <bool keep, bool by_attribute>
Value select(Runtime& runtime, const Value& input, const Arguments& arguments) {
  std::size_t used = 0;
  if (!truth(input)) return make_list(runtime, {}, Shape::kGenerator);  // None too, as in Jinja
  if (by_attribute && arguments.positional.empty())
    fail("selectattr and rejectattr need the name of an attribute");
  const Value path = by_attribute ? arguments.positional[used++] : Value();
  const bool has_name = arguments.positional.size() > used;
  const std::string name = has_name ? to_text(runtime, arguments.positional[used++]) : "";
  const Arguments rest{{arguments.positional.begin() + static_cast<std::ptrdiff_t>(used),
                        arguments.positional.end()},
                       arguments.named};
  Value::List items;
  for (auto& value : iterate(runtime, input)) {
    const Value tested = by_attribute ? dotted_item(runtime, value, path) : value;
    if ((has_name ? apply_test(runtime, name, tested, rest) : truth(tested)) == keep)
      items.push_back(std::move(value));
  }
  return make_list(runtime, std::move(items), Shape::kGenerator);
}

Value list_filter(Runtime& runtime, const Value& input, const Arguments&) {
  return make_list(runtime, iterate(runtime, input));
}

Value items_filter(Runtime& runtime, const Value& input, const Arguments&) {
  Value::List items;
  if (!input.is(Kind::kUndefined)) {
    if (!input.is(Kind::kMapping))
      fail("items: can only get item pairs from a mapping, got ", type_name(input));
    for (const auto& [key, value] : input.mapping().entries)
      items.push_back(Value::list({key, value}, Shape::kTuple));
  }
  return make_list(runtime, std::move(items), Shape::kGenerator);
}

Value dictsort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [sensitive, by, descending] =
      bind("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (!input.is(Kind::kMapping)) fail("dictsort: expected a dict, got ", type_name(input));
  const bool by_value = by != nullptr && by->is(Kind::kText) && by->text() == "value";
  Keyed keyed;
  for (const auto& [key, value] : input.mapping().entries) {
    keyed.emplace_back(sort_key(runtime, by_value ? value : key, nullptr, sensitive),
                       Value::list({key, value}, Shape::kTuple));
  }
  sort_keyed(runtime, keyed, descending != nullptr && truth(*descending));
  Value::List items;
  for (auto& [key, pair] : keyed) items.push_back(std::move(pair));
  return make_list(runtime, std::move(items));
}

Value first(Runtime& runtime, const Value& input, const Arguments&) {
  const auto items = iterate(runtime, input);
  return items.empty() ? Value(Undefined{}) : items.front();
}

Value last(Runtime& runtime, const Value& input, const Arguments&) {
  if (input.is(Kind::kSequence) && input.sequence().shape == Shape::kGenerator)
    fail("'generator' object is not reversible");
  const auto items = iterate(runtime, input);
  return items.empty() ? Value(Undefined{}) : items.back();
}

Value reverse(Runtime& runtime, const Value& input, const Arguments&) {
  auto items = iterate(runtime, input);
  std::reverse(items.begin(), items.end());
  if (!input.is(Kind::kText)) return make_list(runtime, std::move(items), Shape::kGenerator);
  std::string text;
  for (const auto& part : items) text += part.text();
  return make_text(runtime, std::move(text));
}

Value group_by(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [path, otherwise, sensitive] =
      bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  Keyed keyed;
  for (auto& value : iterate(runtime, input)) {
    Value key = dotted_item(runtime, value, *path);
    if (key.is(Kind::kUndefined) && otherwise != nullptr) key = *otherwise;
    keyed.emplace_back(sort_key(runtime, key, nullptr, sensitive), std::move(value));
  }
  sort_keyed(runtime, keyed, false);
  Value::List groups;
  for (std::size_t begin = 0, end = 0; begin < keyed.size(); begin = end) {
    Value::List members;
    for (end = begin; end < keyed.size() && equal(runtime, keyed[begin].first, keyed[end].first);
         ++end)
      members.push_back(keyed[end].second);
    Value key = dotted_item(runtime, keyed[begin].second, *path);
    if (key.is(Kind::kUndefined) && otherwise != nullptr) key = *otherwise;
    groups.push_back(
        Value::list({std::move(key), make_list(runtime, std::move(members))}, Shape::kTuple));
    if (end == begin) ++end;  // NaN is not equal to itself
  }
  return make_list(runtime, std::move(groups));
}

Value batch(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto [count, fill] = bind("batch", arguments, {"linecount", "fill_with"}, 1);
  const auto size = as_index(*count, "the size of batch");
  if (size < 1 || size > 100'000) fail("batch: the size ", size, " is out of range");
  Value::List rows, row;
  for (auto& value : iterate(runtime, input)) {
    if (static_cast<std::int64_t>(row.size()) == size)
      rows.push_back(make_list(runtime, std::exchange(row, {})));
    row.push_back(std::move(value));
  }
  while (!row.empty() && fill != nullptr && !fill->is(Kind::kNone) &&
         static_cast<std::int64_t>(row.size()) < size)
    row.push_back(*fill);
  if (!row.empty()) rows.push_back(make_list(runtime, std::move(row)));
  return make_list(runtime, std::move(rows), Shape::kGenerator);
}

}  // namespace

const FilterTable& sequence_filters() {
  static const FilterTable kFilters = {{"sort", sort_filter},
                                       {"unique", unique},
                                       {"min", extreme<-1>},
                                       {"max", extreme<1>},
                                       {"sum", sum},
                                       {"join", join},
                                       {"map", map_filter},
                                       {"select", select<true, false>},
                                       {"reject", select<false, false>},
                                       {"selectattr", select<true, true>},
                                       {"rejectattr", select<false, true>},
                                       {"list", list_filter},
                                       {"items", items_filter},
                                       {"dictsort", dictsort},
                                       {"first", first},
                                       {"last", last},
                                       {"reverse", reverse},
                                       {"groupby", group_by},
                                       {"batch", batch}};
  return kFilters;
}

}  // namespace corda::jinja
