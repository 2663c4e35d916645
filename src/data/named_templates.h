// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Chat templates of the well-known families, for models that carry none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace corda::data {

struct NamedTemplate {
  std::string_view name;
  std::string_view source;               // Jinja, with `{% generation %}` around what is learnt
  std::vector<std::string_view> tokens;  // written out in it; the vocabulary should have them
};

// nullptr where there is none of that name.
const NamedTemplate* find_named_template(std::string_view name);
std::vector<std::string> named_templates();

// The source without its generation marks, which not every program knows; renders to the same text.
std::string without_generation_marks(std::string_view source);

}  // namespace corda::data
