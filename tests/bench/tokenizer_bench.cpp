// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Encodes the lines of a file and prints seconds and a hash of the ids, for
// scripts/bench/tokenizer.py: tokenizer_bench MODEL_DIRECTORY TEXT_FILE THREADS
#include <chrono>
#include <cstdio>
#include <exception>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "corda/tokenizer/tokenizer.h"

namespace {

void run(const char* directory, const char* file, std::int64_t threads) {
  using Clock = std::chrono::steady_clock;
  const auto tokenizer = corda::tokenizer::load_tokenizer(directory);
  const std::vector<std::string> lines = corda::core::split(corda::core::read_file(file), '\n');
  const auto begin = Clock::now();
  std::vector<std::vector<corda::tokenizer::TokenId>> ids =
      corda::tokenizer::encode_batch(*tokenizer, lines, threads);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  corda::core::Sha256 hash;
  for (std::vector<corda::tokenizer::TokenId>& row : ids) {
    row.push_back(-1);
    hash.update(std::as_bytes(std::span(row)));
  }
  std::printf("{\"seconds\": %.6f, \"sha256\": \"%s\"}\n", seconds, hash.hex_digest().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: tokenizer_bench MODEL_DIRECTORY TEXT_FILE THREADS\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], corda::core::parse_int(argv[3]).value_or(0));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
