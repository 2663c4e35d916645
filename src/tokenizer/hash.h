// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Hash functions and open-addressing tables of the hot paths.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace corda::tokenizer {

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_bytes(std::string_view text) {
  constexpr std::uint64_t kA = 0x9E3779B97F4A7C15;
  constexpr std::uint64_t kB = 0xD6E8FEB86659FD93;
  std::uint64_t state = kA ^ (text.size() * kB);
  const char* data = text.data();
  std::size_t left = text.size();
  for (; left >= 8; left -= 8, data += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    state = mix(state ^ word, kB);
  }
  if (left > 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, left);
    state = mix(state ^ word, kA);
  }
  return mix(state, kA);
}

// A fixed table from pairs of ids to values; built once, read often.
template <typename Value>
class PairMap {
 public:
  explicit PairMap(std::size_t expected = 0)
      : slots_(std::bit_ceil(expected * 2 + 16)), mask_(slots_.size() - 1) {}

  // Inserts or overwrites.
  void set(std::uint32_t left, std::uint32_t right, const Value& value) {
    Slot& slot = slots_[locate(key_of(left, right))];
    slot.key = key_of(left, right);
    slot.value = value;
  }
  const Value* find(std::uint32_t left, std::uint32_t right) const {
    const Slot& slot = slots_[locate(key_of(left, right))];
    return slot.key == kEmpty ? nullptr : &slot.value;
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kEmpty;
    Value value{};
  };
  static std::uint64_t key_of(std::uint32_t left, std::uint32_t right) {
    return (std::uint64_t{left} << 32) | right;
  }
  std::size_t locate(std::uint64_t key) const {
    std::size_t at = static_cast<std::size_t>(mix(key, 0x9E3779B97F4A7C15)) & mask_;
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask_;
    return at;
  }

  std::vector<Slot> slots_;
  std::size_t mask_;
};

}  // namespace corda::tokenizer
