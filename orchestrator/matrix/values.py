"""What the placeholders of one variant stand for.

It fills in what `template.PLACEHOLDERS` lists. The dear ones (arch dialects, git) are made when they are asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.cuda.dialects import render_cmake, render_flashinfer, render_gencode, render_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.cuda.select import Selection
    from orchestrator.cuda.toolkit import Toolkit
    from orchestrator.matrix.schema import MatrixFile

# What `uname -m` says; image tags of vLLM's kind use it where OCI says amd64 and arm64.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def blank_fields(spec: MatrixFile) -> dict[str, str]:
    """Every `axis.field` as empty text: a field that only some values of an axis have is empty for the others."""
    return {f"{axis}.{name}": "" for axis, values in spec.axes.items() for fields in values.values() for name in fields}


class VariantValues(dict[str, str]):
    """Placeholder -> text for one variant."""

    def __init__(
        self,
        spec: MatrixFile,
        cell: Mapping[str, str],
        *,
        variant_id: str,
        image: str,
        arch_list: str,
        selection: Selection,
        toolkit: Toolkit,
        fact: Callable[[str], str],
        blank: Mapping[str, str],
    ) -> None:
        super().__init__(cell)
        self._selection = selection
        self._toolkit = toolkit
        self._fact = fact
        platform = spec.platforms[cell["platform"]]
        os_name, _, rest = cell["platform"].partition("/")
        architecture = rest.partition("/")[0]
        self.update(
            {
                "variant.id": variant_id,
                "arch_list": arch_list,
                "image": image,
                "cuda.version": spec.cuda[cell["cuda"]].version,
                "cuda.tag_suffix": spec.cuda[cell["cuda"]].tag_suffix,
                "platform.os": os_name,
                "platform.arch": architecture,
                "platform.machine": _MACHINES.get(architecture, architecture),
                "platform.runner": platform.runner,
                "platform.tag_suffix": platform.tag_suffix,
                "target.tag_suffix": spec.bake.targets[cell["target"]].tag_suffix,
            }
        )
        self.update(blank)
        for axis, values in spec.axes.items():
            self.update({f"{axis}.{name}": text for name, text in values[cell[axis]].items()})

    def __missing__(self, name: str) -> str:
        room, _, rest = name.partition(".")
        if room == "archs":
            value = _dialect(rest, self._selection)
        elif room == "cuda":
            known = {"major": self._toolkit.major, "minor": self._toolkit.minor}
            value = str(known[rest]) if rest in known else re.sub(r"\D", "", self["cuda"])
        elif room in {"git", "matrix"}:
            value = self._fact(name)
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
