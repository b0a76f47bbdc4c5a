"""The grammar of Dockerfiles, read in one place.

`directives` and `read` split a file into instructions with spans and here-documents, `declared` follows ARG and ENV,
`stages` what a target is built from, `options` the flags of an instruction, `commands` what a RUN step starts,
`predefined` the arguments that BuildKit declares itself, and `bases` writes a copy without base images. `spans` and
`words` are shared with the readers of other files. Depends on nothing of ours.
"""
