"""Whether a user of an image may write where FlashInfer writes at run time.

FlashInfer 0.6.7.post1 to 0.6.15 and 0.7 make directories, links and lock files below `flashinfer/` in the cubin
directory whenever a kernel is compiled; where that fails, so does the kernel (Errno 13, 17, 30 or 40, measured with
0.6.13). Read from the layers, without running anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import Problem
from orchestrator.image.layers.artifacts import ENTER, READ, WRITE, Access
from orchestrator.image.layers.kinds import Kind, kind
from orchestrator.image.layers.links import parents, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.image.layers.merge import Files

_USUAL = Access(0o755, 0, 0)
_EVERYBODY = Access(0o1777, 0, 0)
_MADE_AT_RUN_TIME = ("tmp", "var/tmp", "dev/shm")
_MADE = ("trtllm", "trtllm/batched_gemm", "trtllm/gemm")
_LOCKS = ("trtllm/batched_gemm/trtllmGen_bmm_export.lock", "trtllm/gemm/trtllmGen_gemm_export.lock")
_HINT = "make it a link to /tmp after the headers are placed: ln -s /tmp {path}"


class Written(Struct, frozen=True, kw_only=True):
    """What was found about the place that FlashInfer writes into.

    Attributes:
        problems: Why the user cannot write there; empty if it works on a writable root.
        volatile: Whether it lies where a container has a file system of its own, so that a read-only root does not
            matter.
    """

    problems: tuple[Problem, ...]
    volatile: bool


def written(files: Files, path: str, user: str, *, named: str = "") -> Written:
    """Judge the place.

    Args:
        files: What the runtime sees.
        path: `<cubin directory>/flashinfer`, absolute.
        user: Ids, as `users.account` makes them.
        named: The user as the image's configuration says it, for messages.
    """
    literal = path.strip("/")
    real = resolve(literal, files.links)
    volatile = real in _MADE_AT_RUN_TIME or any(folder in _MADE_AT_RUN_TIME for folder in parents(real))
    found = tuple(_Place(files, user, named or user).reasons(literal, real))
    hint = _HINT.format(path=path)
    problems = tuple(Problem(file=path, what=what, hint=hint) for what in dict.fromkeys(found))
    return Written(problems=problems, volatile=volatile)


class _Place:
    def __init__(self, files: Files, user: str, named: str) -> None:
        self.files = files
        self.user = user
        self.who = f"user {named} of the image" if named else "root"

    def reasons(self, literal: str, real: str) -> Iterator[str]:
        if not real:
            yield "is a circular link: FlashInfer cannot create its links below it"
            return
        yield from self._entered(literal, real)
        standing = self._kind(real)
        if standing is Kind.FILE:
            yield "is a file: FlashInfer makes a directory there"
        elif standing is Kind.NOTHING:
            yield from self._missing(literal, real)
        else:
            yield from self._below(real)

    def _missing(self, literal: str, real: str) -> Iterator[str]:
        folder, _, name = literal.rpartition("/")
        link = f"{resolve(folder, self.files.links)}/{name}".strip("/")
        if link in self.files.links:  # mkdir says that it exists, whoever asks
            yield f"is a link to /{real}, which is not in the image: FlashInfer cannot make a directory there"
            return
        above = next((one for one in parents(real) if self._kind(one) is not Kind.NOTHING), "")
        if not self._allows(above, WRITE | ENTER):
            yield f"is missing, and {self.who} may not make it in /{above}: FlashInfer writes links there at run time"

    def _below(self, real: str) -> Iterator[str]:
        made = [resolve(f"{real}/{name}", self.files.links) for name in _MADE]
        for folder in (real, *filter(None, made)):
            standing = self._kind(folder)
            if standing is Kind.FILE:
                yield f"/{folder} is a file: FlashInfer makes a directory there"
            elif standing is Kind.DIRECTORY and not self._allows(folder, WRITE | ENTER):
                yield f"{self.who} may not write to /{folder}: FlashInfer writes links there at run time"
        for name in _LOCKS:
            lock = self.files.artifacts.get(resolve(f"{real}/{name}", self.files.links))
            if lock is not None and not lock.access.allows(self.user, READ | WRITE):
                yield f"{self.who} may not open {name} for writing: FlashInfer locks it at run time"

    def _entered(self, literal: str, real: str) -> Iterator[str]:
        for folder in sorted({part for whole in (literal, real) for part in parents(whole)}):
            if not self._allows(folder, ENTER):
                yield f"{self.who} may not enter /{folder}"

    def _kind(self, path: str) -> Kind:
        found = kind(self.files.layers, path)
        return Kind.DIRECTORY if found is Kind.NOTHING and path in _MADE_AT_RUN_TIME else found

    def _allows(self, folder: str, want: int) -> bool:
        absent = folder in _MADE_AT_RUN_TIME and kind(self.files.layers, folder) is Kind.NOTHING
        usual = _EVERYBODY if absent else _USUAL
        return self.files.closed.get(folder, usual).allows(self.user, want)
