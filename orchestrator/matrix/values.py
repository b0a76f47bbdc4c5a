"""The values of the placeholders (`template.PLACEHOLDERS`) for one variant.

Those that take time (arch dialects, git) are made when a template has them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda.dialects import render_cmake, render_flashinfer, render_gencode, render_torch
from orchestrator.reference import short_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.cuda.select import Selection
    from orchestrator.cuda.toolkit import Toolkit
    from orchestrator.matrix.schema import MatrixFile

MAX_ID_TAG = 100
"""Characters of {variant.tag}, so that a tag has room for more than the id."""

# What `uname -m` says; image tags of vLLM's kind use it where OCI says amd64 and arm64.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def blank_fields(spec: MatrixFile) -> dict[str, str]:
    """Every `axis.field` as empty text."""
    return {f"{axis}.{name}": "" for axis, values in spec.axes.items() for fields in values.values() for name in fields}


class Shared(Struct, frozen=True, kw_only=True):
    """What the placeholders of all variants of a plan have in common.

    Attributes:
        spec: The matrix.
        image: The repository, of the command line or the file.
        toolkits: CUDA release -> what its nvcc can do.
        fact: Returns the value of `{git.…}` or `{matrix.digest}`.
        blank: Every `axis.field` as empty text: a field that only some values of an axis have is empty for the others.
    """

    spec: MatrixFile
    image: str
    toolkits: Mapping[str, Toolkit]
    fact: Callable[[str], str]
    blank: Mapping[str, str]


class VariantValues(dict[str, str]):
    """Placeholder -> text for one variant."""

    def __init__(
        self, shared: Shared, cell: Mapping[str, str], name: str, *, arch_list: str, selection: Selection
    ) -> None:
        super().__init__(cell)
        self._shared = shared
        self._selection = selection
        spec = shared.spec
        cuda, platform = spec.cuda[cell["cuda"]], spec.platforms[cell["platform"]]
        os_name, _, rest = cell["platform"].partition("/")
        architecture = rest.partition("/")[0]
        self.update(
            {
                "variant.id": name,
                "variant.tag": short_tag(name, most=MAX_ID_TAG),
                "arch_list": arch_list,
                "image": shared.image,
                "cuda.version": cuda.version,
                "cuda.tag_suffix": cuda.tag_suffix,
                "platform.os": os_name,
                "platform.arch": architecture,
                "platform.machine": _MACHINES.get(architecture, architecture),
                "platform.runner": ",".join(platform.runner),
                "platform.tag_suffix": platform.tag_suffix,
                "target.tag_suffix": spec.bake.targets[cell["target"]].tag_suffix,
            }
        )
        self.update(shared.blank)
        for axis, values in spec.axes.items():
            self.update({f"{axis}.{field}": text for field, text in values[cell[axis]].items()})

    def __missing__(self, name: str) -> str:
        first, _, rest = name.partition(".")
        if first == "archs":
            value = _dialect(rest, self._selection)
        elif first == "cuda":
            toolkit = self._shared.toolkits[self["cuda"]]
            known = {"major": toolkit.major, "minor": toolkit.minor}
            value = str(known[rest]) if rest in known else re.sub(r"\D", "", self["cuda"])
        elif first in {"git", "matrix"}:
            value = self._shared.fact(name)
        else:
            raise KeyError(name)
        self[name] = value
        return value


def _dialect(name: str, selection: Selection) -> str:
    if name == "torch":
        return render_torch(selection.effective)
    if name == "flashinfer":
        return render_flashinfer(selection.effective, drop_ptx=True)
    return render_cmake(selection.effective) if name == "cmake" else " ".join(render_gencode(selection.effective))
