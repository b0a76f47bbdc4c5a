"""Build CUDA container images for every GPU that a project promises, from one matrix.yaml."""

__version__ = "0.1.0"
