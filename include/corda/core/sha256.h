// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// SHA-256 (FIPS 180-4), for fingerprints of models and covariances.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace corda::core {

class Sha256 {
 public:
  Sha256();
  Sha256& update(std::span<const std::byte> data);
  Sha256& update(std::string_view text);
  // The digest as 64 lower-case hexadecimal digits. The object must not be used afterwards.
  std::string hex_digest();

 private:
  void block(const std::uint8_t* data);

  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> buffer_{};
  std::size_t buffered_ = 0;
  std::uint64_t total_ = 0;
};

// Adds four blocks of 4 KiB spread evenly over `bytes`: enough to tell tensors apart without
// reading them whole.
void hash_sample(Sha256& hash, std::span<const std::byte> bytes);

}  // namespace corda::core
