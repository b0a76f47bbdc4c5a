"""Tells which records of a builder's cache the next build of a plan may take: the newest results of its steps.

BuildKit does not say which variant a record belongs to, and a step that came from the cache need not touch the record
(a stage that is only copied from), so its age says little. What it says is the step: `mount / from exec /bin/sh -c
make`. A record is needed if it is among the newest of a step of the plan's Dockerfiles, as many as there are variants
with that step, or if such a record lies on it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.cache.keys import instruction_texts
from orchestrator.dockerfile.predefined import platform_args
from orchestrator.dockerfile.stages import parse
from orchestrator.engine import buildx
from orchestrator.engine.build_cache import RecordType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.bake.file import BakeFile
    from orchestrator.engine.build_cache import CacheRecord

_VARIABLE = re.compile(r"\\?\$(?:\{[^}]*\}|\w+)")
_FLAGS = re.compile(r"\A(?:--[a-z-]+(?:=\S+)?\s+)*")
_IMAGE = "docker-image://"
_WIDEST = 4000  # characters of a step that are compared


def needed(records: Sequence[CacheRecord], steps: Mapping[str, int], images: Iterable[str]) -> set[str]:
    """Return the ids of the records that the next builds may take.

    Args:
        records: What the cache holds.
        steps: The instructions of the plan's Dockerfiles -> how many variants have a result of each.
        images: The images that they start from.
    """
    by_id = {one.id: one for one in records}
    layers = [one for one in records if one.type is RecordType.LAYER]
    layers.sort(key=lambda one: (one.used, one.created), reverse=True)
    described = [(one, " ".join(one.description.split())[:_WIDEST]) for one in layers]
    found: set[str] = set()
    patterns = dict.fromkeys(map(_pulled, images), len(layers))
    for step, copies in steps.items():
        if pattern := _pattern(step):
            patterns[pattern] = patterns.get(pattern, 0) + copies
    for pattern, copies in patterns.items():
        wanted = re.compile(pattern)
        found.update([one.id for one, text in described if wanted.fullmatch(text)][:copies])
    waiting = list(found)
    while waiting:
        for parent in by_id[waiting.pop()].parents:
            if parent in by_id and parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def steps_and_images(root: Path, files: Mapping[str, BakeFile]) -> tuple[Counter[str], set[str]]:
    """Return the instructions that a plan's builds run, each with how many variants do, and the images they start from.

    Args:
        root: The directory that paths of the bake files are relative to.
        files: Variant -> its bake file.

    Raises:
        MatrixError: A Dockerfile cannot be read, so what is needed is not known.
    """
    steps: Counter[str] = Counter()
    images: set[str] = set()
    for file in files.values():
        for target in file.members.values():
            text, _ = buildx.dockerfile(root, target)
            if text is None:  # a remote one: its steps are on no list, and its records as old as they are
                continue
            args = {name: str(value) for name, value in (target.get("args") or {}).items() if value is not None}
            platform = str((target.get("platforms") or [""])[0])
            contexts = {name.lower(): str(value) for name, value in (target.get("contexts") or {}).items()}
            read = parse(text, {**platform_args(platform), **args}, replaced=contexts)
            stages = read.needed(str(target.get("target") or ""), replaced=frozenset(contexts))
            lines = {step.line for stage in stages for step in stage.steps}
            steps.update(step for line, step in instruction_texts(text) if line in lines)
            images |= {stage.base for stage in stages if stage.parent is None and stage.base != "scratch"}
            images |= {one.removeprefix(_IMAGE) for one in contexts.values() if one.startswith(_IMAGE)}
    return steps, images


def _pattern(step: str) -> str:
    """What BuildKit says of the result of an instruction, "" for one that has no result of its own."""
    keyword, _, rest = step.strip().partition(" ")
    first, _, body = rest.partition("\n")
    body = body.rpartition("\n")[0]  # the word that ends it
    match keyword.upper():
        case "RUN":
            command = _FLAGS.sub("", first.strip(), count=1)
            if command.startswith("["):
                try:
                    return f"mount .* from exec {_literal(' '.join(json.loads(command)))}"
                except (ValueError, TypeError):
                    pass
            return f"mount .* from exec .*{_literal(body)}.*" if body else f"mount .* from exec .* {_literal(command)}"
        case "COPY" | "ADD" | "WORKDIR":
            return rf"\[[^\]]*\] {keyword.upper()} {_literal(first)}"
        case _:
            return ""


def _pulled(image: str) -> str:
    return rf"pulled from (?:docker\.io/(?:library/)?)?{re.escape(image.partition('@')[0])}(?:[:@].*)?"


def _literal(text: str) -> str:
    """A pattern of a text in which variables may have any value."""
    return ".*".join(re.escape(part) for part in _VARIABLE.split(" ".join(text.split())[:_WIDEST]))
