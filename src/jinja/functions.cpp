// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <ctime>
#include <map>

#include "jinja/runtime.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

std::string strftime_text(Runtime& runtime, const std::string& format) {
  std::tm now{};
  if (runtime.now) {
    now = *runtime.now;
  } else {
    const std::time_t clock = std::time(nullptr);
    localtime_r(&clock, &now);
  }
  std::string pattern;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      pattern += format[i];
    } else if (const char directive = format[++i]; directive == 'f') {
      pattern += "000000";
    } else if (directive != 'z' && directive != 'Z') {  // a time without zone, as datetime.now()
      pattern += {'%', directive};
    }
  }
  std::string out(4096, '\0');
  const auto size = std::strftime(out.data(), out.size(), (pattern + ".").c_str(), &now);
  if (size == 0) fail("strftime_now: the formatted time is longer than ", out.size(), " bytes");
  out.resize(size - 1);
  return out;
}

Value raise_exception(Runtime& runtime, const Arguments& arguments) {
  const auto [message] = bind("raise_exception", arguments, {"message"}, 1);
  throw Failure(to_text(runtime, *message));
}

Value strftime_now(Runtime& runtime, const Arguments& arguments) {
  const auto [format] = bind("strftime_now", arguments, {"format"}, 1);
  if (!format->is(Kind::kText)) fail("strftime_now() needs a string, got ", type_name(*format));
  return make_text(runtime, strftime_text(runtime, format->text()));
}

Value range(Runtime& runtime, const Arguments& arguments) {
  const auto [first, second, third] = bind("range", arguments, {"start", "stop", "step"}, 1);
  const std::int64_t start = second != nullptr ? as_index(*first, "range()") : 0;
  const std::int64_t stop = as_index(second != nullptr ? *second : *first, "range()"),
                     step = third != nullptr ? as_index(*third, "range()") : 1;
  if (step == 0) fail("range() step must not be zero");
  Value::List items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() >= 100'000) fail("range too big: the sandbox allows 100000 items");
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return make_list(runtime, std::move(items), Shape::kRange);
}

// The entries that dict() and namespace() are given, by a mapping and by name.
std::vector<std::pair<std::string, Value>> entries_of(const char* name,
                                                      const Arguments& arguments) {
  std::vector<std::pair<std::string, Value>> entries;
  if (arguments.positional.size() > 1) fail(name, "() takes at most one positional argument");
  if (!arguments.positional.empty()) {
    if (!arguments.positional[0].is(Kind::kMapping)) fail(name, "() needs a mapping");
    for (const auto& [key, value] : arguments.positional[0].mapping().entries) {
      if (!key.is(Kind::kText)) fail(name, "() needs string keys");
      entries.emplace_back(key.text(), value);
    }
  }
  entries.insert(entries.end(), arguments.named.begin(), arguments.named.end());
  return entries;
}

Value dict(Runtime& /*runtime*/, const Arguments& arguments) {
  Value::Dict entries;
  for (auto& [key, value] : entries_of("dict", arguments))
    entries.emplace_back(std::move(key), std::move(value));
  return Value::dict(std::move(entries));
}

Value make_namespace(Runtime& runtime, const Arguments& arguments) {
  const auto space = std::make_shared<NamespaceObject>();
  runtime.namespaces.push_back(space);
  space->attributes = entries_of("namespace", arguments);
  // Of two equal names the last one counts, and is found first.
  std::reverse(space->attributes.begin(), space->attributes.end());
  return Value(space);
}

using Function = Value (*)(Runtime&, const Arguments&);

const std::map<std::string_view, Function>& functions() {
  static const std::map<std::string_view, Function> kFunctions = {
      {"dict", dict},
      {"namespace", make_namespace},
      {"raise_exception", raise_exception},
      {"range", range},
      {"strftime_now", strftime_now}};
  return kFunctions;
}

}  // namespace

bool has_function(std::string_view name) { return functions().contains(name); }

Value call_function(Runtime& runtime, const std::string& name, const Arguments& arguments) {
  return functions().at(name)(runtime, arguments);
}

}  // namespace corda::jinja
