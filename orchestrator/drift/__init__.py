"""Claims: what the other files of a repository say about values that the matrix owns; found, compared, repaired.

Reads files as text and compares them with the matrix. Does not depend on builds, and needs no engine.
"""
