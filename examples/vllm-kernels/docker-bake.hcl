# vLLM's own kernels through docker/Dockerfile: what is the same for every list. What differs is in matrix.yaml.
# Paths are relative to the directory that bake runs in, which is this one.

variable "KERNELS" {
  # What build.py compiles: all of _C_stable_libtorch and cumem_allocator, and three units of _moe_C.
  default = "--target _C_stable_libtorch --target cumem_allocator --units _moe_C=moe_align_sum_kernels.cu,topk_softmax_kernels.cu,grouped_topk_kernels.cu"
}

target "kernels" {
  context    = "../../docker"
  dockerfile = "Dockerfile"
  target     = "runtime-headers"
  contexts = {
    source      = ".inputs/source"
    debian-base = "oci-layout://.toolchain/base"
  }
  args = {
    BUILD_BASE_IMAGE = "debian-base"
    FINAL_BASE_IMAGE = "debian-base"
    PYTHON_VERSION   = "3.11" # Debian's own

    # Every package comes from the wheelhouse, and nothing is fetched: docker/Dockerfile's other requirements are left out.
    COMPILE_NETWORK       = "none"
    BUILD_PACKAGES        = ""
    BUILD_REQUIREMENTS    = "requirements/build/cuda.txt"
    RUNTIME_PACKAGES      = ""
    RUNTIME_REQUIREMENTS  = ""
    FLASHINFER_VERSION    = ""
    WHEEL_INSTALL_OPTIONS = "--no-deps --no-index"

    COMPILE_INPUTS = "CMakeLists.txt cmake csrc vllm-kernels"
    WHEEL_COMMAND  = "python3 vllm-kernels/build.py ${KERNELS}"
  }
  output = ["type=image"]
}
