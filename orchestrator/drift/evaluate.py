"""What buildx makes of an expression in a bake file that the reader leaves alone: a function, a conditional.

The one place of the room that starts a process, and only where such an expression is claimed and buildx is there.
It needs no engine: bake evaluates its files by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.drift.readers.bake import BakeFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Buildx:
    """Evaluates bake files as if no environment variable were set; answers are kept.

    Attributes:
        root: The directory that bake runs in.
        known: Answers by the text of the file and what was asked.
    """

    root: Path
    known: dict[tuple[str, str], Any] = field(default_factory=dict)

    def variable(self, file: BakeFile, name: str) -> str | None:
        """The default of a variable, None where buildx cannot tell (it is not there, or refuses the file)."""
        listed = self._asked(file, "--list=type=variables,format=json")
        values = listed if isinstance(listed, list) else []
        return next((str(one["value"]) for one in values if one.get("name") == name and "value" in one), None)

    def arg(self, file: BakeFile, target: str, name: str) -> str | None:
        """The value of a target's argument, None where buildx cannot tell."""
        printed = self._asked(file, "--print", target)
        bodies = printed.get("target", {}) if isinstance(printed, dict) else {}
        value = bodies.get(target, {}).get("args", {}).get(name)
        # what --print writes is a bake file again, its strings escaped as templates
        return None if value is None else str(value).replace("$${", "${").replace("%%{", "%{")

    def _asked(self, file: BakeFile, *words: str) -> Any:
        key = (file.text, " ".join(words))
        if key not in self.known:
            unset = [word for name in file.variables for word in ("-u", name)]
            try:
                done = process.run(
                    ["env", *unset, "docker", "buildx", "bake", "-f", "-", *words],
                    cwd=self.root,
                    stdin=file.text,
                    timeout=30,
                )
                self.known[key] = json.loads(done.stdout) if done.ok else None
            except (EnvironmentLacksError, ValueError):
                self.known[key] = None
        return self.known[key]
