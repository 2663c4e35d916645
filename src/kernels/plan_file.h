// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which algorithms are the fastest for matrix products, kept on disk. One file for each GPU and
// version of its libraries, `gemm-HASH.json`: {"version", "made_for", "plans", "sha256"}; a plan is
// the numbers of its key and the algorithm in hexadecimal digits, the hash is that of the plans.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "kernels/plan_key.h"

namespace corda::kernels {

// cuBLASLt's description of an algorithm, which holds for the version that made it.
using StoredAlgorithm = std::array<std::uint8_t, 64>;
using StoredPlans = std::map<PlanKey, StoredAlgorithm>;

// `made_for` says which GPU and which versions the plans are of.
std::filesystem::path plan_file(const std::filesystem::path& directory,
                                const std::string& made_for);

// What is kept; nothing where there is no such file, or one that is damaged, of another format or
// made for something else. Such a file is written anew by `keep_plans`.
StoredPlans read_plans(const std::filesystem::path& directory, const std::string& made_for);

// Adds to what is kept, and replaces what is there of the same key. Makes the directory. Where two
// processes do so at once, the plans of one may be lost, no more. Throws ResourceError.
void keep_plans(const std::filesystem::path& directory, const std::string& made_for,
                const StoredPlans& plans);

}  // namespace corda::kernels
