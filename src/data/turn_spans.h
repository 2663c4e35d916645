// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which bytes of a rendered conversation are the turns to be learnt.
#pragma once

#include <cstddef>
#include <vector>

#include "data/chat_template.h"
#include "data/conversation.h"

namespace corda::data {

// `wanted`: indices of messages, ascending. The spans are ascending and apart; see encode_chat.
std::vector<tokenizer::ByteSpan> turn_spans(const tokenizer::Tokenizer& tokenizer,
                                            const ChatTemplate& chat,
                                            const Conversation& conversation,
                                            const jinja::Rendering& full,
                                            const std::vector<std::size_t>& wanted);

}  // namespace corda::data
