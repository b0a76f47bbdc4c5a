"""A Dockerfile without its base images, so that buildx can outline it offline.

`--call=outline` resolves the metadata of every base image first, which needs a registry and, for NVIDIA's images,
minutes of a rate limit. Which arguments a target consumes does not depend on them: every external image is replaced by
`scratch`, and the variables that named it are declared in the stage, so that they still count as consumed. It knows the
Dockerfile's grammar; it must not know which arguments matter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.dockerfile.read import instructions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from orchestrator.dockerfile.read import Instruction

EMPTY = "orchestrate-empty"
"""Named context that stands for images of COPY --from and RUN --mount; who outlines the result must give it.

No stage: one more at the top would shift the numbers that `COPY --from=0` counts.
"""

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?P<operator>:?[-+])?(?P<word>[^{}]*)\}|(?P<bare>\w+))", re.ASCII)
_NAME = re.compile(r"\$\{?(\w+)", re.ASCII)  # nested ones as well: ${A:-${B}}
_FROM = re.compile(r"(?P<flags>(?:--\S+\s+)*)(?P<image>\S+)(?:\s+as\s+(?P<name>\S+))?\s*$", re.IGNORECASE)
_UNKNOWN = re.compile(r"\$(?:\{[^{}]*\}|\w+)", re.ASCII)
_COPY_FROM = re.compile(r"--from=(?P<quote>[\"']?)(?P<name>[^\s\"']+)(?P=quote)")
_MOUNT_FROM = re.compile(r"(?<=[,=])from=(?P<quote>[\"']?)(?P<name>[^\s,\"']+)(?P=quote)")
_SYNTAX = re.compile(r"\A(?:\ufeff)?(?:#[^\n]*\n)*?#[ \t]*syntax[ \t]*=[^\n]*\n", re.IGNORECASE)


def without_bases(text: str, *, contexts: Collection[str] = (), args: Mapping[str, str] | None = None) -> str:
    """The same Dockerfile with every external image replaced by an empty one.

    Args:
        text: The Dockerfile.
        contexts: Named contexts of the target: names that are no external images.
        args: Build arguments that are passed, to tell which stage `FROM ${BASE}` means.

    Returns:
        A Dockerfile whose outline, with the named context `EMPTY`, lists the same consumed arguments and needs no
        network. A `# syntax=` directive is left out: it would fetch a frontend.
    """
    text = _without_syntax(text)
    rewriting = _Rewriting(text, contexts, args or {})
    return rewriting.done()


def _without_syntax(text: str) -> str:
    """The text without its syntax directive; other directives (escape) must stay at the top."""
    found = _SYNTAX.match(text)
    if found is None:
        return text
    head = found.group()
    kept = head[: head.rstrip("\n").rfind("\n") + 1]
    return kept + text[found.end() :]


class _Rewriting:
    """One pass over the instructions, collecting replacements of spans."""

    def __init__(self, text: str, contexts: Collection[str], args: Mapping[str, str]) -> None:
        self.text = text
        self.stages: set[str] = set()
        self.contexts = {name.lower() for name in contexts}
        self.args = args
        self.defaults: dict[str, str | None] = {}
        self.edits: list[tuple[int, int, str]] = []
        self.before_from = True

    def done(self) -> str:
        for found in instructions(self.text):
            if found.keyword == "FROM":
                self._from(found)
            elif found.keyword == "ARG" and self.before_from:
                self._global(found.rest)
            elif found.keyword in {"COPY", "ADD"}:
                self._sources(found, _COPY_FROM)
            elif found.keyword == "RUN":
                self._sources(found, _MOUNT_FROM)
        text = self.text
        for start, end, new in sorted(self.edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _global(self, rest: str) -> None:
        for word in re.findall(r"\w+(?:=(?:\"[^\"]*\"|'[^']*'|\S*))?", rest):
            name, equals, value = word.partition("=")
            self.defaults[name] = value.strip("\"'") if equals else None

    def _from(self, found: Instruction) -> None:
        self.before_from = False
        parts = _FROM.fullmatch(found.rest)
        if parts is None:
            return
        image = parts["image"].strip("\"'")
        name = parts["name"]
        resolved = self._expanded(image)
        if self._is_external(resolved.lower()):
            stage = f" AS {name}" if name else ""
            declared = "".join(f"\nARG {variable}" for variable in self._closure(image))
            self.edits.append((found.start, found.end, f"FROM {parts['flags']}scratch{stage}{declared}"))
        if name:
            self.stages.add(name.lower())

    def _is_external(self, image: str) -> bool:
        """Whether an image is none of ours; what BuildKit alone knows (${TARGETARCH}) may be any text."""
        literals = _UNKNOWN.split(image)
        pattern = ".*".join(map(re.escape, literals))
        return not any(re.fullmatch(pattern, name) for name in self.stages | self.contexts | {"scratch"})

    def _sources(self, found: Instruction, pattern: re.Pattern[str]) -> None:
        for match in pattern.finditer(self.text, found.start, found.end):
            name = match["name"].lower()
            if not (name.isdigit() or "$" in name or name in self.stages | self.contexts):
                self.edits.append((*match.span("name"), EMPTY))

    def _value(self, name: str) -> str | None:
        value = self.args.get(name, self.defaults.get(name))
        return None if value is None else value

    def _expanded(self, text: str, depth: int = 0) -> str:
        """The text with its variables filled in; a variable without a value stays as it is written."""

        def fill(match: re.Match[str]) -> str:
            name = match["braced"] or match["bare"]
            value = self._value(name)
            operator = (match["operator"] or "")[-1:]
            if operator == "-" and not value:
                return match["word"]
            if operator == "+":
                return match["word"] if value else ""
            return match.group() if value is None else value

        text = _VARIABLE.sub(fill, text)
        return self._expanded(text, depth + 1) if "$" in text and depth < 5 else text

    def _closure(self, image: str) -> Iterable[str]:
        """The global arguments that name an image, those behind their defaults included."""
        open_names = _names(image)
        seen: dict[str, None] = {}
        while open_names:
            name = open_names.pop(0)
            if name in seen or name not in self.defaults:
                continue
            seen[name] = None
            if name not in self.args:  # a default is consulted only where nothing is passed
                open_names += _names(self.defaults[name] or "")
        return seen


def _names(text: str) -> list[str]:
    return [match[1] for match in _NAME.finditer(text)]
