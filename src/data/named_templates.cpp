// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/named_templates.h"

#include <array>

#include "corda/data/names.h"

namespace corda::data {

namespace {

// Every generation mark stands directly between other tags, so that taking it out changes nothing.
// A system message of a family that has none goes in front of the first user message.

// The preamble and headings of Stanford Alpaca; later turns follow the end of the one before.
constexpr std::string_view kAlpaca =
    R"jinja({%- if messages[0].role == 'system' %}{% set preamble = messages[0].content %}{% set turns = messages[1:] %}
{%- else %}{% set preamble = 'Below is an instruction that describes a task. Write a response that appropriately completes the request.' %}{% set turns = messages %}{% endif %}
{{- bos_token }}{{ preamble }}
{%- for message in turns %}
{%- if message.role == 'user' %}{{- '\n\n### Instruction:\n' + message.content + '\n\n### Response:' }}
{%- elif message.role == 'assistant' %}{% generation %}{{- ' ' + message.content ~ eos_token }}{% endgeneration %}
{%- else %}{{ raise_exception('the alpaca template has no role ' + message.role) }}
{%- endif %}
{%- endfor %})jinja";

constexpr std::string_view kChatMl =
    R"jinja({%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.role == 'assistant' %}{% generation %}{{- message.content + '<|im_end|>\n' }}{% endgeneration %}
{%- else %}{{- message.content + '<|im_end|>\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %})jinja";

constexpr std::string_view kLlama2 =
    R"jinja({%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set turns = messages[1:] %}
{%- else %}{% set system = none %}{% set turns = messages %}{% endif %}
{%- for message in turns %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('the llama-2 template needs user and assistant in turn') }}{% endif %}
{%- if message.role == 'user' %}
{%- if loop.first and system is not none %}{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message.content %}
{%- else %}{% set content = message.content %}{% endif %}
{{- bos_token ~ '[INST] ' + content.strip() + ' [/INST]' }}
{%- elif message.role == 'assistant' %}{% generation %}{{- ' ' + message.content.strip() + ' ' ~ eos_token }}{% endgeneration %}
{%- endif %}
{%- endfor %})jinja";

constexpr std::string_view kLlama3 =
    R"jinja({{- bos_token }}
{%- for message in messages %}{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}
{%- if message.role == 'assistant' %}{% generation %}{{- message.content | trim + '<|eot_id|>' }}{% endgeneration %}
{%- else %}{{- message.content | trim + '<|eot_id|>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})jinja";

// Mistral's third tokenizer with Tekken: no spaces, the system message in front of the last user's.
constexpr std::string_view kMistral =
    R"jinja({%- if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}{% set turns = messages[1:] %}
{%- else %}{% set system = '' %}{% set turns = messages %}{% endif %}
{%- set last = 2 * (turns | selectattr('role', 'equalto', 'user') | list | length - 1) %}
{{- bos_token }}
{%- for message in turns %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('the mistral template needs user and assistant in turn') }}{% endif %}
{%- if message.role == 'user' %}{{- '[INST]' + (system if loop.index0 == last else '') + message.content + '[/INST]' }}
{%- else %}{% generation %}{{- message.content ~ eos_token }}{% endgeneration %}
{%- endif %}
{%- endfor %})jinja";

constexpr std::string_view kGemma =
    R"jinja({{- bos_token }}
{%- if messages[0].role == 'system' %}{% set system = messages[0].content | trim + '\n\n' %}{% set turns = messages[1:] %}
{%- else %}{% set system = '' %}{% set turns = messages %}{% endif %}
{%- for message in turns %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('the gemma template needs user and assistant in turn') }}{% endif %}
{%- if message.role == 'assistant' %}{{- '<start_of_turn>model\n' }}{% generation %}{{- message.content | trim + '<end_of_turn>\n' }}{% endgeneration %}
{%- else %}{{- '<start_of_turn>' + message.role + '\n' + (system if loop.first else '') + message.content | trim + '<end_of_turn>\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{% endif %})jinja";

constexpr std::string_view kPhi3 =
    R"jinja({%- for message in messages %}
{%- if message.role == 'system' %}{{- '<|system|>\n' + message.content + '<|end|>\n' }}
{%- elif message.role == 'user' %}{{- '<|user|>\n' + message.content + '<|end|>\n' }}
{%- elif message.role == 'assistant' %}{{- '<|assistant|>\n' }}{% generation %}{{- message.content + '<|end|>\n' }}{% endgeneration %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{% else %}{{- eos_token }}{% endif %})jinja";

constexpr std::string_view kVicuna =
    R"jinja({{- bos_token }}
{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set turns = messages[1:] %}
{%- else %}{% set system = "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions." %}{% set turns = messages %}{% endif %}
{{- system + ' ' }}
{%- for message in turns %}
{%- if message.role == 'user' %}{{- 'USER: ' + message.content + ' ' }}
{%- elif message.role == 'assistant' %}{{- 'ASSISTANT:' }}{% generation %}{{- ' ' + message.content ~ eos_token }}{% endgeneration %}
{%- else %}{{ raise_exception('the vicuna template has no role ' + message.role) }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'ASSISTANT:' }}{% endif %})jinja";

const std::array<NamedTemplate, 8>& all() {
  static const std::array<NamedTemplate, 8> kAll = {
      {{"alpaca", kAlpaca, {}},
       {"chatml", kChatMl, {"<|im_start|>", "<|im_end|>"}},
       {"llama-2", kLlama2, {}},
       {"llama-3", kLlama3, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
       {"mistral", kMistral, {"[INST]", "[/INST]"}},
       {"gemma", kGemma, {"<start_of_turn>", "<end_of_turn>"}},
       {"phi-3", kPhi3, {"<|user|>", "<|assistant|>", "<|end|>"}},
       {"vicuna", kVicuna, {}}}};
  return kAll;
}

void erase_all(std::string& text, std::string_view part) {
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at))
    text.erase(at, part.size());
}

}  // namespace

const NamedTemplate* find_named_template(std::string_view name) {
  for (const auto& named : all()) {
    if (named.name == name) return &named;
  }
  return nullptr;
}

std::vector<std::string> named_templates() {
  std::vector<std::string> names;
  for (const auto& named : all()) names.emplace_back(named.name);
  return names;
}

std::vector<std::string> template_names() {
  std::vector<std::string> names = {"auto", "chat", "plain"};
  for (auto& name : named_templates()) names.push_back(std::move(name));
  return names;
}

std::string without_generation_marks(std::string_view source) {
  std::string text(source);
  erase_all(text, "{% generation %}");
  erase_all(text, "{% endgeneration %}");
  return text;
}

}  // namespace corda::data
