// The library's C interface: what axpy/__init__.py calls through ctypes. Every function returns a cudaError_t as int.
#pragma once

#if defined(__GNUC__)
#define AXPY_API extern "C" __attribute__((visibility("default")))
#else
#define AXPY_API extern "C"
#endif

// y[i] = a * x[i] + y[i] for i in [0, n); x and y are host memory.
AXPY_API int axpy_saxpy(long long n, float a, const float* x, float* y);

// *out = the sum of x[0, n), added up in double precision; x is host memory.
AXPY_API int axpy_sum(long long n, const float* x, double* out);

// The CUDA runtime that the library was linked with, as 1000 * major + 10 * minor. Needs no GPU.
AXPY_API int axpy_runtime_version(int* version);

// The number of GPUs that the driver offers.
AXPY_API int axpy_device_count(int* count);

// What a returned number means.
AXPY_API const char* axpy_error(int status);
