// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <corda/core/error.h>
#include <corda/decompose/decompose.h>
#include <corda/tokenizer/tokenizer.h>

#include <cstdio>

int main(int argc, char** argv) {
  corda::decompose::DecomposeSettings settings;
  const auto list = corda::decompose::settings_of(settings);
  try {
    const auto tokenizer = corda::tokenizer::load_tokenizer(argc > 1 ? argv[1] : "nowhere");
    std::printf("%zu settings, %zu tokens\n", list.items().size(),
                tokenizer->encode("hello there").size());
    return 0;
  } catch (const corda::core::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
