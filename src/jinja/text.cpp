// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "jinja/text.h"

#include <utf8proc.h>

#include <algorithm>

#include "corda/core/text.h"

namespace corda::jinja {

namespace {

template <typename Map>
std::string map_code_points(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const std::int32_t code = next_code_point(text, at);
    if (code < 0) {
      out += text[begin];
    } else {
      map(out, code);
    }
  }
  return out;
}

void append_upper(std::string& out, std::int32_t code) {
  if (code == 0xDF) {
    out += "SS";
  } else {
    append_code_point(out, code < 0x80 ? (code >= 'a' && code <= 'z' ? code - 32 : code)
                                       : utf8proc_toupper(code));
  }
}

void append_lower(std::string& out, std::int32_t code) {
  append_code_point(
      out, code < 0x80 ? (code >= 'A' && code <= 'Z' ? code + 32 : code) : utf8proc_tolower(code));
}

void append_title(std::string& out, std::int32_t code) {
  if (code == 0xDF) {
    out += "Ss";
  } else {
    append_code_point(out, utf8proc_totitle(code));
  }
}

bool is_cased(std::int32_t code) {
  const auto category = utf8proc_category(code);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

}  // namespace

std::int32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) {
    ++at;
    return first;
  }
  std::int32_t code = -1;
  const auto used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                     static_cast<utf8proc_ssize_t>(text.size() - at), &code);
  at += used > 0 ? static_cast<std::size_t>(used) : 1;
  return used > 0 ? code : -1;
}

void append_code_point(std::string& out, std::int32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(code, bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

std::int64_t length(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) next_code_point(text, at);
  return count;
}

std::size_t byte_offset(std::string_view text, std::int64_t index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) next_code_point(text, at);
  return at;
}

std::vector<std::string_view> code_points(std::string_view text) {
  std::vector<std::string_view> parts;
  parts.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    next_code_point(text, at);
    parts.push_back(text.substr(begin, at - begin));
  }
  return parts;
}

bool is_space(std::int32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
         code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_word(std::int32_t code) {
  if (code < 0) return false;
  if (code < 0x80)
    return (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') ||
           (code >= 'A' && code <= 'Z') || code == '_';
  const auto category = utf8proc_category(code);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

bool is_printable(std::int32_t code) {
  if (code < 0x80) return code >= 0x20 && code < 0x7F;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

std::string_view strip(std::string_view text, bool left, bool right, const std::string* chars) {
  const auto set = chars != nullptr ? code_points(*chars) : std::vector<std::string_view>{};
  const auto drops = [&](std::string_view unit) {
    if (chars != nullptr) return std::find(set.begin(), set.end(), unit) != set.end();
    std::size_t at = 0;
    return is_space(next_code_point(unit, at));
  };
  while (left && !text.empty()) {
    std::size_t end = 0;
    next_code_point(text, end);
    if (!drops(text.substr(0, end))) break;
    text.remove_prefix(end);
  }
  while (right && !text.empty()) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && core::is_utf8_continuation(text[begin])) --begin;
    if (!drops(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

std::vector<std::string_view> split_space(std::string_view text, std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  text = strip(text, true, false);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<std::int64_t>(parts.size()) == max_splits) {
      parts.push_back(text);
      break;
    }
    std::size_t end = 0;
    for (std::size_t at = 0; at < text.size(); end = at) {
      if (is_space(next_code_point(text, at))) break;
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), true, false);
  }
  return parts;
}

std::vector<std::string_view> rsplit_space(std::string_view text, std::int64_t max_splits) {
  auto parts = split_space(text, -1);
  if (max_splits < 0 || static_cast<std::int64_t>(parts.size()) <= max_splits + 1) return parts;
  const auto kept = parts.size() - static_cast<std::size_t>(max_splits) - 1;
  const auto* end = parts[kept].data() + parts[kept].size();
  std::vector<std::string_view> result{text};
  result[0] = result[0].substr(0, static_cast<std::size_t>(end - result[0].data()));
  result.insert(result.end(), parts.begin() + static_cast<std::ptrdiff_t>(kept) + 1, parts.end());
  return result;
}

std::vector<std::string_view> split_on(std::string_view text, std::string_view separator,
                                       std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  for (; max_splits != 0; --max_splits) {
    const auto found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<std::string_view> rsplit_on(std::string_view text, std::string_view separator,
                                        std::int64_t max_splits) {
  std::vector<std::string_view> parts;
  for (; max_splits != 0; --max_splits) {
    const auto found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = at;
    const auto code = next_code_point(text, at);
    if (!((code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
          code == 0x2028 || code == 0x2029))
      continue;
    if (code == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string upper(std::string_view text) { return map_code_points(text, append_upper); }
std::string lower(std::string_view text) { return map_code_points(text, append_lower); }

std::string capitalize(std::string_view text) {
  bool first = true;
  return map_code_points(text, [&](std::string& out, std::int32_t code) {
    first ? append_title(out, code) : append_lower(out, code);
    first = false;
  });
}

std::string title(std::string_view text) {
  bool inside = false;
  return map_code_points(text, [&](std::string& out, std::int32_t code) {
    inside ? append_lower(out, code) : append_title(out, code);
    inside = is_cased(code);
  });
}

std::string swap_case(std::string_view text) {
  return map_code_points(text, [](std::string& out, std::int32_t code) {
    const auto category = utf8proc_category(code);
    if (category == UTF8PROC_CATEGORY_LU) {
      append_lower(out, code);
    } else {
      append_upper(out, code);
    }
  });
}

bool all_of_class(std::string_view text, CharClass wanted) {
  for (std::size_t at = 0; at < text.size();) {
    const auto code = next_code_point(text, at);
    if (code < 0) return false;
    const auto category = utf8proc_category(code);
    const bool alpha = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    const bool decimal = category == UTF8PROC_CATEGORY_ND;
    const bool numeric =
        decimal || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
    const bool matches = wanted == CharClass::kAlpha     ? alpha
                         : wanted == CharClass::kDecimal ? decimal
                         : wanted == CharClass::kNumeric ? numeric
                         : wanted == CharClass::kSpace   ? is_space(code)
                                                         : alpha || numeric;
    if (!matches) return false;
  }
  return !text.empty();
}

bool is_lower(std::string_view text) {
  bool any = false;
  for (std::size_t at = 0; at < text.size();) {
    const auto category = utf8proc_category(std::max(next_code_point(text, at), 0));
    if (category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LT) return false;
    any = any || category == UTF8PROC_CATEGORY_LL;
  }
  return any;
}

bool is_upper(std::string_view text) {
  bool any = false;
  for (std::size_t at = 0; at < text.size();) {
    const auto category = utf8proc_category(std::max(next_code_point(text, at), 0));
    if (category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT) return false;
    any = any || category == UTF8PROC_CATEGORY_LU;
  }
  return any;
}

}  // namespace corda::jinja
