// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What single tasks do to the texts of their records, as lm-evaluation-harness does it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace corda::eval {

// hellaswag: without the marks of its WikiHow part.
std::string hellaswag_text(const std::string& text);

// webqs: sorted, without answers that begin with an earlier one: the shorter is enough.
std::vector<std::string> shortest_answers(std::vector<std::string> answers);

// wikitext: a page as it was before it was cut into words.
std::string wikitext_page(const std::string& page);

// wikitext in one text: the pages, each from its title, which stands between single equals signs.
std::vector<std::string> wikitext_pages(std::string_view text);

}  // namespace corda::eval
