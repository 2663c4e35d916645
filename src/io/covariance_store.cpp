// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/covariance_store.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <system_error>
#include <utility>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "corda/core/work_directory.h"
#include "corda/io/tensor.h"
#include "core/fields.h"
#include "core/json.h"

namespace corda::io {

using core::concat;
using core::ConfigNode;
using core::FormatError;
using core::Json;

namespace {

constexpr std::int64_t kVersion = 1;
// Programs that do not know of others than covariances of whole inputs would take one for that.
constexpr std::int64_t kOtherKindsVersion = 2;
constexpr const char* kManifest = "manifest.json";
constexpr std::int64_t kMaxFeatures = std::int64_t{1} << 24;

std::string file_of(const std::string& site) { return site + ".safetensors"; }

std::string to_string(CovarianceStorage storage) {
  return storage == CovarianceStorage::kFull ? "full" : "packed";
}

std::int64_t triangle(std::int64_t n) { return core::checked_mul(n, n + 1, "covariance") / 2; }

// The n of so many elements of a covariance [n, n] as it is stored; 0 where there is none.
std::int64_t order_of(std::int64_t elements, CovarianceStorage storage) {
  const bool packed = storage == CovarianceStorage::kPacked;
  const auto n =
      static_cast<std::int64_t>(std::sqrt(static_cast<double>(packed ? 2 * elements : elements)));
  return (packed ? triangle(n) : n * n) == elements ? n : 0;
}

Json to_json(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return nullptr;
    case ConfigNode::Kind::kScalar:
      if (node.text == "true" || node.text == "false") return node.text == "true";
      if (const auto integer = core::parse_int(node.text)) return *integer;
      if (const auto number = core::parse_double(node.text); number && std::isfinite(*number))
        return *number;
      return node.text;
    case ConfigNode::Kind::kList: {
      Json list = Json::array();
      for (const auto& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case ConfigNode::Kind::kMap: {
      Json map = Json::object();
      for (const auto& [key, value] : node.entries) map[key] = to_json(value);
      return map;
    }
  }
  throw core::InternalError("[io::covariance_store] a node of unknown kind");
}

ConfigNode from_json(const Json& value) {
  ConfigNode node;
  if (value.is_object()) {
    node.kind = ConfigNode::Kind::kMap;
    for (const auto& [key, entry] : value.items()) node.entries.emplace_back(key, from_json(entry));
  } else if (value.is_array()) {
    node.kind = ConfigNode::Kind::kList;
    for (const auto& entry : value) node.items.push_back(from_json(entry));
  } else if (!value.is_null()) {
    node = ConfigNode::scalar(value.is_string() ? value.get<std::string>() : value.dump());
  }
  return node;
}

CovarianceSite read_site(const core::Fields& fields) {
  CovarianceSite site;
  site.in_features = fields.integer("in_features", 1, kMaxFeatures);
  site.tokens = fields.integer("tokens", 0);
  const std::string storage = fields.text("storage");
  if (storage != "full" && storage != "packed")
    fields.fail(concat("'storage' must be full or packed; it is '", storage, "'"));
  site.storage = storage == "full" ? CovarianceStorage::kFull : CovarianceStorage::kPacked;
  site.file = fields.text("file");
  if (!core::can_name_file(site.file))
    fields.fail(concat("'file' must be a plain file name; it is '", site.file, "'"));
  site.modules = fields.texts("modules");
  if (site.modules.empty()) fields.fail("'modules' must be a non-empty list");
  return site;
}

}  // namespace

CovarianceStorage covariance_storage_of(const std::string& name) {
  if (name == "full") return CovarianceStorage::kFull;
  if (name == "packed") return CovarianceStorage::kPacked;
  throw core::ConfigError(concat("'storage' must be full or packed; it is '", name, "'"));
}

at::Tensor unpack_lower(const at::Tensor& packed, std::int64_t n) {
  if (n < 0 || packed.dim() != 1 || packed.numel() != triangle(n) ||
      packed.scalar_type() != at::kFloat || !packed.is_cpu()) {
    throw core::ShapeError(concat("a packed covariance of order ", n, " must be fp32 [",
                                  triangle(std::max<std::int64_t>(n, 0)), "] on the CPU; it is ",
                                  packed.sizes()));
  }
  constexpr std::int64_t kBlock = 64;  // keeps the transposed writes in the cache
  at::Tensor full = at::empty({n, n}, at::kFloat);
  const at::Tensor source = packed.contiguous();
  const float* from = source.const_data_ptr<float>();
  float* to = full.mutable_data_ptr<float>();
  for (std::int64_t block = 0; block < n; block += kBlock) {
    const std::int64_t end = std::min(block + kBlock, n);
    for (std::int64_t column_block = 0; column_block < end; column_block += kBlock) {
      for (std::int64_t row = block; row < end; ++row) {
        const float* line = from + row * (row + 1) / 2;
        const std::int64_t column_end = std::min(column_block + kBlock, row + 1);
        for (std::int64_t column = column_block; column < column_end; ++column) {
          to[row * n + column] = line[column];
          to[column * n + row] = line[column];
        }
      }
    }
  }
  return full;
}

CovarianceWriter::CovarianceWriter(const fs::path& directory, CovarianceStorage storage,
                                   fs::path work)
    : directory_(directory),
      storage_(storage),
      work_(work.empty() ? directory_.staging() : std::move(work)) {}

bool CovarianceWriter::has(const std::string& site) const {
  return fs::exists(work_ / file_of(site));
}

void CovarianceWriter::adopt(const std::string& site, const std::vector<std::string>& modules,
                             std::int64_t tokens) {
  const SafetensorsFile file(work_ / file_of(site));
  const std::int64_t elements =
      file.tensors().contains(site)
          ? file.tensors().at(site).bytes / static_cast<std::int64_t>(sizeof(float))
          : 0;
  const std::int64_t n = order_of(elements, storage_);
  if (n < 1) {
    throw FormatError(concat("'", file.path().string(), "' does not hold the covariance '", site,
                             "'; remove this folder and run the command again"));
  }
  note(site, modules, tokens, n);
}

void CovarianceWriter::note(const std::string& site, const std::vector<std::string>& modules,
                            std::int64_t tokens, std::int64_t in_features) {
  sites_[site] = {.in_features = in_features,
                  .modules = modules,
                  .tokens = tokens,
                  .storage = storage_,
                  .file = file_of(site)};
}

void CovarianceWriter::add(const std::string& site, const std::vector<std::string>& modules,
                           std::int64_t tokens, const at::Tensor& stored) {
  if (!core::can_name_file(site) || sites_.contains(site) || modules.empty()) {
    throw core::InternalError(concat("[io::CovarianceWriter::add] the site '", site,
                                     "' is there twice, has no layers or cannot name a file"));
  }
  const bool packed = storage_ == CovarianceStorage::kPacked;
  const std::int64_t n = order_of(stored.numel(), storage_);
  if (n < 1 || stored.dim() != (packed ? 1 : 2) || (!packed && stored.size(0) != n)) {
    throw core::ShapeError(concat("the covariance of '", site, "' must be ",
                                  packed ? "a lower triangle, packed" : "square", "; it is ",
                                  stored.sizes()));
  }
  save_tensors(work_ / file_of(site), {{site, stored.to(at::kCPU, at::kFloat)}});
  note(site, modules, tokens, n);
}

void CovarianceWriter::finish(CovarianceManifest manifest) {
  Json sites = Json::object();
  for (const auto& [name, site] : sites_) {
    sites[name] = {{"in_features", site.in_features},
                   {"modules", site.modules},
                   {"tokens", site.tokens},
                   {"storage", to_string(site.storage)},
                   {"file", site.file}};
  }
  Json root = {{"version", kVersion},
               {"model", manifest.model},
               {"model_name", manifest.model_name},
               {"tokens", manifest.tokens},
               {"samples", manifest.samples},
               {"activation_scaling", manifest.activation_scaling},
               {"settings", to_json(manifest.settings)},
               {"sites", std::move(sites)}};
  if (manifest.centered || manifest.of_gradients) root["version"] = kOtherKindsVersion;
  if (manifest.centered) root["centered"] = true;
  if (manifest.of_gradients) root["of_gradients"] = true;
  if (work_ != directory_.staging()) {
    for (const auto& [name, site] : sites_)
      core::link_or_move(work_ / site.file, directory_.staging() / site.file);
  }
  core::write_json(directory_.staging() / kManifest, root);
  directory_.commit();
}

CovarianceReader::CovarianceReader(const fs::path& directory) : directory_(directory) {
  const fs::path path = directory / kManifest;
  if (!fs::exists(path)) {
    throw core::IoError(
        concat("'", directory.string(),
               "' is not a covariance directory: ", core::why_absent(directory, kManifest),
               fs::exists(core::work_path(directory))
                   ? "; its calibration was not finished: the same corda calibrate goes on with it"
                   : "; make one with corda calibrate"));
  }
  const std::string source = concat("'", path.string(), "'");
  const Json root = core::read_json(path);
  const core::Fields fields(root, source);
  if (const std::int64_t version = fields.integer("version");
      version != kVersion && version != kOtherKindsVersion) {
    fields.fail(concat("version ", version,
                       " was written by another corda; this one reads versions ", kVersion, " and ",
                       kOtherKindsVersion));
  }
  manifest_.model = fields.text("model");
  manifest_.model_name = fields.has("model_name") ? fields.text("model_name") : "";
  manifest_.tokens = fields.integer("tokens", 0);
  manifest_.samples = fields.integer("samples", 0);
  manifest_.activation_scaling = fields.text("activation_scaling");
  manifest_.centered = fields.has("centered") && fields.boolean("centered");
  manifest_.of_gradients = fields.has("of_gradients") && fields.boolean("of_gradients");
  if (root.contains("settings")) manifest_.settings = from_json(root["settings"]);
  const Json& sites = fields.object("sites");
  if (sites.empty()) fields.fail("'sites' must be a non-empty object");
  for (const auto& [name, entry] : sites.items()) {
    CovarianceSite site = read_site(core::Fields(entry, concat(source, ": site '", name, "'")));
    for (const auto& module : site.modules) {
      if (!site_of_module_.emplace(module, name).second) {
        throw FormatError(concat(source, ": the layer '", module, "' stands in two sites"));
      }
    }
    manifest_.sites.emplace(name, std::move(site));
  }
}

std::string CovarianceReader::site_of(const std::string& module) const {
  const auto found = site_of_module_.find(module);
  return found == site_of_module_.end() ? std::string() : found->second;
}

std::shared_ptr<const SafetensorsFile> CovarianceReader::open(const std::string& name) const {
  const auto found = manifest_.sites.find(name);
  if (found == manifest_.sites.end())
    throw FormatError(concat("'", directory_.string(), "' has no site '", name, "'"));
  const CovarianceSite& site = found->second;
  auto file = std::make_shared<const SafetensorsFile>(directory_ / site.file);
  const auto tensor = file->tensors().find(name);
  const bool full = site.storage == CovarianceStorage::kFull;
  const std::vector<std::int64_t> shape = full ? std::vector{site.in_features, site.in_features}
                                               : std::vector{triangle(site.in_features)};
  if (tensor == file->tensors().end() || tensor->second.dtype != DType::kF32 ||
      tensor->second.shape != shape) {
    throw FormatError(concat(
        "'", file->path().string(), "' must hold '", name, "' F32 ", shape_string(shape),
        "; it holds ",
        tensor == file->tensors().end()
            ? std::string("no such tensor")
            : concat(to_string(tensor->second.dtype), " ", shape_string(tensor->second.shape))));
  }
  return file;
}

at::Tensor CovarianceReader::load(const std::string& name) const {
  const auto file = open(name);
  const CovarianceSite& site = manifest_.sites.at(name);
  const at::Tensor stored = view_tensor(*file, name);
  return site.storage == CovarianceStorage::kFull ? stored.clone()
                                                  : unpack_lower(stored, site.in_features);
}

std::function<void(std::int64_t, std::int64_t, float*)> CovarianceReader::lower_rows(
    const std::string& name) const {
  const auto file = open(name);
  const CovarianceSite& site = manifest_.sites.at(name);
  const bool full = site.storage == CovarianceStorage::kFull;
  return [file, full, name, n = site.in_features](std::int64_t begin, std::int64_t end, float* to) {
    const std::byte* from = file->data(name).data();
    for (std::int64_t row = begin; row < end; ++row, to += n) {
      const std::int64_t first = full ? row * n : row * (row + 1) / 2;
      std::memcpy(to, from + static_cast<std::size_t>(first) * sizeof(float),
                  static_cast<std::size_t>(row + 1) * sizeof(float));
    }
  };
}

std::string CovarianceReader::fingerprint() const {
  core::Sha256 hash;
  hash.update(core::read_file(directory_ / kManifest));
  for (const auto& [name, site] : manifest_.sites) {
    const SafetensorsFile file(directory_ / site.file);
    core::hash_sample(hash, file.data(name));
  }
  return "sha256-sampled:" + hash.hex_digest();
}

void require_of_inputs(const CovarianceReader& covariance, const std::string& who) {
  if (!covariance.manifest().of_gradients) return;
  throw core::ConfigError(concat(
      "'", covariance.directory().string(), "' is of gradients, and ", who,
      " needs the covariance of inputs; give one that corda calibrate made without --of gradients "
      "(decompose --mode dual takes gradients, as --task-covariance)"));
}

void require_uncentred(const CovarianceReader& covariance, const std::string& who) {
  require_of_inputs(covariance, who);
  if (!covariance.manifest().centered) return;
  throw core::ConfigError(concat(
      "the covariance '", covariance.directory().string(),
      "' is centred, so it does not know what the mean of the inputs does, which counts for ", who,
      "; give one that corda calibrate made without --center"));
}

}  // namespace corda::io
