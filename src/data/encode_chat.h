// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A conversation as token ids with a loss mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/data/sample.h"
#include "data/chat_template.h"
#include "data/conversation.h"

namespace corda::data {

struct EncodedChat {
  Sample sample;
  std::vector<std::int64_t> borders;  // tokens at which text of another origin begins; where wanted
  bool eos_appended = false;
  bool empty_answer = false;  // a message that is learnt has neither text nor calls
  // The first message that says something and of which the template shows nothing.
  std::optional<std::size_t> hidden_message;
};

// The ids of the whole rendering as transformers' apply_chat_template(tokenize=True) gives them,
// but that special tokens written out in the text of messages or tools stay text; none are added at
// the front. Supervised are, for `train_on` "assistant", the turns of the assistant; "last", the
// last of them; "all", everything; each message's own `train` goes before that, and of a prompt
// that is a list of its own nothing is learnt but with "all". What a turn is comes from the
// template's generation marks, else from rendering the conversation up to the turn and to its end,
// both of which must be beginnings of the whole; before a user has spoken, from the generation
// prompt in front of the message's text. A token that reaches into a turn from before it belongs to
// it, as in transformers. The special token that ends a turn is supervised; where the last turn
// ends without one, EOS is appended. Throws FormatError where the template raises, where a turn
// cannot be told from its surroundings, and where template text and message text are blended into
// what reads as a special token.
EncodedChat encode_chat(const tokenizer::Tokenizer& tokenizer, const ChatTemplate& chat,
                        const Conversation& conversation, const std::string& train_on,
                        bool with_borders = false);

// What a model goes on from: the whole conversation's rendering with the beginning of an answer
// behind it, as ids of the same kind. The answer's first words are `begun`; a template that changes
// what follows a message does not see that this one has no end. Throws FormatError where the
// template does not show them.
std::vector<TokenId> encode_chat_prompt(const tokenizer::Tokenizer& tokenizer,
                                        const ChatTemplate& chat, const Conversation& conversation,
                                        const std::string& begun = {});

}  // namespace corda::data
