# Bake targets of docker/Dockerfile: what is the same for every CUDA release and platform. What differs is in matrix.yaml,
# and `orchestrate build` lays it over these targets. By hand, from the repository's root:
#
#   docker buildx bake -f docker/docker-bake.hcl openai --print
#
# Two traps of bake that this file walks around: a variable is not a build argument (only `args` is), and every path is
# relative to the directory that bake runs in, not to this file.

variable "CUDA_VERSION" {
  default = "13.0.2"
}

variable "MAX_JOBS" {
  default = "16"
}

variable "NVCC_THREADS" {
  default = "8"
}

# CI's list: shorter than the release's, which is in matrix.yaml.
variable "TORCH_CUDA_ARCH_LIST" {
  default = "8.0 8.9 9.0 10.0 11.0 12.0"
}

# The package's source tree: a git reference, or a directory (SOURCE=../vllm).
variable "SOURCE" {
  default = "https://github.com/vllm-project/vllm.git#v0.20.0"
}

# The version that the wheel gets: a git reference without history cannot tell it.
variable "VERSION" {
  default = "0.20.0"
}

group "default" {
  targets = ["openai"]
}

group "all" {
  targets = ["openai", "openai-ubuntu2404"]
}

target "_common" {
  context    = "docker"
  dockerfile = "Dockerfile"
  contexts = {
    source = SOURCE
  }
  args = {
    CUDA_VERSION         = CUDA_VERSION
    max_jobs             = MAX_JOBS
    nvcc_threads         = NVCC_THREADS
    torch_cuda_arch_list = TORCH_CUDA_ARCH_LIST

    SETUPTOOLS_SCM_PRETEND_VERSION = VERSION
  }
}

target "openai" {
  inherits = ["_common"]
  target   = "openai"
  tags     = ["vllm-openai:local"]
}

target "openai-ubuntu2404" {
  inherits = ["openai"]
  tags     = ["vllm-openai:local-ubuntu2404"]
  args = {
    UBUNTU_VERSION = "24.04"
  }
}

target "test" {
  inherits = ["_common"]
  target   = "test"
  tags     = ["vllm-openai:test"]
}
