// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Whether memory and disk have room for what a verb is about to do. A need is what is certain to be
// taken: who is refused could not have finished.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace corda::core {

// Bytes of the machine's memory that this process can still get: what the kernel counts as
// available, and free swap, within what its control groups and `ulimit -v` leave. The largest
// number where the kernel says nothing. `root`: where proc/ and sys/ are looked for.
std::int64_t available_memory_bytes(const std::filesystem::path& root = "/");

// Throws ResourceError where `bytes` are more than the `free` ones of `memory`: "WHAT needs 35.18
// TB, and MEMORY has 23.1 GB free; ADVICE".
void require_memory(const std::string& what, std::int64_t bytes, const std::string& memory,
                    std::int64_t free, const std::string& advice);

// Throws ResourceError where the file system of `path`, which need not be there yet, has fewer than
// `bytes` free: "'PATH' needs 17.59 TB for WHAT, and its disk has 48.31 GB free; ...", without the
// purpose where `what` is empty.
void require_disk_space(const std::filesystem::path& path, std::int64_t bytes,
                        const std::string& what);

// The free bytes of the file system of `path`; the largest number where that cannot be told.
std::int64_t free_disk_bytes(const std::filesystem::path& path);

}  // namespace corda::core
