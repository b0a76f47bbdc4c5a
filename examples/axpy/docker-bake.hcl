# The example's own bake file: what is the same for every CUDA release. What differs is in matrix.yaml.
# Paths are relative to the directory that bake runs in, which is this one.

target "axpy" {
  context    = "../../docker"
  dockerfile = "Dockerfile"
  target     = "runtime-headers"
  contexts = {
    source      = "."
    debian-base = "oci-layout://.toolchain/base"
  }
  args = {
    BUILD_BASE_IMAGE = "debian-base"
    FINAL_BASE_IMAGE = "debian-base"
    PYTHON_VERSION   = "3.11" # Debian's own

    # Nothing is installed, so nothing is fetched: the base has a compiler, Python and setuptools.
    COMPILE_NETWORK       = "none"
    BUILD_PACKAGES        = ""
    BUILD_REQUIREMENTS    = ""
    RUNTIME_PACKAGES      = ""
    RUNTIME_REQUIREMENTS  = ""
    FLASHINFER_VERSION    = ""
    WHEEL_INSTALL_OPTIONS = "--no-deps --no-index"

    COMPILE_INPUTS       = "pyproject.toml setup.py csrc axpy/__init__.py"
    PRECOMPILED_VARIABLE = "AXPY_PRECOMPILED_WHEEL_LOCATION"
    SMOKE_TEST           = "import axpy; print('CUDA runtime', axpy.runtime_version())"
  }
  output = ["type=image"]
}
