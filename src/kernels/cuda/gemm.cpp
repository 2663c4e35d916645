// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "kernels/cuda/gemm.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <cublasLt.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/error.h"
#include "core/round_up.h"
#include "kernels/cuda/plan_table.h"

namespace corda::kernels::cuda {

namespace {

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw core::ResourceError(
      core::concat("cuBLASLt: ", call, " gave status ", static_cast<int>(status)));
}

template <auto Destroy>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Destroy(pointer);
  }
};
using Description =
    std::unique_ptr<cublasLtMatmulDescOpaque_t, Deleter<&cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Deleter<&cublasLtMatrixLayoutDestroy>>;
using Preference =
    std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Deleter<&cublasLtMatmulPreferenceDestroy>>;

cudaDataType_t type_of(const at::Tensor& x) {
  if (x.scalar_type() == at::kFloat8_e4m3fn) return CUDA_R_8F_E4M3;
  return x.scalar_type() == at::kFloat ? CUDA_R_32F : CUDA_R_16BF;
}

// cuBLAS counts columns first, so a row-major matrix is its own transpose there, and the product
// d = a b is asked for as d^T = b^T a^T.
struct Operand {
  Layout layout;
  cublasOperation_t operation = CUBLAS_OP_N;
};

Layout make_layout(const at::Tensor& x, std::int64_t fast, std::int64_t slow, std::int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type_of(x), static_cast<std::uint64_t>(fast),
                                   static_cast<std::uint64_t>(slow), std::max(stride, fast)),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

Operand operand_of(const at::Tensor& x) {
  const bool row_major = x.size(1) <= 1 || x.stride(1) == 1;
  if (row_major) return {make_layout(x, x.size(1), x.size(0), x.stride(0)), CUBLAS_OP_N};
  return {make_layout(x, x.size(0), x.size(1), x.stride(1)), CUBLAS_OP_T};
}

void set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t key, const auto& value) {
  check(cublasLtMatmulDescSetAttribute(description, key, &value, sizeof(value)),
        "cublasLtMatmulDescSetAttribute");
}

// Of the product b^T a^T, so that a's factors are those of cuBLAS's second operand.
void set_float8(cublasLtMatmulDesc_t description, const Float8Scales& scales) {
  set(description, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{1});
  if (scales.a == nullptr) return;
  const std::int32_t mode = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
  set(description, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
  set(description, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
  set(description, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scales.b);
  set(description, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scales.a);
}

Description describe(const Operand& first, const Operand& second, const Float8Scales* scales) {
  cublasLtMatmulDesc_t raw = nullptr;
  check(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Description description(raw);
  set(raw, CUBLASLT_MATMUL_DESC_TRANSA, first.operation);
  set(raw, CUBLASLT_MATMUL_DESC_TRANSB, second.operation);
  if (scales != nullptr) set_float8(raw, *scales);
  return description;
}

// A handle of ours for each device, as long as the program runs: with LibTorch's comes a workspace
// for every stream, which is kept.
cublasLtHandle_t handle_of(c10::DeviceIndex device) {
  static std::mutex mutex;  // guards the handles
  static std::map<c10::DeviceIndex, cublasLtHandle_t> handles;
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device];
  if (handle == nullptr) check(cublasLtCreate(&handle), "cublasLtCreate");
  return handle;
}

// The largest power of two, up to 256, that divides an address.
std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  std::uint32_t alignment = 256;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

// d = alpha a b + beta c.
struct Request {
  const at::Tensor& d;
  const at::Tensor& a;
  const at::Tensor& b;
  const at::Tensor& c;
  float alpha;
  float beta;
  const Float8Scales* scales = nullptr;  // of operands in float8
};

// A request in the form in which cuBLASLt is told of it.
struct Product : Request {
  explicit Product(const Request& request);

  // The `most` best algorithms for it, as cuBLASLt expects; at least one.
  std::vector<cublasLtMatmulHeuristicResult_t> proposals(int most) const;
  // Whether `algo`, chosen for another product, can do this one.
  bool allows(const cublasLtMatmulAlgo_t& algo) const;
  // Runs the product on the current stream into `result`, which is laid out like d.
  cublasStatus_t run(const cublasLtMatmulAlgo_t& algo, void* result) const;

  Operand first;
  Operand second;
  Layout in;
  Layout out;
  Description description;
  cublasLtHandle_t handle;
  at::Tensor workspace;
};

Product::Product(const Request& request)
    : Request(request),
      first(operand_of(b)),
      second(operand_of(a)),
      in(make_layout(c, c.size(1), c.size(0), c.stride(0))),
      out(make_layout(d, d.size(1), d.size(0), d.stride(0))),
      description(describe(first, second, scales)),
      handle(handle_of(d.device().index())),
      workspace(at::empty({static_cast<std::int64_t>(at::cuda::getCUDABlasLtWorkspaceSize())},
                          d.options().dtype(at::kByte))) {}

std::vector<cublasLtMatmulHeuristicResult_t> Product::proposals(int most) const {
  cublasLtMatmulPreference_t raw = nullptr;
  check(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
  const Preference preference(raw);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t key, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(raw, key, &value, sizeof(value)),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace.nbytes());
  // A product that is split over k must not be summed in 16 bits; one in float8 is not split.
  const auto reductions =
      scales == nullptr ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_NONE;
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<std::uint32_t>(reductions));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b.const_data_ptr()));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a.const_data_ptr()));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c.const_data_ptr()));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(d.const_data_ptr()));
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(most));
  int found = 0;
  check(cublasLtMatmulAlgoGetHeuristic(handle, description.get(), first.layout.get(),
                                       second.layout.get(), in.get(), out.get(), preference.get(),
                                       most, results.data(), &found),
        "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic");
  results.resize(static_cast<std::size_t>(found));
  return results;
}

bool Product::allows(const cublasLtMatmulAlgo_t& algo) const {
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status =
      cublasLtMatmulAlgoCheck(handle, description.get(), first.layout.get(), second.layout.get(),
                              in.get(), out.get(), &algo, &result);
  return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= workspace.nbytes();
}

cublasStatus_t Product::run(const cublasLtMatmulAlgo_t& algo, void* result) const {
  return cublasLtMatmul(handle, description.get(), &alpha, b.const_data_ptr(), first.layout.get(),
                        a.const_data_ptr(), second.layout.get(), &beta, c.const_data_ptr(),
                        in.get(), result, out.get(), &algo, workspace.mutable_data_ptr(),
                        workspace.nbytes(), at::cuda::getCurrentCUDAStream(d.device().index()));
}

PlanKey key_of(const Product& p) {
  std::uint32_t alignment = 16;
  for (const at::Tensor* x : {&p.a, &p.b, &p.c, &p.d}) {
    const std::int64_t stride = std::max(x->stride(0), x->stride(1)) * x->element_size();
    alignment = std::min(alignment, alignment_of(x->const_data_ptr()));
    while (stride % alignment != 0) alignment /= 2;
  }
  return {.m = core::size_class(p.a.size(0)),
          .n = core::size_class(p.b.size(1)),
          .k = core::size_class(p.a.size(1)),
          .transposed_a = p.second.operation == CUBLAS_OP_T,
          .transposed_b = p.first.operation == CUBLAS_OP_T,
          .fp32_in = p.a.scalar_type() == at::kFloat,
          .fp32_out = p.d.scalar_type() == at::kFloat,
          .adds = p.beta != 0,
          .alignment = alignment};
}

// Milliseconds of one run, or nothing where the algorithm cannot do it.
std::optional<float> time_of(const Product& product, const cublasLtMatmulAlgo_t& algo,
                             void* scratch) {
  constexpr int kRuns = 3;
  if (product.run(algo, scratch) != CUBLAS_STATUS_SUCCESS) return std::nullopt;
  at::cuda::CUDAEvent begin(cudaEventDefault);
  at::cuda::CUDAEvent end(cudaEventDefault);
  begin.record();
  for (int i = 0; i < kRuns; ++i)
    if (product.run(algo, scratch) != CUBLAS_STATUS_SUCCESS) return std::nullopt;
  end.record();
  end.synchronize();
  return begin.elapsed_time(end) / kRuns;
}

// The fastest of what cuBLASLt proposes; the first of it unless another is faster by more than the
// timing errs.
cublasLtMatmulAlgo_t fastest(const Product& product) {
  constexpr int kProposals = 8;
  constexpr float kMargin = 0.99F;
  const auto proposals = product.proposals(kProposals);
  cublasLtMatmulAlgo_t best = proposals.front().algo;
  if (proposals.size() == 1) return best;
  const at::Tensor& d = product.d;
  const at::Tensor scratch = at::empty({d.size(0), std::max(d.stride(0), d.size(1))}, d.options());
  c10::cuda::device_synchronize();  // so that nothing beside disturbs one of them
  std::optional<float> least;
  for (const auto& proposal : proposals) {
    const std::optional<float> ms = time_of(product, proposal.algo, scratch.mutable_data_ptr());
    if (!ms || (least && *ms > kMargin * *least)) continue;
    least = ms;
    best = proposal.algo;
  }
  return best;
}

cublasLtMatmulAlgo_t choose(const Product& product, PlanTable* plans) {
  if (plans == nullptr) return product.proposals(1).front().algo;
  plans->load([&] { return plans_made_for(product.d.device().index()); });
  const PlanKey key = key_of(product);
  const auto known = plans->find(key);
  if (known) return product.allows(*known) ? *known : product.proposals(1).front().algo;
  if (!plans->tries()) return product.proposals(1).front().algo;
  const cublasLtMatmulAlgo_t chosen = fastest(product);
  plans->insert(key, chosen);
  return chosen;
}

void run(const Request& request, PlanTable* plans) {
  const c10::cuda::CUDAGuard guard(request.d.device());
  const Product product(request);
  check(product.run(choose(product, plans), request.d.mutable_data_ptr()), "cublasLtMatmul");
}

}  // namespace

std::string plans_made_for(c10::DeviceIndex device) {
  int driver = 0;
  int runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  const cudaDeviceProp& gpu = *at::cuda::getDeviceProperties(device);
  std::ifstream file("/proc/driver/nvidia/version");
  std::string build;  // of the driver, which its version for programs does not tell apart
  std::getline(file, build);
  return core::concat(gpu.name, ", compute capability ", gpu.major, ".", gpu.minor, ", ",
                      gpu.multiProcessorCount, " multiprocessors, CUDA driver ", driver, " (",
                      build, "), runtime ", runtime, ", cuBLASLt ", cublasLtGetVersion(),
                      ", workspace ", at::cuda::getCUDABlasLtWorkspaceSize());
}

void gemm(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
          float alpha, float beta, PlanTable* plans) {
  run({d, a, b, c, alpha, beta}, plans);
}

void gemm_float8(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
                 float alpha, float beta, const Float8Scales& scales) {
  run({d, a, b, c, alpha, beta, &scales}, nullptr);
}

}  // namespace corda::kernels::cuda
