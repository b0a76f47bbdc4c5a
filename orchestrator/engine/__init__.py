"""The Docker engine and buildx of this machine: what answers, what it can do, and hints where it cannot.

Does not depend on the matrix, variants or builds.
"""
