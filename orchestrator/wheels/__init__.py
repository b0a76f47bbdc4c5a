"""Wheelhouses: the Python packages of a build, locked, fetched and carried like FlashInfer's headers.

pip resolves and downloads; what it brought is locked by sha256 for each CUDA release, platform and Python. Does not
depend on bake or on how builds run.
"""
