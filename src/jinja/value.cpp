// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/jinja/value.h"

#include <algorithm>
#include <unordered_map>

#include "corda/core/error.h"
#include "jinja/runtime.h"

namespace corda::jinja {

namespace {

std::int32_t nesting_of(const Value& value) {
  if (value.is(Kind::kSequence)) return value.sequence().nesting;
  if (value.is(Kind::kMapping)) return value.mapping().nesting;
  if (value.is(Kind::kObject)) return 1;
  return 0;
}

void check_nesting(std::int32_t nesting) {
  if (nesting > Value::kMaxNesting)
    throw core::FormatError(core::concat("a value nests deeper than ", Value::kMaxNesting));
}

}  // namespace

Value::Value(std::string value, bool markup)
    : data_(std::make_shared<const Text>(Text{std::move(value), markup})) {}

Value Value::list(List items, Shape shape) {
  auto sequence = std::make_shared<Sequence>();
  for (const auto& item : items)
    sequence->nesting = std::max(sequence->nesting, nesting_of(item) + 1);
  check_nesting(sequence->nesting);
  sequence->items = std::move(items);
  sequence->shape = shape;
  Value value;
  value.data_ = std::move(sequence);
  return value;
}

Value Value::dict(Dict entries) {
  auto mapping = std::make_shared<Mapping>();
  std::unordered_map<std::string_view, std::size_t> texts;
  std::vector<std::size_t> others;
  for (auto& [key, item] : entries) {
    mapping->nesting = std::max({mapping->nesting, nesting_of(item) + 1, nesting_of(key) + 1});
    std::size_t same = mapping->entries.size();
    if (key.is(Kind::kText)) {
      const auto found = texts.find(key.text());
      if (found != texts.end()) same = found->second;
    } else {
      for (const auto index : others) {
        if (equal_keys(mapping->entries[index].first, key)) same = index;
      }
    }
    if (same < mapping->entries.size()) {
      mapping->entries[same].second = std::move(item);
      continue;
    }
    mapping->entries.emplace_back(std::move(key), std::move(item));
    const Value& stored = mapping->entries.back().first;
    if (stored.is(Kind::kText)) {
      texts.emplace(stored.text(), same);
    } else {
      others.push_back(same);
    }
  }
  check_nesting(mapping->nesting);
  Value value;
  value.data_ = std::shared_ptr<const Mapping>(std::move(mapping));
  return value;
}

const Value* Mapping::find_text(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name.is(Kind::kText) && name.text() == key) return &value;
  }
  return nullptr;
}

const Value* Mapping::find(const Value& key) const {
  if (key.is(Kind::kText)) return find_text(key.text());
  for (const auto& [name, value] : entries) {
    if (equal_keys(name, key)) return &value;
  }
  return nullptr;
}

}  // namespace corda::jinja
