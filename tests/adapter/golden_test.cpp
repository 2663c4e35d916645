// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Subspaces, energies and starting factors against NumPy and SciPy.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "corda/adapter/initialise.h"
#include "corda/io/tensor.h"
#include "corda/linalg/spectrum.h"
#include "core/json.h"

namespace corda::adapter {
namespace {

// The reference values of tests/golden/corda, computed by NumPy and SciPy from the same fp32
// inputs.
TEST(InitialiseGolden, EnergiesAndDualDirectionsEqualNumpy) {
  const fs::path folder = fs::path(CORDA_SOURCE_DIR) / "tests/golden/corda";
  const io::SafetensorsFile inputs(folder / "inputs.safetensors");
  const io::SafetensorsFile expected(folder / "expected.safetensors");
  const core::Json numbers = core::read_json(folder / "expected.json");
  const auto rank = numbers["rank"].get<std::int64_t>();
  std::int64_t cases = 0;
  for (const auto& [name, entry] : numbers["cases"].items()) {
    SCOPED_TRACE(name);
    ++cases;
    const std::string shape = name.substr(0, name.find('.'));
    const at::Tensor w = io::view_tensor(inputs, shape + ".weight").to(at::kDouble);
    const at::Tensor damped = linalg::damp(io::view_tensor(inputs, name + ".covariance"),
                                           numbers["damping"].get<double>());
    EXPECT_TRUE(at::allclose(damped.diagonal(),
                             io::view_tensor(expected, name + ".damped_diagonal"), 1e-14, 0));
    const at::Tensor m = at::mm(w, damped);
    for (const auto& [which, key] : {std::pair(linalg::Which::kSmallest, "kpa_energy"),
                                     std::pair(linalg::Which::kLargest, "ipa_energy")}) {
      const auto u = linalg::left_singular_subspace(w, damped, rank, which);
      const double optimum = entry[key].get<double>();
      EXPECT_NEAR(at::linalg_norm(at::mm(u.vectors.t(), m)).item<double>(), optimum, 1e-6 * optimum)
          << key;
      EXPECT_NEAR(u.total, entry["total_energy"].get<double>(), 1e-12 * u.total);
    }
    const auto top =
        linalg::generalised_top(io::view_tensor(inputs, shape + ".task"), damped, rank);
    EXPECT_NEAR(top.total, entry["dual"]["total_energy"].get<double>(), 1e-7 * top.total);
    EXPECT_NEAR(top.values.sum().item<double>(), entry["dual"]["energy"].get<double>(),
                1e-7 * top.total);
    for (std::int64_t i = 0; i < rank; ++i) {
      const double value = entry["dual"]["eigenvalues"][static_cast<std::size_t>(i)].get<double>();
      EXPECT_NEAR(top.values[i].item<double>(), value, 1e-6 * value) << i;
    }
    const at::Tensor a = initialise_dual(top, 1).a.to(at::kDouble);
    EXPECT_LT((a - io::view_tensor(expected, name + ".dual_a")).abs().max().item<double>(),
              1e-5);  // fp32, gaps above 1.01
  }
  EXPECT_EQ(cases, 6);
}

}  // namespace
}  // namespace corda::adapter
