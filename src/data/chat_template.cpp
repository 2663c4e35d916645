// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/chat_template.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/data/names.h"
#include "data/day.h"
#include "data/named_templates.h"
#include "data/roles.h"
#include "jinja/json_value.h"

namespace corda::data {

using core::concat;
using core::Json;
using jinja::Value;

namespace {

using Templates = std::map<std::string, std::string>;  // by name; "default" is the main one

// What transformers would load, in its order: files win over tokenizer_config.json.
Templates model_templates(const fs::path& directory) {
  Templates templates;
  const fs::path config = directory / "tokenizer_config.json";
  const fs::path main = directory / "chat_template.jinja";
  if (!fs::exists(main) && fs::exists(config)) {
    const Json json = core::read_json(config);
    const auto found = json.is_object() ? json.find("chat_template") : json.end();
    if (found != json.end() && found->is_string()) {
      templates["default"] = found->get<std::string>();
    } else if (found != json.end() && found->is_array()) {
      for (const Json& entry : *found) {
        if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
            !entry.contains("template") || !entry["template"].is_string())
          throw core::FormatError(
              concat(config.string(), ": each chat_template needs a 'name' and a 'template'"));
        templates[entry["name"].get<std::string>()] = entry["template"].get<std::string>();
      }
    } else if (found != json.end() && found->is_object()) {
      for (const auto& [name, text] : found->items()) {
        if (!text.is_string())
          throw core::FormatError(concat(config.string(), ": the chat_template '", name,
                                         "' must be a text, found ", text.type_name()));
        templates[name] = text.get<std::string>();
      }
    } else if (found != json.end() && !found->is_null()) {
      throw core::FormatError(concat(config.string(),
                                     ": 'chat_template' must be a text, a list or an object of "
                                     "them, found ",
                                     found->type_name()));
    }
  }
  if (fs::exists(main)) templates["default"] = core::read_file(main);
  const fs::path more = directory / "additional_chat_templates";
  if (fs::is_directory(more)) {
    for (const auto& entry : fs::directory_iterator(more)) {
      if (entry.path().extension() == ".jinja")
        templates[entry.path().stem().string()] = core::read_file(entry.path());
    }
  }
  return templates;
}

// A message whose texts are labelled, but for a role of the usual names.
Value message_value(const Message& message, std::int32_t label) {
  Value::Dict entries;
  for (const auto& [key, item] : message.value.items()) {
    const bool trusted = key == "role" && is_known_role(message.role());
    entries.emplace_back(key, trusted ? jinja::from_json(item) : jinja::from_json(item, label));
  }
  return Value::dict(std::move(entries));
}

}  // namespace

ChatTemplate::ChatTemplate(const std::string& name, const fs::path& model_directory,
                           const tokenizer::Tokenizer& tokenizer, const std::string& date)
    : name_(name), now_(midnight_of(date)) {
  if (name == "chat") {
    read_model(model_directory);
  } else if (const NamedTemplate* named = find_named_template(name)) {
    source_ = named->source;
    // Alpaca's template is no model's own, so BOS begins it only where this tokenizer puts one.
    const bool bos = tokenizer.bos_id && tokenizer.prefix == std::vector{*tokenizer.bos_id};
    constexpr std::string_view kBos = "bos_token }}{{ ";
    if (const auto at = source_.find(kBos); name == "alpaca" && !bos && at != std::string::npos)
      source_.erase(at, kBos.size());
    exported_ = without_generation_marks(source_);
    for (const std::string_view token : named->tokens) {
      const auto id = tokenizer.token_to_id(token);
      if (!id || !tokenizer.is_special(*id)) missing_.emplace_back(token);
    }
  } else if (name.ends_with(".jinja")) {
    source_ = exported_ = core::read_file(name);
  } else {
    const auto names = template_names();
    throw core::ConfigError(concat("unknown template '", name, "'", core::suggestion(name, names),
                                   "; it is one of ", core::join(names, ", "),
                                   ", or a file that ends in .jinja"));
  }
  const std::string where =
      name == "chat" ? (model_directory / "chat template").string() : "template " + name;
  main_ = std::make_unique<jinja::Template>(source_, where);
  if (!tool_source_.empty())
    with_tools_ = std::make_unique<jinja::Template>(tool_source_, where + " (tool_use)");
  read_tokens(tokenizer);
}

bool ChatTemplate::model_has_one(const fs::path& model_directory) {
  return !model_directory.empty() && !model_templates(model_directory).empty();
}

bool ChatTemplate::shows_date(const std::string& name, const fs::path& model_directory) {
  const auto shows = [](std::string_view source) {
    return source.find("strftime_now") != std::string_view::npos;
  };
  if (name.ends_with(".jinja")) return shows(core::read_file(name));
  if (const NamedTemplate* named = find_named_template(name)) return shows(named->source);
  if (name != "auto" && name != "chat") return false;
  const Templates templates = model_templates(model_directory);
  return std::any_of(templates.begin(), templates.end(),
                     [&](const auto& each) { return shows(each.second); });
}

void ChatTemplate::read_model(const fs::path& directory) {
  const Templates templates = model_templates(directory);
  if (templates.empty()) {
    throw core::ConfigError(concat(
        "the model '", directory.string(),
        "' carries no chat template (no chat_template.jinja, none in tokenizer_config.json); "
        "choose a named one: ",
        core::join(named_templates(), ", ")));
  }
  const auto main = templates.find("default");
  if (main == templates.end()) {
    throw core::ConfigError(
        concat("the model '", directory.string(), "' has chat templates but none named 'default'"));
  }
  source_ = main->second;
  if (const auto tools = templates.find("tool_use"); tools != templates.end())
    tool_source_ = tools->second;
}

// The variables that transformers takes from the tokenizer's map of special tokens.
void ChatTemplate::read_tokens(const tokenizer::Tokenizer& tokenizer) {
  const auto add = [&](const char* key, const std::string& token) {
    if (!token.empty()) tokens_.emplace_back(key, token);
  };
  const auto text = [&](std::optional<TokenId> id) {
    return id ? tokenizer.id_to_token(*id) : std::string();
  };
  add("bos_token", text(tokenizer.bos_id));
  add("eos_token", text(tokenizer.eos_id));
  add("pad_token", text(tokenizer.pad_id));
  for (const auto& [key, token] : tokenizer.named_tokens) {
    if (key != "bos_token" && key != "eos_token" && key != "pad_token") add(key.c_str(), token);
  }
}

const jinja::Template& ChatTemplate::template_for(const Conversation& conversation) const {
  return with_tools_ && !conversation.tools.is_null() ? *with_tools_ : *main_;
}

jinja::Rendering ChatTemplate::render(const Conversation& conversation, std::size_t count,
                                      bool add_generation_prompt) const {
  Value::List messages;
  for (std::size_t i = 0; i < count; ++i)
    messages.push_back(message_value(conversation.messages[i], static_cast<std::int32_t>(i)));
  Value::Dict variables = tokens_;
  variables.emplace_back("messages", Value::list(std::move(messages)));
  variables.emplace_back("tools", conversation.tools.is_null()
                                      ? Value()
                                      : jinja::from_json(conversation.tools, kOtherSource));
  variables.emplace_back("documents", Value());
  variables.emplace_back("add_generation_prompt", add_generation_prompt);
  return template_for(conversation)
      .render(Value::dict(std::move(variables)), {.limits = {}, .now = now_});
}

bool ChatTemplate::has_generation(const Conversation& conversation) const {
  return template_for(conversation).has_generation();
}

namespace {

// Whether `word` stands in a template by itself, not inside another name.
bool has_word(std::string_view source, std::string_view word) {
  const auto in_name = [&](std::size_t at) {
    return at < source.size() &&
           (std::isalnum(static_cast<unsigned char>(source[at])) != 0 || source[at] == '_');
  };
  for (std::size_t at = source.find(word); at != std::string_view::npos;
       at = source.find(word, at + 1)) {
    if (!in_name(at - 1) && !in_name(at + word.size())) return true;
  }
  return false;
}

}  // namespace

std::string ChatTemplate::hidden_key(const Conversation& conversation) const {
  const std::string& source = with_tools_ && !conversation.tools.is_null() ? tool_source_ : source_;
  for (const Message& message : conversation.messages) {
    for (const char* key : {"reasoning_content", "reasoning", "thinking"}) {
      const auto found = message.value.find(key);
      const bool says =
          found != message.value.end() && !found->is_null() && !found->empty() && *found != "";
      if (says && !has_word(source, key)) return key;
    }
  }
  return "";
}

bool ChatTemplate::shows_tools(const Conversation& conversation) const {
  const std::string& source = with_tools_ && !conversation.tools.is_null() ? tool_source_ : source_;
  const auto calls = [](const Message& message) {
    const auto found = message.value.find("tool_calls");
    return found != message.value.end() && !found->is_null() && !found->empty();
  };
  const auto& messages = conversation.messages;
  return (conversation.tools.is_null() || source.find("tools") != std::string::npos) &&
         (std::none_of(messages.begin(), messages.end(), calls) ||
          source.find("tool_calls") != std::string::npos);
}

}  // namespace corda::data
