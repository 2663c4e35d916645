// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "regex_property.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <utility>

#include "corda/core/error.h"
#include "unicode_late.h"

namespace corda::tokenizer {

namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 38> kCategories = {
    {{"letter", "L"},
     {"casedletter", "LC"},
     {"uppercaseletter", "Lu"},
     {"lowercaseletter", "Ll"},
     {"titlecaseletter", "Lt"},
     {"modifierletter", "Lm"},
     {"otherletter", "Lo"},
     {"mark", "M"},
     {"combiningmark", "M"},
     {"nonspacingmark", "Mn"},
     {"spacingmark", "Mc"},
     {"enclosingmark", "Me"},
     {"number", "N"},
     {"decimalnumber", "Nd"},
     {"letternumber", "Nl"},
     {"othernumber", "No"},
     {"punctuation", "P"},
     {"connectorpunctuation", "Pc"},
     {"dashpunctuation", "Pd"},
     {"openpunctuation", "Ps"},
     {"closepunctuation", "Pe"},
     {"initialpunctuation", "Pi"},
     {"finalpunctuation", "Pf"},
     {"otherpunctuation", "Po"},
     {"symbol", "S"},
     {"mathsymbol", "Sm"},
     {"currencysymbol", "Sc"},
     {"modifiersymbol", "Sk"},
     {"othersymbol", "So"},
     {"separator", "Z"},
     {"spaceseparator", "Zs"},
     {"lineseparator", "Zl"},
     {"paragraphseparator", "Zp"},
     {"other", "C"},
     {"control", "Cc"},
     {"format", "Cf"},
     {"privateuse", "Co"},
     {"unassigned", "Cn"}}};

bool compiles(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// Names are compared without case, spaces, '_' and '-'.
std::string canonical(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

// "Lu" for "lu" and "uppercaseletter"; "" where it is no category.
std::string category_of(const std::string& name) {
  for (const auto& [full, brief] : kCategories) {
    if (name == full || name == canonical(brief)) return std::string(brief);
  }
  return {};
}

std::string range(char32_t first, char32_t last) {
  char text[40];
  std::snprintf(text, sizeof text, "\\x{%x}-\\x{%x}", static_cast<unsigned>(first),
                static_cast<unsigned>(last));
  return text;
}

bool is_in_category(std::string_view category, std::string_view wanted) {
  if (wanted == "LC") return category == "Lu" || category == "Ll" || category == "Lt";
  return category.starts_with(wanted);
}

PropertyMembers category_members(const std::string& category, bool with_late) {
  PropertyMembers result;
  result.members = category == "LC" ? "\\p{Lu}\\p{Ll}\\p{Lt}" : core::concat("\\p{", category, "}");
  if (!with_late) return result;
  const bool unassigned = category == "C" || category == "Cn";  // the library takes them for such
  for (const LateRange& late : late_ranges()) {
    if (is_in_category(late.category, category)) {
      result.members += range(late.first, late.last);
    } else if (unassigned) {
      result.except += range(late.first, late.last);
    }
  }
  return result;
}

// Scripts are named with `sc:` (Script), for a bare name means Script_Extensions in PCRE2, which
// adds what several scripts share.
std::optional<PropertyMembers> script_members(const std::string& name, bool with_late) {
  PropertyMembers result;
  const std::string known = core::concat("\\p{sc:", name, "}");
  const bool has_known = compiles(known);
  if (has_known) result.members = known;
  bool has_late = false;
  for (const LateScript& late : late_scripts()) {
    if (name != late.name && name != late.alias) continue;
    has_late = true;
    if (with_late) result.members += range(late.first, late.last);
  }
  if (!has_known && !has_late) return std::nullopt;
  const bool unknown = name == "unknown" || name == "zzzz";
  if (with_late && unknown) {
    for (const LateRange& late : late_ranges()) result.except += range(late.first, late.last);
  }
  return result;
}

}  // namespace

std::optional<PropertyMembers> property_members(std::string_view name, bool with_late) {
  const std::string plain = canonical(name);
  if (plain == "any") return PropertyMembers{"\\x{0}-\\x{10ffff}", ""};
  const std::string category = category_of(plain);
  if (!category.empty()) return category_members(category, with_late);
  return script_members(plain, with_late);
}

}  // namespace corda::tokenizer
