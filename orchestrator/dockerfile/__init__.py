"""The grammar of Dockerfiles, read once: instructions, words, spans, here-documents, and a copy without base images.

Depends on nothing of ours but errors.
"""
