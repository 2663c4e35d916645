// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "quant/quantisation_config.h"

#include <algorithm>
#include <array>

#include "corda/core/error.h"

namespace corda::quant {

using core::concat;
using core::Json;

namespace {

constexpr std::array kMethods = {"bitsandbytes", "fp8", "compressed-tensors", "gptq", "awq"};
// The values of `format` that compressed-tensors writes.
constexpr std::array kFormats = {"dense",         "float-quantized", "naive-quantized",
                                 "int-quantized", "pack-quantized",  "mixed-precision"};

template <std::size_t N>
bool among(const std::array<const char*, N>& known, const std::string& word) {
  return std::find(known.begin(), known.end(), word) != known.end();
}

std::string word_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_string() ? "" : found->get<std::string>();
}

}  // namespace

std::string why_not_read(const Json& config) {
  const std::string method = config.is_object() ? word_of(config, "quant_method") : "";
  const std::string name = method.empty() ? config.dump().substr(0, 80) : method;
  if (!among(kMethods, method)) {
    return concat("weights quantised by '", name,
                  "' are not read (bitsandbytes, fp8, compressed-tensors, gptq and awq are); use "
                  "the model in 16 bits");
  }
  const std::string format = word_of(config, "format");
  if (method == "compressed-tensors" && !format.empty() && !among(kFormats, format)) {
    return concat("weights quantised by 'compressed-tensors' in the format '", format,
                  "' are not read; use the model in 16 bits");
  }
  return "";
}

}  // namespace corda::quant
