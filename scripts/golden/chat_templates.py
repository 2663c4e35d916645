# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes tests/golden/chat: what transformers renders from templates, and which errors it raises.

    python scripts/golden/chat_templates.py                # features.json, templates of our own
    python scripts/golden/chat_templates.py --shared DIR   # also real.json, hashes over the templates in DIR/data/chat_templates
"""

import argparse
import datetime
import hashlib
import json
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "chat"


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 13, 5, 9)


chat_template_utils.datetime = FixedTime

VARIABLES = {
    "name": "Wörld", "text": "  The quick  brown fox\njumps over\n\nit's \"lazy\" <dog> & co.  ", "empty": "", "zero": 0, "n": 7, "x": 2.5, "yes": True,
    "no": False, "nothing": None, "unicode": "naïve 人工 😀 Straße",
    "numbers": [3, 1, 2, 3, 10], "words": ["pear", "Apple", "fig", "apple", "Fig"], "mixed": [1, "a", None, True, 2.5, [1, 2], {"k": "v"}],
    "user": {"name": "Ann", "age": 41, "tags": ["a", "b"], "address": {"city": "Oslo"}, "items": "own items", "none": None},
    "people": [{"name": "Bob", "age": 30, "team": "x"}, {"name": "Ann", "age": 25, "team": "y"}, {"name": "cy", "age": 30, "team": "x", "admin": True}],
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
}

FEATURES = """
data and comments | a{# gone #}b{#- gone -#} c
  {# whole line #}
d
===
trim_blocks | {% if true %}
  x
{% endif %}
y
===
lstrip_blocks | a
    {% if true %}
    b {% if true %} c {% endif %}
    {% endif %}
  {{ 'var' }}
===
minus markers | a   {%- if true -%}   b   {%- endif -%}   c
{{- ' d ' -}}
 e
===
plus markers | a
   {%+ if true +%}
b
   {%+ endif %}
c
===
raw | {% raw %}{{ x }} {% if %}{% endraw %}|
{%- raw -%}  {# y #}  {%- endraw -%} z
===
strings | {{ 'a\\n\\t\\x41\\u00e9\\'q\\'' }}{{ "it's" }}{{ 'a' "b" }}
===
numbers | {{ 1 }} {{ 1_000 }} {{ 2.0 }} {{ 1e20 }} {{ 1.5e-7 }} {{ 1e16 }} {{ 123456789.125 }} {{ -0.0 }} {{ 0.1 + 0.2 }}
===
arithmetic | {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 'ab' * 3 }} {{ [1] * 2 + [3] }} {{ true + 1 }}
===
comparison | {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ [1, 2] < [1, 3] }} {{ none == false }} {{ {'a': 1} == {'a': 1.0} }} {{ 1 != 2 }} {{ 3 >= 3 }}
===
logic | {{ 0 or 'x' }} {{ 1 and '' }}| {{ not 1 }} {{ not none }} {{ 1 and 2 or 3 }} {{ none or false }}
===
in | {{ 'a' in 'abc' }} {{ 'z' not in 'abc' }} {{ 2 in numbers }} {{ 'name' in user }} {{ 'x' in missing }} {{ not 1 in [2] }}
===
concat | {{ 1 ~ 'a' ~ none ~ [1, 'b'] ~ missing ~ true }}
===
inline if | {{ 'a' if yes else 'b' }} {{ 'a' if no }}| {{ 'a' if no else 'b' if no else 'c' }}
===
repr | {{ [1, 'a', "it's", 'q"', none, true, 2.0, (1,), (), {'k': 'v', 1: [2]}] }} {{ mixed }} {{ user }} {{ ['é\\n\\\\\\t\\x00\\u200b'] }} {{ none }} {{ true }}
===
dict views | {{ user.keys() }} {{ user.address.items() }} {{ user.address.values() }}
===
literals | {{ (1, 2)[1] }} {{ {'a': {'b': 1}}.a.b }} {{ [1, 2,] }} {{ {'a': 1, 'a': 2} }} {{ 1, 2 }}
===
attributes | {{ user.name }} {{ user['name'] }} {{ user.address.city }} {{ user.items is callable }}{{ user['items'] }} {{ people[0].name }} {{ people[-1]['name'] }} {{ user.missing }}|{{ numbers[99] }}|{{ numbers.0 }} {{ name[1] }}
===
slices | {{ numbers[1:] }} {{ numbers[:-1] }} {{ numbers[::2] }} {{ numbers[::-1] }} {{ numbers[3:0:-1] }} {{ unicode[2:7] }} {{ unicode[::-1] }} {{ numbers[10:] }} {{ numbers[-2:] }} {{ 'abc'[5:] }}| {{ (1,2,3)[1:] }}
===
undefined | [{{ missing }}] {{ missing is defined }} {{ user.zzz is defined }} {{ missing | default('d') }} {{ missing == other }} {{ missing | length }} {% for m in missing %}x{% else %}none{% endfor %} {% if not missing %}falsy{% endif %} {{ missing | list }} {{ missing | upper }} {{ [missing] }}
===
for | {% for i in numbers %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}={{ i }} {% endfor %}
===
for neighbours | {% for i in numbers %}{{ loop.previtem }}<{{ i }}<{{ loop.nextitem }} {{ loop.cycle('odd', 'even') }} {{ loop.changed(i > 2) }};{% endfor %}
===
for nested | {% for a in [1, 2] %}{% set outer = loop %}{% for b in [3, 4] %}{{ outer.index }}.{{ loop.index }}.{{ loop.depth }} {% endfor %}{% endfor %}
===
for filter and else | {% for i in numbers if i > 2 %}{{ loop.index }}:{{ i }} {% endfor %}{% for i in numbers if i > 20 %}x{% else %}empty{% endfor %}
===
for unpacking | {% for k, v in user.items() %}{{ k }}={{ v }};{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for k in user %}{{ k }},{% endfor %}{% for c in unicode %}{{ c }}.{% endfor %}
===
break and continue | {% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
===
scope | {% set a = 1 %}{% for i in [1, 2] %}{{ a }}{% set a = i + 10 %}{{ a }} {% endfor %}{{ a }}{% if true %}{% set a = 5 %}{% endif %}{{ a }}
===
namespace | {% set ns = namespace(found=false, n=0) %}{% for i in numbers %}{% set ns.n = ns.n + i %}{% if i == 2 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.n }} {{ ns.found }} {{ ns.missing is defined }}{% set ns.new = [1] %}{{ ns.new }}{{ ns['n'] }}
===
set | {% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}{% set block %}
  inside {{ a }}
{% endset %}[{{ block }}]{% set shout | upper | trim %} hi {% endset %}{{ shout }}
===
if | {% if zero %}a{% elif empty %}b{% elif n == 7 %}c{% else %}d{% endif %}{% if numbers and user %}e{% endif %}
===
macro | {% macro hello(who, greeting='Hi', mark=greeting ~ '!') -%}
{{ greeting }} {{ who }}{{ mark }}
{%- endmacro %}{{ hello('A') }} {{ hello('B', 'Yo') }} {{ hello(who='C', mark='?') }} {{ hello() }}|{{ hello.name }}
===
macro recursion | {% macro tree(value, depth=0) %}{% if value is mapping %}{% for k, v in value.items() %}{{ '-' * depth }}{{ k }}:{{ tree(v, depth + 1) }}{% endfor %}{% else %}{{ value }};{% endif %}{% endmacro %}{{ tree(user) }}
===
macro closure | {% macro show() %}{{ later }}{{ varargs }}{{ kwargs }}{% endmacro %}{% set later = 'set later' %}{{ show(1, 2, k=3) }}
===
call | {% macro box(title) %}[{{ title }}: {{ caller(5) }}]{% endmacro %}{% call(n) box('T') %}body {{ n }} {{ name }}{% endcall %}
===
with and filter block | {% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}{% filter upper | replace('A', '_') %}abcabc{% endfilter %}
===
generation | {% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}é{% endgeneration %}{% else %}{{ m.content }} 人{% endif %}
{% endfor %}{% generation %}end{% endgeneration %}
===
tojson | {{ mixed | tojson }} {{ user | tojson(indent=2) }} {{ {'b': 1, 'a': '<é>&"\\n\\u0001'} | tojson(sort_keys=true) }} {{ [] | tojson(indent=4) }} {{ unicode | tojson(ensure_ascii=true) }} {{ [1, {'a': 2}] | tojson(separators=(',', ':')) }} {{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }} {{ (1, 2) | tojson }} {{ [1, [2]] | tojson(indent='--') }}
===
text filters | {{ text | trim }}|{{ name | upper }} {{ name | lower }} {{ "hello wORLD-wide (yes)" | title }} {{ "hELLO" | capitalize }} {{ "aaa" | replace("a", "b", 2) }} {{ "xxhixx" | trim("x") }} {{ unicode | upper }} {{ n | string }} {{ unicode | length }} {{ "a b, c" | wordcount }} {{ text | escape }} {{ "a/b c?é" | urlencode }} {{ 'ab' | center(7) }}|
===
indent | {{ "a\\nb\\n\\nc" | indent }}|{{ "a\\nb\\n\\nc" | indent(2, true) }}|{{ "a\\nb\\n\\nc" | indent(width=3, blank=true) }}|{{ "a\\nb" | indent('> ') }}
===
truncate | {{ "foo bar baz qux" | truncate(9) }} {{ "foo bar baz qux" | truncate(9, true) }} {{ "foo bar baz qux" | truncate(9, false, '...', 0) }} {{ "foo bar baz qux" | truncate(11, leeway=0, end='!') }}
===
number filters | {{ "42" | int }} {{ " 4.7 " | int }} {{ "x" | int }} {{ "x" | int(-1) }} {{ "0x1F" | int(0, 16) }} {{ 3.9 | int }} {{ "2.50" | float }} {{ "x" | float }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 42.55 | round(1, 'floor') }} {{ 2.1 | round(0, 'ceil') }} {{ 5 | round }} {{ -5 | abs }} {{ -2.5 | abs }} {{ none | int }} {{ 1234.5 | round(-2) }}
===
list filters | {{ numbers | sort }} {{ words | sort }} {{ words | sort(reverse=true, case_sensitive=true) }} {{ words | unique | list }} {{ numbers | unique | join(',') }} {{ numbers | first }} {{ numbers | last }} {{ [] | first }}| {{ numbers | reverse | list }} {{ 'abc' | reverse }} {{ numbers | sum }} {{ numbers | min }} {{ words | max }} {{ numbers | length }} {{ 'abc' | list }} {{ user | list }} {{ numbers | batch(2, 0) | list }} {{ 'abc' | first }}{{ 'abc' | last }}
===
attribute filters | {{ people | map(attribute='name') | list }} {{ people | map(attribute='admin', default='-') | join(' ') }} {{ words | map('upper') | list }} {{ people | selectattr('age', 'equalto', 30) | map(attribute='name') | join }} {{ people | rejectattr('admin', 'defined') | list | length }} {{ people | selectattr('admin') | first }} {{ numbers | select('gt', 2) | list }} {{ numbers | reject('odd') | list }} {{ people | sum(attribute='age') }} {{ people | sort(attribute='age,name') | map(attribute='name') | list }} {{ people | join('/', attribute='name') }} {{ mixed | select('string') | list }} {{ [0, 1, ''] | select | list }}
===
groupby and dictsort | {% for team, members in people | groupby('team') %}{{ team }}: {{ members | map(attribute='name') | join(', ') }}; {% endfor %}{{ {'b': 1, 'A': 2, 'c': 0} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(true) }} {{ {'b': 1, 'A': 2} | dictsort(by='value', reverse=true) }} {{ user.address | items | list }}
===
default | {{ nothing | default('d') }} {{ nothing | default('d', true) }} {{ empty | default('e', boolean=true) }} {{ missing | d }}|
===
generators | {% set g = numbers | map('string') %}{{ g | join('') }}{{ g | join('') }}|{% if numbers | select('gt', 100) %}always{% endif %}
===
safe | {{ text | safe | trim }} {{ ('<a>' | safe) + '<b>' }} {{ '<b>' + ('<a>' | safe) }} {{ ('<a>' | safe) ~ '<b>' }} {{ ['<a>' | safe] }} {{ ("it's " | safe + '"q"') | tojson }}
===
tests | {{ 1 is number }} {{ true is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is float }} {{ true is boolean }} {{ 'a' is string }} {{ user is mapping }} {{ numbers is sequence }} {{ user is sequence }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ nothing is none }} {{ nothing is not none }} {{ 1 is true }} {{ no is false }} {{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 2 is in numbers }} {{ 2 is in([1]) }} {{ 1 is eq 1 }} {{ 1 is equalto(2) }} {{ 2 is gt 1 }} {{ 2 is le 1 }} {{ 'a' is lower }} {{ 'A' is upper }} {{ missing is undefined }} {{ missing is iterable }} {{ range is callable }} {{ none is sameas none }} {{ 'upper' is filter }} {{ 'defined' is test }} {{ '<' | safe is escaped }} {{ x is sequence }} {{ missing is string }}
===
split methods | {{ " a  b c ".split() }} {{ "a,b,,c".split(",") }} {{ "a,b,c".split(",", 1) }} {{ "a,b,c".rsplit(",", 1) }} {{ " a  b c ".split(none, 1) }} {{ "a</t>b</t>c".split("</t>")[-1] }} {{ "a\\nb\\r\\nc\\n".splitlines() }} {{ "k=v=w".partition("=") }} {{ "k=v=w".rpartition("=") }} {{ "".split(",") }} {{ "".split() }} {{ " a b  c ".rsplit(none, 1) }}
===
strip methods | [{{ text.strip() }}] [{{ "\\n a \\n".lstrip() }}] [{{ "\\n a \\n".rstrip() }}] [{{ "\\n\\nab\\n".lstrip("\\n") }}] [{{ "xyhixy".strip("yx") }}] [{{ "a.b".removeprefix("a.").removesuffix("b") }}] [{{ "\u3000a\u00a0".strip() }}]
===
other text methods | {{ "abc".startswith("ab") }} {{ "abc".endswith(("x", "c")) }} {{ "abcabc".find("c") }} {{ "abcabc".rfind("c") }} {{ "日本語".find("語") }} {{ "abcabc".count("bc") }} {{ "a-b".replace("-", "+") }} {{ "aaa".replace("a", "b", 1) }} {{ "ab".replace("", "-") }} {{ ", ".join(words) }} {{ "hELLO wORLD they're".title() }} {{ "hELLO".capitalize() }} {{ "aB".swapcase() }} {{ "a".upper() }} {{ "7".zfill(3) }} {{ "-7".zfill(3) }} {{ "a".ljust(3, ".") }}{{ "a".rjust(3) }}{{ "a".center(4, "*") }} {{ "12".isdigit() }} {{ "a1".isalnum() }} {{ "".isalpha() }} {{ " ".isspace() }} {{ "Ab".isupper() }} {{ "ab".islower() }}
===
format | {{ "{} and {}".format(1, "b") }} {{ "{0}{1}{0}".format("a", "b") }} {{ "{k}: {v:>5}|{v:<5}|{v:^5}".format(k="x", v=12) }} {{ "{:.2f} {:05d} {:,} {{}}".format(3.14159, 42, 1234567) }} {{ "%s is %d (%.1f%%) %5s|%-5s|%05d %x %r" % ("a", 3, 45.678, "b", "c", 42, 255, "q") }} {{ "%s" | format(name) }} {{ "%(a)s" | format(a=1) }} {{ "%s" % name }}
===
dict and list methods | {{ user.get("name") }} {{ user.get("zzz") }} {{ user.get("zzz", "d") }} {{ user.keys() | list }} {{ user.values() | list | length }} {{ numbers.count(3) }} {{ numbers.index(2) }} {{ dict(a=1, b=2) }} {{ dict(user.address, x=1) }}
===
range | {{ range(3) | list }} {{ range(2, 8, 3) | list }} {{ range(3, 0, -1) | list }} {{ range(0) | list }} {{ range(5)[2] }} {{ 3 in range(5) }}
===
calls | {% macro f(a, b, c=3) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(*[1, 2]) }} {{ f(1, **{'b': 5, 'c': 6}) }} {{ f(b=1, a=2) }}
===
strftime_now | {{ strftime_now("%d %b %Y %H:%M:%S %A %B %j %p %y|%Z|%%") }}
===
postfix and filters | {{ -5 | abs }} {{ (1, 2) | length }} {{ 'a,b' .split(',') [0] }} {{ "a" ~ "b" | upper }} {{ not 'a' == 'b' }} {{ 1 if 'a' is string and 2 is number else 0 }} {{ numbers | length > 2 }} {{ 'x' is string and 'y' in 'xyz' }}
===
crlf | a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n
===
message loop | {{- '<s>' }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 1) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {{- '<|' + message.role + '|>\\n' + message['content'] | trim + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- endif %}
===
error raise_exception | line one
{{ raise_exception('No ' ~ name) }}
===
error undefined attribute | {{ missing.attribute }}
===
error undefined sum | {{ 'a' + missing }}
===
error undefined call | {{ missing() }}
===
error append | {{ numbers.append(1) }}
===
error update | {% set x = user.update({'a': 1}) %}
===
error text plus number | {{ 'a' + 1 }}
===
error tojson undefined | {{ missing | tojson }}
===
error none plus text | {{ none + 'a' }}
===
error none slice | {{ nothing[1:] }}
===
error none length | {{ nothing | length }}
===
error iteration | {% for i in 5 %}{% endfor %}
===
error unpack | {% for a, b in [[1, 2, 3]] %}{% endfor %}
===
error compare | {{ 1 < 'a' }}
===
error in number | {{ 1 in 5 }}
===
error division | {{ 1 / 0 }}
===
error filter | {{ 1 | no_such_filter }}
===
error test | {{ 1 is no_such_test }}
===
error tag | {% nonsense %}
===
error unclosed | {% if true %}a
===
error unclosed variable | {{ 1
===
error end | {% endif %}
===
error brackets | {{ (1] }}
===
error macro arguments | {% macro f(a) %}{% endmacro %}{{ f(1, 2) }}
===
error macro keyword | {% macro f(a) %}{% endmacro %}{{ f(zz=2) }}
===
error namespace | {% set user.name = 1 %}
===
error range | {{ range(1000000) | list }}
===
error break | {% break %}
===
error recursion | {% macro f() %}{{ f() }}{% endmacro %}{{ f() }}
"""


def features():
    for block in FEATURES.split("\n===\n"):
        name, _, source = block.strip("\n").partition(" | ")
        yield name, source.encode().decode("unicode_escape").encode("latin-1").decode() if name == "crlf" else source


def render(template, variables):
    """The text and the character spans of generation blocks, or the error."""
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        spans = []
        blocks = []
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**variables):
                blocks.append(block)
        return {"text": "".join(blocks), **({"generation": spans} if spans else {})}
    except jinja2.exceptions.TemplateError as error:
        told = type(error) is jinja2.exceptions.TemplateError
        return {"error": str(error) if told else type(error).__name__, "raised": told}
    except Exception as error:
        return {"error": type(error).__name__, "raised": False}


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather's state in a \"city\".", "parameters": {
        "type": "object", "properties": {
            "city": {"type": "string", "description": "The city, e.g. Köln"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "The unit", "default": "celsius"},
            "days": {"type": "array", "items": {"type": "integer"}, "description": "Days from now"},
            "place": {"type": "object", "properties": {"lat": {"type": "number", "description": "Latitude"}, "lon": {"type": ["number", "null"], "description": "Longitude"}}, "required": ["lat"], "description": "Where"}},
        "required": ["city"]}, "return": {"type": "string", "description": "The state"}}},
    {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}},
]
USER = {"role": "user", "content": "What is 2 + 2?  <b>Tell</b> me & \"prove\" it. 你好 😀"}
ANSWER = {"role": "assistant", "content": "It is 4.\n\n```python\nprint(2 + 2)\n```  "}
SYSTEM = {"role": "system", "content": "  You are a helpful, terse assistant.\n"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": [0, 1], "metric": True, "x": None, "y": 1.5}}}]}
CALL_TEXT = {"role": "assistant", "content": None, "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}]}
TWO_CALLS = {"role": "assistant", "content": "I look it up.", "tool_calls": CALL["tool_calls"] + [{"id": "call67890", "type": "function", "function": {"name": "now", "arguments": {}}}]}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": "{\"sky\": \"clear\", \"t\": 21}"}
RESULT2 = {"role": "tool", "name": "now", "tool_call_id": "call67890", "content": "12:30"}
THINK = {"role": "assistant", "content": "<think>\nTwo and two...\n</think>\n\nFour."}
REASON = {"role": "assistant", "content": "Four.", "reasoning_content": "Two and two make four.", "thinking": "Two and two make four."}
MORE = {"role": "user", "content": "And 3 + 3?"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Look at "}, {"type": "image"}, {"type": "text", "text": "this."}]}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def conversations():
    """Name -> the variables of a template."""
    plain = {
        "one": [USER], "answered": [USER, ANSWER], "system": [SYSTEM, USER, ANSWER], "turns": [USER, ANSWER, MORE, ANSWER, USER],
        "system turns": [SYSTEM, USER, ANSWER, MORE, ANSWER], "think": [USER, THINK, MORE, THINK], "reasoning": [USER, REASON, MORE, REASON],
        "reasoning system": [SYSTEM, USER, REASON, MORE], "two users": [USER, MORE], "assistant first": [ANSWER, USER], "system only": [SYSTEM],
        "empty": [], "parts": [PARTS, ANSWER], "no content": [{"role": "user"}], "odd role": [USER, {"role": "critic", "content": "Hm."}],
        "developer": [{"role": "developer", "content": "Be exact."}, USER, ANSWER],
    }
    tools = {
        "tools": [USER], "tools system": [SYSTEM, USER], "tool call": [USER, CALL, RESULT], "tool answer": [SYSTEM, USER, CALL, RESULT, ANSWER],
        "tool text arguments": [USER, CALL_TEXT, dict(RESULT, tool_call_id="abcdefghi"), ANSWER],
        "two calls": [USER, TWO_CALLS, RESULT, RESULT2, ANSWER, MORE], "call reasoning": [USER, dict(CALL, reasoning_content="I need the weather.", thinking="I need the weather."), RESULT, REASON],
        "pending call": [SYSTEM, USER, CALL],
    }
    for prompt in (False, True):
        suffix = " +prompt" if prompt else ""
        for name, messages in plain.items():
            yield name + suffix, {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": prompt, **TOKENS}
        for name, messages in tools.items():
            yield name + suffix, {"messages": messages, "tools": TOOLS, "documents": None, "add_generation_prompt": prompt, **TOKENS}
    yield "calls without tools", {"messages": tools["tool answer"], "tools": None, "documents": None, "add_generation_prompt": False, **TOKENS}
    yield "bare function tools", {"messages": [USER], "tools": [tool["function"] for tool in TOOLS], "documents": None, "add_generation_prompt": True, **TOKENS}
    yield "no thinking", {"messages": [USER], "tools": None, "documents": None, "add_generation_prompt": True, "enable_thinking": False, **TOKENS}
    yield "settings", {"messages": [SYSTEM, USER], "tools": TOOLS, "documents": None, "add_generation_prompt": True, "enable_thinking": True, "reasoning_effort": "high",
                       "model_identity": "You are Corda.", "builtin_tools": ["browser", "python", "code_interpreter"], "tools_in_user_message": False, "date_string": "1 Jan 2025", **TOKENS}
    yield "documents", {"messages": [SYSTEM, USER], "tools": None, "documents": [{"title": "T", "text": "Some text"}], "add_generation_prompt": True, **TOKENS}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def real(folder):
    cases = dict(conversations())
    templates = {}
    for path in sorted(folder.glob("*/*.jinja")):
        rows = {}
        for name, variables in cases.items():
            got = render(path.read_bytes().decode(), variables)
            if "text" in got:
                row = digest(got["text"])[:20]
                if "generation" in got:
                    row += " " + digest(json.dumps(got["generation"]))[:8]
            else:
                row = "raised: " + got["error"] if got["raised"] else "error: " + got["error"]
            rows[name] = row
        templates[f"{path.parent.name}/{path.name}"] = list(rows.values())
    return {"transformers": transformers.__version__, "now": "2024-07-26T13:05:09", "conversations": cases, "templates": templates}


def write(name, value):
    OUT.mkdir(parents=True, exist_ok=True)
    def rows(group):
        opening, closing = "{}" if isinstance(group, dict) else "[]"
        lines = [f"{json.dumps(key)}: {json.dumps(row, ensure_ascii=False)}" for key, row in group.items()] if isinstance(group, dict) else [
            json.dumps(row, ensure_ascii=False) for row in group]
        return opening + "\n" + ",\n".join(lines) + "\n" + closing
    parts = [f"{json.dumps(key)}: {rows(group) if isinstance(group, (dict, list)) else json.dumps(group)}" for key, group in value.items()]
    (OUT / name).write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path)
    args = parser.parse_args()
    rows = []
    for name, source in features():
        rows.append({"name": name, "template": source, **render(source, VARIABLES)})
        if name.startswith("error") != ("error" in rows[-1]):
            raise SystemExit(f"{name}: {rows[-1]}")
    write("features.json", {"variables": VARIABLES, "cases": rows})
    if args.shared:
        write("real.json", real(args.shared / "data" / "chat_templates"))


if __name__ == "__main__":
    main()
