// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "load.h"

namespace corda::tokenizer {

namespace {

struct ClassTokens {
  const char* tokenizer_class;
  std::vector<std::pair<const char*, const char*>> tokens;
};

// What transformers' classes name where no file does.
const std::array<ClassTokens, 4>& class_tokens() {
  static const std::array<ClassTokens, 4> table = {{
      {"LlamaTokenizer", {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}}},
      {"GemmaTokenizer",
       {{"bos_token", "<bos>"},
        {"eos_token", "<eos>"},
        {"unk_token", "<unk>"},
        {"pad_token", "<pad>"},
        {"mask_token", "<mask>"}}},
      {"Qwen2Tokenizer",
       {{"eos_token", "<|endoftext|>"},
        {"unk_token", "<|endoftext|>"},
        {"pad_token", "<|endoftext|>"}}},
      {"GPT2Tokenizer",
       {{"bos_token", "<|endoftext|>"},
        {"eos_token", "<|endoftext|>"},
        {"unk_token", "<|endoftext|>"}}},
  }};
  return table;
}

// Gives tokens their ids as the reference does when they are added one after the other: the id that
// the text has already, else the next free one.
class Adder {
 public:
  Adder(const std::vector<AddedToken>& own, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary), next_(vocabulary.size()) {
    for (const AddedToken& token : own) add(token, token.id);
  }

  // The id of `content`, or nullopt where it has none yet.
  std::optional<TokenId> find(const std::string& content) const {
    if (const auto at = places_.find(content); at != places_.end()) return tokens_[at->second].id;
    return vocabulary_.find(content);
  }
  bool is_added(const std::string& content) const { return places_.contains(content); }
  std::int64_t next() const { return next_; }

  // A token that is there already takes the marks of this one, but once special it stays so.
  void add(AddedToken token, std::int64_t id) {
    if (token.content.empty()) return;
    token.id = static_cast<TokenId>(id);
    next_ = std::max(next_, id + 1);
    const auto [at, is_new] = places_.emplace(token.content, tokens_.size());
    if (is_new) {
      tokens_.push_back(std::move(token));
    } else {
      token.special = token.special || tokens_[at->second].special;
      tokens_[at->second] = std::move(token);
    }
  }
  std::vector<AddedToken> take() { return std::move(tokens_); }

 private:
  const Vocabulary& vocabulary_;
  std::int64_t next_;
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> places_;
};

// What the files call the tokenizer's tokens, and what its class does where they are silent.
std::vector<NamedToken> all_named(const OwnTokenizer& own, const SideFiles& side) {
  std::vector<NamedToken> named = side.named();
  const auto is_named = [&](const char* key) {
    return std::any_of(named.begin(), named.end(),
                       [&](const NamedToken& token) { return token.name == key; });
  };
  for (const ClassTokens& defaults : class_tokens()) {
    if (own.tokenizer_class != defaults.tokenizer_class) continue;
    for (const auto& [key, content] : defaults.tokens) {
      // One that the vocabulary lacks would be a token beyond the model's.
      const bool known = own.parts.model->vocabulary().find(content).has_value() ||
                         std::any_of(own.added.begin(), own.added.end(),
                                     [&](const AddedToken& t) { return t.content == content; });
      if (!known || is_named(key)) continue;
      named.push_back(
          {key, {.content = content, .special = true, .normalized = false}, own.tokenizer_class});
    }
  }
  return named;
}

// The tokens to add in their order: those with an id, the named ones, the extra ones.
std::vector<NamedToken> tokens_to_add(const OwnTokenizer& own, const SideFiles& side,
                                      const std::vector<NamedToken>& named) {
  std::vector<NamedToken> tokens = side.added();
  std::unordered_map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < tokens.size(); ++i) known.emplace(tokens[i].token.content, i);
  for (const AddedToken& token : own.added) {
    const auto [at, is_new] = known.emplace(token.content, tokens.size());
    // Without added_tokens_decoder the list of tokenizer.json takes its place: its marks count, but
    // a token that is named is special.
    if (!own.has_added_list || side.has_decoder()) continue;
    if (is_new) {
      tokens.push_back({"", token, own.source});
    } else if (tokens[at->second].token.id == token.id) {
      tokens[at->second].token = token;
    }
  }
  std::unordered_set<std::string> names;
  for (const NamedToken& token : named) {
    names.insert(token.token.content);
    if (known.emplace(token.token.content, tokens.size()).second) tokens.push_back(token);
  }
  for (const NamedToken& token : side.extra()) {
    if (known.emplace(token.token.content, tokens.size()).second) tokens.push_back(token);
  }
  for (NamedToken& token : tokens) {
    if (names.contains(token.token.content)) token.token.special = true;
  }
  return tokens;
}

std::int64_t id_for(const OwnTokenizer& own, const Adder& adder, const NamedToken& token) {
  const std::string& content = token.token.content;
  const std::int64_t said = token.token.id;
  const std::optional<TokenId> has = adder.find(content);
  const std::optional<std::string_view> there =
      said < 0 ? std::nullopt : own.parts.model->vocabulary().token(token.token.id);
  if (!has && there && own.fills_placeholders) return said;
  const std::int64_t id = has ? *has : adder.next();
  if (said >= 0 && id != said) {
    throw core::FormatError(core::concat(
        token.from, ": the added token '", content, "' has the id ", said, ", but by ", own.source,
        " it is ", id, there ? core::concat(" (", said, " is '", *there, "')") : std::string(),
        "; make the two files agree, or remove the one that is out of date"));
  }
  if (id > kMaxTokenId)
    throw core::FormatError(core::concat(token.from, ": too many added tokens"));
  return id;
}

std::vector<AddedToken> complete_added_tokens(const OwnTokenizer& own, const SideFiles& side,
                                              const std::vector<NamedToken>& named,
                                              std::vector<std::string>& notes) {
  Adder adder(own.added, own.parts.model->vocabulary());
  const bool is_llama = own.has_added_list && own.tokenizer_class == "LlamaTokenizer";
  std::vector<std::string> added;
  std::string from;
  for (NamedToken& token : tokens_to_add(own, side, named)) {
    if (token.token.content.empty()) continue;
    const bool is_new = !adder.find(token.token.content).has_value();
    // LlamaTokenizer has no normalizer: it looks for every added token in the text as it is.
    if (is_llama && !adder.is_added(token.token.content)) token.token.normalized = false;
    const std::int64_t id = id_for(own, adder, token);
    adder.add(token.token, id);
    if (!is_new) continue;
    added.push_back(core::concat("'", token.token.content, "'"));
    from = token.from;
  }
  if (is_llama && own.prepends && !added.empty()) {
    constexpr std::size_t kShown = 6;
    const std::size_t left = added.size() - std::min(added.size(), kShown);
    added.resize(std::min(added.size(), kShown));
    notes.push_back(core::concat(
        own.source, " lacks the added tokens ", core::join(added, ", "),
        left > 0 ? core::concat(" and ", left, " more") : std::string(), " of ", from,
        ": each is one id here, as in transformers; but the text behind them is tokenised as the "
        "former says, with '\xE2\x96\x81' in front, where transformers' LlamaTokenizer puts none"));
  }
  return adder.take();
}

std::optional<TokenId> first_below(const std::vector<std::int64_t>& ids, std::int64_t size) {
  for (const std::int64_t id : ids) {
    if (id < size) return static_cast<TokenId>(id);
  }
  return std::nullopt;
}

// The id of what the files call `name`_token. EOS and padding that no file names are those of the
// model's own files; one that is named "none" stays so.
std::optional<TokenId> special_id(const Tokenizer& tokenizer, const std::vector<NamedToken>& named,
                                  const SideFiles& side, const std::string& name,
                                  std::optional<TokenId> own) {
  for (const NamedToken& token : named) {
    if (token.name != name + "_token") continue;
    if (token.token.content.empty()) return std::nullopt;
    const std::optional<TokenId> id = tokenizer.token_to_id(token.token.content);
    const std::optional<std::int64_t> rows = side.model_rows();
    if (name != "pad" && id && rows && *id >= *rows) {
      throw core::FormatError(
          core::concat(token.from, ": the ", token.name, " '", token.token.content,
                       "' is not in the vocabulary: "
                       "its id would be ",
                       *id, ", and config.json gives the model ", *rows, " tokens"));
    }
    return id;
  }
  if (own || name == "bos") return own;
  const std::string key = name + "_token_id";
  if (const auto id = first_below(side.generation_ids(key.c_str()), tokenizer.vocab_size()))
    return id;
  return first_below(side.config_ids(key.c_str()), tokenizer.vocab_size());
}

std::vector<TokenId> end_ids(const Tokenizer& tokenizer, const SideFiles& side) {
  std::vector<TokenId> ids;
  const auto add = [&](std::int64_t id) {
    if (id <= kMaxTokenId && std::find(ids.begin(), ids.end(), id) == ids.end())
      ids.push_back(static_cast<TokenId>(id));
  };
  if (tokenizer.eos_id) add(*tokenizer.eos_id);
  for (const std::int64_t id : side.has_generation_config() ? side.generation_ids("eos_token_id")
                                                            : side.config_ids("eos_token_id")) {
    add(id);
  }
  return ids;
}

}  // namespace

std::shared_ptr<Tokenizer> assemble(OwnTokenizer own, const SideFiles& side) {
  const std::vector<NamedToken> named = all_named(own, side);
  std::vector<std::string> notes;
  if (!own.note.empty()) notes.push_back(own.note);
  own.parts.added =
      AddedTokens(complete_added_tokens(own, side, named, notes), own.parts.normalizer.get());
  const auto made = std::make_shared<PipelineTokenizer>(std::move(own.parts));
  made->bos_id = special_id(*made, named, side, "bos", own.bos_id);
  made->eos_id = special_id(*made, named, side, "eos", own.eos_id);
  made->pad_id = special_id(*made, named, side, "pad", own.pad_id);
  if (!own.has_post_processor) {
    std::vector<TokenId> prefix, suffix;
    if (made->bos_id && side.flag("add_bos_token").value_or(own.adds_bos)) prefix = {*made->bos_id};
    if (made->eos_id && side.flag("add_eos_token").value_or(false)) suffix = {*made->eos_id};
    made->surround(std::move(prefix), std::move(suffix));
  }
  made->end_ids = end_ids(*made, side);
  for (const NamedToken& token : named) {
    if (!token.token.content.empty())
      made->named_tokens.emplace_back(token.name, token.token.content);
  }
  made->notes = std::move(notes);
  return made;
}

}  // namespace corda::tokenizer
