"""Finds values of a bake file that still hold a version which the matrix replaces in an argument.

`contexts = {base = "docker-image://nvidia/cuda:${CUDA_VERSION}-devel"}` is resolved with the variable's own default.
Where the matrix gives the argument CUDA_VERSION another value, the image is built on one release with the argument, and
labels, of another. bake says no word of that, and the target consumes the argument.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.cuda_image import cuda_image

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_VERSION = re.compile(r"\d{1,6}(?:\.\d{1,6}){1,4}")


class Leftover(Struct, frozen=True, kw_only=True):
    """A value of a bake file that holds a replaced version.

    Attributes:
        argument: The argument that the matrix gives; "" where the CUDA version of an image tells.
        old: The version that is replaced.
        kind: What holds that: `context` or `argument`.
        name: Its name.
        text: Its value.
    """

    argument: str
    old: str
    kind: str
    name: str
    text: str

    def what(self, value: str) -> str:
        """Return what is wrong, in one line.

        Args:
            value: What the matrix gives instead.
        """
        held = f"the {self.kind} {self.name} of the bake file still names {self.old}"
        return f"{self.argument or 'CUDA'} is {value}, and {held}"

    @property
    def hint(self) -> str:
        """The edit that mends it."""
        return f"give it in the matrix: {self.kind.replace('argument', 'arg')}s: {{{self.name}: …}}, found {self.text}"


def leftovers(
    target: Mapping[str, Any], args: Mapping[str, str], contexts: Collection[str], *, cuda: str
) -> Iterator[Leftover]:
    """Yield the values of a target that hold a version which an argument of the matrix replaces.

    Args:
        target: As the bake file has it.
        args: The arguments that the matrix gives.
        contexts: The named contexts that it gives.
        cuda: The variant's CUDA version.
    """
    own = {name: str(value) for name, value in (target.get("args") or {}).items() if value is not None}
    held = [("context", name, str(text)) for name, text in (target.get("contexts") or {}).items()]
    held = [one for one in held if one[1] not in contexts and one[2].startswith("docker-image://")]
    held += [("argument", name, text) for name, text in own.items() if name not in args]
    told = set[str]()
    for argument, value in args.items():
        old = own.get(argument, "")
        if old == value or not _VERSION.fullmatch(old):
            continue
        word = re.compile(rf"(?<![\d.]){re.escape(old)}(?!\.?\d)")
        for kind, name, text in held:
            if word.search(text):
                told.add(name)
                yield Leftover(argument=argument, old=old, kind=kind, name=name, text=text)
    for kind, name, text in held:
        image = cuda_image(text)
        if image is not None and name not in told and not f"{cuda}.".startswith(f"{image.version}."):
            yield Leftover(argument="", old=image.version, kind=kind, name=name, text=text)
