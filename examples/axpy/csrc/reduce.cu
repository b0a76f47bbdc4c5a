// A second translation unit, so that the library holds two fatbin containers: a check that looks at the union of a file
// alone would not notice one of them missing an architecture.
#include <cuda_runtime.h>

#include "axpy.h"

namespace {

constexpr int kThreads = 256;

__global__ void sum_kernel(long long n, const float* __restrict__ x, double* __restrict__ out) {
  __shared__ double warps[kThreads / 32];
  double sum = 0.0;
  const long long stride = static_cast<long long>(blockDim.x) * gridDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) sum += x[i];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kThreads / 32; ++warp) sum += warps[warp];
    atomicAdd(out, sum);  // double: compute capability 6.0 and later
  }
}

}  // namespace

int axpy_sum(long long n, const float* x, double* out) {
  *out = 0.0;
  if (n <= 0) return cudaSuccess;
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  float* device_x = nullptr;
  double* device_out = nullptr;
  cudaError_t status = cudaMalloc(&device_x, bytes);
  if (status == cudaSuccess) status = cudaMalloc(&device_out, sizeof(double));
  if (status == cudaSuccess) status = cudaMemset(device_out, 0, sizeof(double));
  if (status == cudaSuccess) status = cudaMemcpy(device_x, x, bytes, cudaMemcpyHostToDevice);
  if (status == cudaSuccess) {
    const long long blocks = (n + kThreads - 1) / kThreads;
    sum_kernel<<<static_cast<unsigned>(blocks < 1024 ? blocks : 1024), kThreads>>>(n, device_x, device_out);
    status = cudaGetLastError();
  }
  if (status == cudaSuccess) status = cudaMemcpy(out, device_out, sizeof(double), cudaMemcpyDeviceToHost);
  cudaFree(device_out);
  cudaFree(device_x);
  return status;
}
