"""What buildx makes of a project's bake files, where the readers leave it to buildx: functions, conditionals, targets.

The only module of the package that starts processes. Bake evaluates its files itself; the engine is asked only what an
image holds that is there.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.readers.bake import BakeFile

_TIMEOUT_S = 30.0


class Shipped(Struct, frozen=True, kw_only=True):
    """The targets that a project ships.

    Attributes:
        names: Their names, in the order of their group as it is written.
        targets: Every target that was resolved, those that they link to included.
    """

    names: tuple[str, ...]
    targets: Mapping[str, Mapping[str, Any]]


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

    def shipped(self, files: Sequence[str], names: Sequence[str]) -> tuple[Shipped | None, str]:
        """The targets of group `all`, else of `default`, else those named, as buildx resolves them.

        Args:
            files: Bake files below the root, in the order in which they are merged.
            names: The targets as the files write them.

        Returns:
            The targets, None with the reason where buildx cannot be asked or refuses the files.
        """
        from orchestrator import process
        from orchestrator.drift.readers import bake, compose
        from orchestrator.engine import buildx
        from orchestrator.engine.client import docker_command

        texts = {name: (self._root / name).read_bytes().decode("utf-8", "replace") for name in files}
        variables: set[str] = set()
        for name, text in texts.items():
            if not compose.is_compose(PurePosixPath(name).name):  # its variables are those of .env and of the shell
                variables |= bake.parse(text, json=name.endswith(".json")).declared.keys()
        unset = [word for name in sorted(variables) for word in ("-u", name)]
        named = [word for name in files for word in ("-f", name)]
        reason = ""
        for groups in (["all"], ["default"], list(names)):
            # buildx opens what an output names even to print, and empties a file that exists
            more = ["--set", "*.output=type=cacheonly", "--print", *groups]
            try:
                argv = ["env", *unset, *docker_command(), "buildx", "bake", *named, *more]
                done = process.run(argv, cwd=self._root, timeout=_TIMEOUT_S)
                printed = json.loads(done.stdout) if done.ok else {}
            except (EnvironmentLacksError, ValueError, RecursionError) as error:
                return None, str(error)
            reason = "" if done.ok else buildx.last_error(done.stderr)
            bodies = printed.get("target", {})
            members = _members(groups, printed.get("group", {}), names)
            if found := tuple(name for name in members if name in bodies):
                return Shipped(names=found, targets=bodies), ""
        return None, f"docker buildx bake refuses {', '.join(files)}: {reason}"

    def onbuild(self, image: str) -> tuple[str, ...] | None:
        """The ONBUILD instructions of an image that the engine holds, None if it does not, or cannot be asked."""
        from orchestrator import process
        from orchestrator.engine.client import docker_command

        key = ("onbuild", image)
        if key not in self._answers:
            try:
                argv = [*docker_command(), "image", "inspect", "--format", "{{json .Config.OnBuild}}", "--", image]
                done = process.run(argv, cwd=self._root, timeout=_TIMEOUT_S)
                self._answers[key] = json.loads(done.stdout) or [] if done.ok else None
            except (EnvironmentLacksError, ValueError, RecursionError):
                self._answers[key] = None
        lines = self._answers[key]
        return tuple(map(str, lines)) if isinstance(lines, list) else None

    def _asked(self, file: BakeFile, *words: str) -> Any:
        key = (file.text, *words)
        if key not in self._answers:
            self._answers[key] = self._ask(file, words)
        return self._answers[key]

    def _ask(self, file: BakeFile, words: Sequence[str]) -> Any:
        from orchestrator import process
        from orchestrator.engine.client import docker_command

        unset = [word for name in file.declared for word in ("-u", name)]
        try:
            argv = ["env", *unset, *docker_command(), "buildx", "bake", "-f", "-", *words]
            done = process.run(argv, cwd=self._root, stdin=file.text, timeout=_TIMEOUT_S)
            return json.loads(done.stdout) if done.ok else None
        except (EnvironmentLacksError, ValueError, RecursionError):
            return None


def _members(names: Sequence[str], groups: Mapping[str, Any], written: Sequence[str]) -> list[str]:
    """The targets of groups, those of groups in them included, in the order in which the files write them."""
    found: dict[str, None] = {}
    waiting = list(names)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        inner = groups.get(name, {}).get("targets")
        if inner is None or name in seen:
            found[name] = None
            continue
        seen.add(name)
        waiting[:0] = sorted(inner, key=lambda one: written.index(one) if one in written else len(written))
    return list(found)
