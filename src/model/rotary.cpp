// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "corda/model/model.h"

namespace corda::model {

namespace {

// theta^(2i / dims), in fp32, as the models were trained.
float power_of(double theta, std::int64_t i, std::int64_t dims) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
  return std::pow(static_cast<float>(theta), exponent);
}

template <typename Frequency>
at::Tensor table(const RotaryDescription& rope, Frequency frequency) {
  at::Tensor result = at::empty({rope.dims / 2}, at::kFloat);
  auto* values = result.data_ptr<float>();
  for (std::int64_t i = 0; i < rope.dims / 2; ++i) values[i] = static_cast<float>(frequency(i));
  return result;
}

// Llama 3.1 divides low frequencies by the factor, with a smooth blend between the bands.
double llama3_frequency(const RotaryDescription& rope, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const auto original = static_cast<double>(rope.original_positions);
  if (wavelength > original / rope.low_freq_factor) return frequency / rope.factor;
  if (wavelength < original / rope.high_freq_factor) return frequency;
  const double smooth = (original / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

// Peng et al. 2023, section 3.2: dimensions that turn less than `beta_slow` times over the original
// positions are stretched, those that turn more than `beta_fast` times are not.
struct YarnRamp {
  double low;
  double high;

  explicit YarnRamp(const RotaryDescription& rope) {
    const auto dims = static_cast<double>(rope.dims);
    const auto dimension_of = [&](double turns) {
      const auto original = static_cast<double>(rope.original_positions);
      return dims * std::log(original / (turns * 2 * std::numbers::pi)) /
             (2 * std::log(rope.theta));
    };
    low = dimension_of(rope.beta_fast);
    high = dimension_of(rope.beta_slow);
    if (rope.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, dims - 1);
    if (low == high) high += 0.001;  // as transformers keeps the division defined
  }
  double stretched(std::int64_t i) const {
    return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  }
};

at::Tensor longrope_table(const RotaryDescription& rope, const std::vector<double>& factors) {
  return table(rope, [&](std::int64_t i) {
    return 1.0F / (static_cast<float>(factors[static_cast<std::size_t>(i)]) *
                   power_of(rope.theta, i, rope.dims));
  });
}

}  // namespace

RotaryFrequencies rotary_frequencies(const RotaryDescription& rope) {
  const auto plain = [&](std::int64_t i) {
    return static_cast<double>(1.0F / power_of(rope.theta, i, rope.dims));
  };
  switch (rope.type) {
    case RopeType::kDefault:
    case RopeType::kDynamic:
      return {table(rope, plain), {}};
    case RopeType::kLinear:
      return {table(rope, [&](std::int64_t i) { return plain(i) / rope.factor; }), {}};
    case RopeType::kLlama3:
      return {table(rope, [&](std::int64_t i) { return llama3_frequency(rope, plain(i)); }), {}};
    case RopeType::kYarn: {
      const YarnRamp ramp(rope);
      return {table(rope,
                    [&](std::int64_t i) {
                      const double share = ramp.stretched(i);
                      return plain(i) / rope.factor * share + plain(i) * (1 - share);
                    }),
              {}};
    }
    case RopeType::kLongrope:
      return {longrope_table(rope, rope.short_factors), longrope_table(rope, rope.long_factors)};
  }
  return {};
}

at::Tensor frequencies_for(const RotaryDescription& rope, const RotaryFrequencies& frequencies,
                           std::int64_t length) {
  if (!rope.depends_on_length() || length <= rope.original_positions) return frequencies.usual;
  if (rope.type == RopeType::kLongrope) return frequencies.beyond;
  // Dynamic scaling lets theta grow with the length, so that the lowest frequency stretches by the
  // factor.
  RotaryDescription stretched = rope;
  const auto dims = static_cast<double>(rope.dims);
  const double ratio = static_cast<double>(length) / static_cast<double>(rope.original_positions);
  stretched.theta =
      rope.theta * std::pow(rope.factor * ratio - (rope.factor - 1), dims / (dims - 2));
  stretched.type = RopeType::kDefault;
  return rotary_frequencies(stretched).usual.to(frequencies.usual.device());
}

}  // namespace corda::model
