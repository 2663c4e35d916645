// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The covariance directory: manifest.json and one safetensors file a site. Reader and writer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "corda/core/config_node.h"
#include "corda/core/file.h"
#include "corda/io/safetensors.h"

namespace corda::io {

namespace fs = std::filesystem;

// full: C [in, in]. packed: its lower triangle row by row, [in (in + 1) / 2]. Both fp32.
enum class CovarianceStorage { kFull, kPacked };

// Throws ConfigError for a word other than "full" and "packed".
CovarianceStorage covariance_storage_of(const std::string& name);

// One input of linear layers: modules that see the same activations share a covariance.
struct CovarianceSite {
  std::int64_t in_features = 0;
  std::vector<std::string> modules;  // full names, without ".weight"
  std::int64_t tokens = 0;           // that the site saw
  CovarianceStorage storage = CovarianceStorage::kPacked;
  std::string file;  // in the directory; the tensor in it is named as the site
};

struct CovarianceManifest {
  std::string model;  // fingerprint (Checkpoint::fingerprint)
  std::string model_name;
  std::int64_t tokens = 0;
  std::int64_t samples = 0;
  std::string activation_scaling;  // reference | none
  bool centered = false;           // of inputs whose mean was taken off
  bool of_gradients = false;       // Gram matrices of gradients (covariance/gradients.h) instead
  core::ConfigNode settings;       // of the calibration, resolved
  std::map<std::string, CovarianceSite> sites;
};

// The symmetric C [n, n] whose lower triangle row by row is `packed` [n (n + 1) / 2]
// (kernels::pack_lower). fp32 on the CPU. Throws ShapeError where the size is not that of a
// triangle of order n.
at::Tensor unpack_lower(const at::Tensor& packed, std::int64_t n);

// Writes a covariance directory one site at a time; it appears under its name only at `finish`, the
// manifest being written last.
class CovarianceWriter {
 public:
  // Throws ConfigError where `directory` exists and is not empty. With `work`, an existing folder
  // on the same file system, each site's file is complete there as soon as it is added, and stays
  // there until the folder is removed (core::link_or_move).
  CovarianceWriter(const fs::path& directory, CovarianceStorage storage, fs::path work = {});

  CovarianceStorage storage() const { return storage_; }

  // `stored`: C [in, in] where the storage is full, its lower triangle [in (in + 1) / 2]
  // (kernels::pack_lower) where it is packed; any device and floating type, stored as fp32. Throws
  // InternalError for a name that was added before or cannot name a file, ShapeError for another
  // shape, ResourceError on a full disk.
  void add(const std::string& site, const std::vector<std::string>& modules, std::int64_t tokens,
           const at::Tensor& stored);
  // Whether `site` is complete in `work`; and `adopt`, which takes it from there instead of adding
  // it.
  bool has(const std::string& site) const;
  void adopt(const std::string& site, const std::vector<std::string>& modules, std::int64_t tokens);
  // A folder for further files of the directory (resolved settings).
  const fs::path& staging() const { return directory_.staging(); }
  // `manifest.sites` is filled in from what was added.
  void finish(CovarianceManifest manifest);

 private:
  void note(const std::string& site, const std::vector<std::string>& modules, std::int64_t tokens,
            std::int64_t in_features);

  core::AtomicDirectory directory_;
  CovarianceStorage storage_;
  fs::path work_;
  std::map<std::string, CovarianceSite> sites_;
};

class CovarianceReader {
 public:
  // Reads the manifest only. Throws IoError, or FormatError naming the file and the key.
  explicit CovarianceReader(const fs::path& directory);

  const fs::path& directory() const { return directory_; }
  const CovarianceManifest& manifest() const { return manifest_; }
  // The site whose modules include `module`; "" where there is none.
  std::string site_of(const std::string& module) const;
  // C [in, in], fp32 on the CPU, whichever way it is stored. Throws FormatError where the file does
  // not hold what the manifest says.
  at::Tensor load(const std::string& site) const;
  // The same row by row: a function that writes the rows [begin, end) of the lower triangle of C to
  // a row-major buffer with `in_features` columns, and leaves the rest of the rows as it was. It
  // keeps the file open and may be called from any thread. Errors as `load`.
  std::function<void(std::int64_t begin, std::int64_t end, float* to)> lower_rows(
      const std::string& site) const;
  // SHA-256 over the manifest's bytes and 16 KiB of every site's tensor.
  std::string fingerprint() const;

 private:
  // The site's file, checked against the manifest.
  std::shared_ptr<const SafetensorsFile> open(const std::string& site) const;

  fs::path directory_;
  CovarianceManifest manifest_;
  std::map<std::string, std::string> site_of_module_;
};

// Throws ConfigError where the directory is of gradients.
void require_of_inputs(const CovarianceReader& covariance, const std::string& who);

// The same, and where the directory's covariances are centred. `who` needs them whole: it
// weighs changes of outputs by them, and a change that the mean of the inputs makes counts too.
void require_uncentred(const CovarianceReader& covariance, const std::string& who);

}  // namespace corda::io
