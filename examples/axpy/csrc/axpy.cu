#include <cuda_runtime.h>

#include "axpy.h"

namespace {

__global__ void saxpy_kernel(long long n, float a, const float* __restrict__ x, float* __restrict__ y) {
  const long long stride = static_cast<long long>(blockDim.x) * gridDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    y[i] = fmaf(a, x[i], y[i]);
  }
}

}  // namespace

int axpy_saxpy(long long n, float a, const float* x, float* y) {
  if (n <= 0) return cudaSuccess;
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  float* device = nullptr;
  cudaError_t status = cudaMalloc(&device, 2 * bytes);
  if (status != cudaSuccess) return status;
  float* device_x = device;
  float* device_y = device + n;
  status = cudaMemcpy(device_x, x, bytes, cudaMemcpyHostToDevice);
  if (status == cudaSuccess) status = cudaMemcpy(device_y, y, bytes, cudaMemcpyHostToDevice);
  if (status == cudaSuccess) {
    const long long blocks = (n + 255) / 256;
    saxpy_kernel<<<static_cast<unsigned>(blocks < 4096 ? blocks : 4096), 256>>>(n, a, device_x, device_y);
    status = cudaGetLastError();
  }
  if (status == cudaSuccess) status = cudaMemcpy(y, device_y, bytes, cudaMemcpyDeviceToHost);
  cudaFree(device);
  return status;
}

int axpy_runtime_version(int* version) { return cudaRuntimeGetVersion(version); }

int axpy_device_count(int* count) { return cudaGetDeviceCount(count); }

const char* axpy_error(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }
