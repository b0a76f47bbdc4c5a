"""What buildx makes of a project's bake files, where the readers leave it to buildx: functions, conditionals, targets.

The only module of the package that starts processes. It needs buildx and no engine: bake evaluates its files itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.readers.bake import BakeFile

_TIMEOUT_S = 30.0


class Buildx:
    """Evaluates bake files as if no environment variable were set; each question is asked once.

    Args:
        root: The directory that bake runs in.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._answers: dict[tuple[str, ...], Any] = {}
        self._targets: dict[tuple[str, ...], Mapping[str, Mapping[str, Any]]] = {}

    def variable(self, file: BakeFile, name: str) -> str | None:
        """The default of a variable, None if buildx is missing or refuses the file."""
        listed = self._asked(file, "--list=type=variables,format=json")
        values = listed if isinstance(listed, list) else []
        return next((str(one["value"]) for one in values if one.get("name") == name and "value" in one), None)

    def arg(self, file: BakeFile, target: str, name: str) -> str | None:
        """The value of an argument of a target, None if buildx is missing or refuses the file."""
        from orchestrator.engine import buildx

        # buildx opens what an output names even to print, and empties a file that exists
        printed = self._asked(file, "--set", f"{target}.output=type=cacheonly", "--print", target)
        bodies = printed.get("target", {}) if isinstance(printed, dict) else {}
        value = bodies.get(target, {}).get("args", {}).get(name)
        return None if value is None else buildx.unescape(str(value))

    def targets(self, files: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """The project's own targets as buildx resolves them.

        Args:
            files: The project's bake files.
            names: The targets.

        Raises:
            MatrixError: buildx refuses the bake files.
            EnvironmentLacksError: There is no docker client, or it does not answer.
        """
        from orchestrator.engine import buildx
        from orchestrator.engine.client import docker_command

        key = (*files, "", *names)
        if key not in self._targets:
            call = buildx.BakeCall(docker=docker_command(), files=tuple(files), root=self._root)
            self._targets[key] = buildx.resolve(call, dict.fromkeys(names))
        return self._targets[key]

    def shipped(self, name: str) -> Mapping[str, Mapping[str, Any]] | None:
        """The targets of group `all`, else of `default`, as buildx resolves them; None if it cannot be asked.

        Args:
            name: A bake file below the root.
        """
        from orchestrator import process
        from orchestrator.engine.client import docker_command

        for group in ("all", "default"):
            try:
                argv = [*docker_command(), "buildx", "bake", "-f", name, "--print", group]
                done = process.run(argv, cwd=self._root, timeout=_TIMEOUT_S)
                printed = json.loads(done.stdout) if done.ok else {}
            except (EnvironmentLacksError, ValueError, RecursionError):
                return None
            bodies: dict[str, dict[str, Any]] = printed.get("target", {})
            groups = printed.get("group", {})
            wanted = list(groups.get(group, {}).get("targets", [group]))
            names = [one for target in wanted for one in groups.get(target, {}).get("targets", [target])]
            if chosen := {target: bodies[target] for target in names if target in bodies}:
                return chosen
        return None

    def _asked(self, file: BakeFile, *words: str) -> Any:
        key = (file.text, *words)
        if key not in self._answers:
            self._answers[key] = self._ask(file, words)
        return self._answers[key]

    def _ask(self, file: BakeFile, words: Sequence[str]) -> Any:
        from orchestrator import process
        from orchestrator.engine.client import docker_command

        unset = [word for name in file.variables for word in ("-u", name)]
        try:
            argv = ["env", *unset, *docker_command(), "buildx", "bake", "-f", "-", *words]
            done = process.run(argv, cwd=self._root, stdin=file.text, timeout=_TIMEOUT_S)
            return json.loads(done.stdout) if done.ok else None
        except (EnvironmentLacksError, ValueError, RecursionError):
            return None
