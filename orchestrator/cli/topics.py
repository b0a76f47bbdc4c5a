"""The texts of `orchestrate help TOPIC`: what belongs to no single command."""

from __future__ import annotations

from msgspec import Struct


class Topic(Struct, frozen=True, kw_only=True):
    """A text of its own.

    Attributes:
        summary: Its line in the list.
        text: The text.
    """

    summary: str
    text: str


TOPICS = {
    "start": Topic(
        summary="The way from a repository with a bake file to pushed images.",
        text="""\
orchestrate doctor                     does this machine have what builds need
orchestrate init                       writes a first matrix.yaml from what the repository's files say
orchestrate plan                       what is built, what is not, and why
orchestrate build --variant ID         one variant, into the build cache
orchestrate build --push --verify      everything; tags only to what was verified
orchestrate check                      do the other files agree with the matrix
orchestrate publish                    the tags that users pull, all or nothing
orchestrate init --workflow            the same in GitHub Actions""",
    ),
    "matrix": Topic(
        summary="What matrix.yaml contains.",
        text="""\
A variant is a target with a CUDA release on a platform, and a value of each axis. matrix.yaml says which there are:

  image           the repository of the images
  bake            the bake files, and the targets that are built
  arch_lists      lists of GPU architectures: 8.0 9.0 12.0+PTX
  cuda            releases, each with its full version
  platforms       as in linux/arm64, with the runner that builds them
  axes            more dimensions of the project's own
  variants        what every variant gets: arch_list, args, tags, labels, contexts, secrets
  overrides       changes for some of them; a later one wins
  exclude         rows that are not built, each with its reason
  publish         the tags of multi-platform indexes
  claims          what other files must say, for `orchestrate check`

`orchestrate schema` prints all of it for editors, `orchestrate schema --placeholders` what values may hold, and
`orchestrate plan --explain ID` where each value of one variant comes from.""",
    ),
    "select": Topic(
        summary="How variants are selected.",
        text="""\
--cuda 13.0   --platform linux/arm64   --target openai   --axis python=3.12   --variant ID

Each can be repeated: values of one option are alternatives, options narrow each other. --variant takes globs in
quotation marks: '*-arm64'. A value that selects nothing is an error with a suggestion. --cuda 13 selects 13.0 where it
is the only 13. --arg NAME=VALUE, --archs LIST and --image NAME replace what the matrix says, for one run.""",
    ),
    "exit-codes": Topic(
        summary="What the exit codes mean.",
        text="""\
  0    done
  1    a variant failed to build
  2    matrix or arguments invalid, or an argument does not reach its target
  3    drift found
  4    verification failed
  5    something is missing on the machine: engine, buildx, platform, disk
  6    network or registry failed after retries, the registry denies access, or the builder went silent
  130  interrupted

Where variants fail for different reasons, the code is 1.""",
    ),
    "files": Topic(
        summary="Which files the program writes, and where.",
        text="""\
.orchestrate/ beside matrix.yaml, for its owner alone; git ignores it:
  runs/           one directory a run: logs, bake files, metadata
  journal.jsonl   what was built, when, from which inputs
  publish/        records of what tags named before

--report FILE writes the build report. Bundles of FlashInfer's headers and wheels are in a store of the user's
(`orchestrate headers status` shows what is there). `orchestrate clean` lists what earlier runs left.""",
    ),
    "actions": Topic(
        summary="How it runs in GitHub Actions.",
        text="""\
  - uses: OWNER/REPOSITORY@SHA                      one command in a step of yours
    with: {command: build, cuda: "13.0", push: true}

  uses: OWNER/REPOSITORY/.github/workflows/images.yml@SHA      plan, one job a variant, verify, push, publish

`orchestrate init --workflow` writes the second one from the matrix. In a workflow, errors are annotations, and
plan --diff, build and publish --notes append to the summary. A fork's pull request reads caches and writes none.""",
    ),
}
"""By name, in the order of the list."""
