"""The Docker engine and buildx of this machine: what answers, what it can do, and what to do where it cannot.

It knows clients, engines, builders and their versions; it must not know the matrix, variants or builds.
"""
