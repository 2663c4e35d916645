// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// \p{...} of the patterns of tokenizer files, for PCRE2.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace corda::tokenizer {

// The code points of a property, both for use inside [...]: those of `members` without those of
// `except`.
struct PropertyMembers {
  std::string members;
  std::string except;
};

// General categories and scripts by their short and long names, and Any. `with_late` lists the code
// points that late_ranges() adds. nullopt for another property: what the younger code points have
// of it is not known here.
std::optional<PropertyMembers> property_members(std::string_view name, bool with_late);

}  // namespace corda::tokenizer
