// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "jinja/sources.h"

#include <algorithm>

#include "jinja/runtime.h"

namespace corda::jinja {

namespace {

void add_span(SourceSpans& spans, const SourceSpan& span) {
  if (span.begin >= span.end) return;
  if (!spans.empty() && spans.back().end == span.begin && spans.back().source == span.source) {
    spans.back().end = span.end;
  } else {
    spans.push_back(span);
  }
}

// What a walk over a value has met.
struct Met {
  bool unlabelled = false;
  std::optional<std::int32_t> source;

  void add(std::int32_t label) { source = source ? std::min(*source, label) : label; }
  std::optional<std::int32_t> result() const {
    return source && unlabelled ? std::optional(kMixedSource) : source;
  }
};

void walk(const Text& text, Met& met) {
  std::int64_t covered = 0;
  for (const auto& span : text.sources) {
    met.add(span.source);
    covered += span.end - span.begin;
  }
  met.unlabelled = met.unlabelled || covered < static_cast<std::int64_t>(text.value.size());
}

void walk(const Value& value, Met& met) {
  if (value.is(Kind::kText)) {
    walk(*value.shared_text(), met);
  } else if (value.is(Kind::kSequence)) {
    for (const auto& item : value.sequence().items) walk(item, met);
  } else if (value.is(Kind::kMapping)) {
    for (const auto& [key, item] : value.mapping().entries) {
      walk(key, met);
      walk(item, met);
    }
  }
}

}  // namespace

void append(Text& out, std::string_view plain) { out.value += plain; }

void append(Text& out, const Text& part) { append_part(out, part, 0, part.value.size()); }

void append_part(Text& out, const Text& whole, std::size_t begin, std::size_t end) {
  const auto offset = static_cast<std::int64_t>(out.value.size());
  const auto from = static_cast<std::int64_t>(begin), to = static_cast<std::int64_t>(end);
  for (const auto& span : whole.sources) {
    add_span(out.sources, {std::max(span.begin, from) - from + offset,
                           std::min(span.end, to) - from + offset, span.source});
  }
  out.value.append(whole.value, begin, end - begin);
}

Text part_of(const Text& whole, std::string_view view) {
  Text part;
  if (whole.sources.empty() || view.empty()) {
    part.value = view;
    return part;
  }
  const auto begin = static_cast<std::size_t>(view.data() - whole.value.data());
  append_part(part, whole, begin, begin + view.size());
  return part;
}

Text traced_text(Runtime& runtime, const Value& value) {
  if (value.is(Kind::kText)) return *value.shared_text();
  if (value.is(Kind::kSequence) || value.is(Kind::kMapping)) return traced_repr(runtime, value);
  return {.value = to_text(runtime, value)};
}

std::optional<std::int32_t> source_within(const Value& value) {
  Met met;
  walk(value, met);
  return met.result();
}

void label_from(Text& out, std::size_t begin, const Text& part) {
  if (part.sources.empty()) return;
  Met met;
  walk(part, met);
  add_span(out.sources, {static_cast<std::int64_t>(begin),
                         static_cast<std::int64_t>(out.value.size()), *met.result()});
}

Value label_result(Value result, const Value& input, const Arguments& arguments) {
  if (!result.is(Kind::kText) || result.text().empty() || !result.sources().empty()) return result;
  Met met;
  walk(input, met);
  for (const auto& value : arguments.positional) walk(value, met);
  for (const auto& [name, value] : arguments.named) walk(value, met);
  const auto source = met.result();
  if (!source) return result;
  Text text = *result.shared_text();
  text.sources = {{0, static_cast<std::int64_t>(text.value.size()), *source}};
  return Value(std::move(text));
}

}  // namespace corda::jinja
