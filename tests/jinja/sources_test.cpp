// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which bytes of a rendering came from the variables.
#include <gtest/gtest.h>

#include "corda/jinja/template.h"
#include "jinja/json_value.h"

namespace corda::jinja {
namespace {

// The rendering with what came from labelled variables in brackets, "?" before blended text.
std::string traced(const std::string& source) {
  const Value variables = Value::dict(
      {{"a", labelled_text("<a>", 0)},
       {"b", labelled_text("  b b\n", 1)},
       {"plain", "p"},
       {"data", from_json(core::Json{{"key", "v"}, {"list", {"x", 1}}}, 2)},
       {"messages", Value::list({Value::dict({{"content", labelled_text("one", 3)}}),
                                 Value::dict({{"content", labelled_text("two", 4)}})})}});
  const Rendering rendering = Template(source, "t").render(variables);
  std::string out;
  std::int64_t at = 0;
  for (const auto& span : rendering.sources) {
    EXPECT_LE(at, span.begin);
    EXPECT_LT(span.begin, span.end);
    EXPECT_LE(span.end, static_cast<std::int64_t>(rendering.text.size()));
    const auto part = [&](std::int64_t from, std::int64_t to) {
      return rendering.text.substr(static_cast<std::size_t>(from),
                                   static_cast<std::size_t>(to - from));
    };
    out += part(at, span.begin);
    out += span.source == kMixedSource ? "?[" : std::to_string(span.source) + "[";
    out += part(span.begin, span.end) + "]";
    at = span.end;
  }
  return out + rendering.text.substr(static_cast<std::size_t>(at));
}

struct Case {
  const char* source;
  const char* expected;
};

class Sources : public ::testing::TestWithParam<Case> {};

TEST_P(Sources, FollowTheBytes) { EXPECT_EQ(traced(GetParam().source), GetParam().expected); }

INSTANTIATE_TEST_SUITE_P(
    Operations, Sources,
    ::testing::Values(
        Case{"x{{ a }}y{{ plain }}", "x0[<a>]yp"}, Case{"{{ '<' + a + '>' }}", "<0[<a>]>"},
        Case{"{{ a ~ b ~ 1 }}", "0[<a>]1[  b b\n]1"}, Case{"{{ b | trim }}!", "1[b b]!"},
        Case{"{{ (' ' + a + ' ').strip() }}", "0[<a>]"}, Case{"{{ b.split()[1] }}", "1[b]"},
        Case{"{{ a[1:] }}{{ a[0] }}", "0[a><]"}, Case{"{{ a[::-1] }}", "0[>a<]"},
        Case{"{{ ('(' + a + ')').replace('a', plain) }}", "(0[<]p0[>])"},
        Case{"{{ 'x-y' | replace('-', a) }}", "x0[<a>]y"},
        Case{"{{ [a, 'q', b] | join(', ') }}", "0[<a>], q, 1[  b b\n]"},
        Case{"{{ ', '.join([a, 'q']) }}", "0[<a>], q"}, Case{"{{ a | upper }}", "0[<A>]"},
        Case{"{{ ('x' + a) | upper }}", "?[X<A>]"}, Case{"{{ '%s!' | format(a) }}", "?[<a>!]"},
        Case{"{{ 'p%s' % a }}", "?[p<a>]"},
        Case{"{{ data | tojson }}", "{2[\"key\"]: 2[\"v\"], 2[\"list\"]: [2[\"x\"], 1]}"},
        Case{"{{ {'name': a} | tojson }}", "{\"name\": 0[\"<a>\"]}"},
        Case{"{{ data.list }}", "[2['x'], 1]"},
        Case{"{% set x %}({{ a }}){% endset %}{{ x }}", "(0[<a>])"},
        Case{"{% macro m(t) %}<{{ t }}>{% endmacro %}{{ m(b | trim) }}", "<1[b b]>"},
        Case{"{% for m in messages %}[{{ m.content }}]{% endfor %}", "[3[one]][4[two]]"},
        Case{"{{ messages | map(attribute='content') | join }}", "3[one]4[two]"},
        Case{"{% for c in a %}{{ c }}.{% endfor %}", "0[<].0[a].0[>]."},
        Case{"{{ a * 2 }}", "0[<a><a>]"}, Case{"{{ a.ljust(5, '-') }}", "0[<a>]--"},
        Case{"{{ (plain + b) | indent(2, true) }}", "  p1[  b b]\n"},
        Case{"{{ a | safe + '&' }}", "0[<a>]&amp;"},
        Case{"{{ a | default('d') }}{{ none_such | default(a) }}", "0[<a><a>]"}));

}  // namespace
}  // namespace corda::jinja
