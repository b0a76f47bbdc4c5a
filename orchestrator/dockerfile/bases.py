"""A Dockerfile without its base images, so that buildx can outline it offline.

`--call=outline` resolves the metadata of every base image first, which needs a registry and, for NVIDIA's images,
minutes of a rate limit. Which arguments a target consumes does not depend on them: every external image is replaced by
`scratch`, and the variables that named it are declared in the stage, so that they still count as consumed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.dockerfile.directives import directives, escape_character
from orchestrator.dockerfile.options import leading
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.stages import assignments
from orchestrator.dockerfile.words import substitute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from orchestrator.dockerfile.options import Option
    from orchestrator.dockerfile.read import Instruction

EMPTY = "orchestrate-empty"
"""Named context that stands for images of COPY --from and RUN --mount; who outlines the result must give it.

No stage: one more at the top would shift the numbers that `COPY --from=0` counts.
"""

_ASKED = re.compile(r"orchestrate_env_(?P<stage>[0-9]+)_(?P<name>\w+)", re.ASCII)
_NAME = re.compile(r"\$\{?(\w+)", re.ASCII)  # nested ones as well: ${A:-${B}}
_FROM = re.compile(r"(?P<image>\S+)(?:\s+as\s+(?P<name>\S+))?\s*", re.IGNORECASE)
_UNKNOWN = re.compile(r"\$(?:\{[^{}]*\}|\w+)", re.ASCII)
_FLAGGED = frozenset({"COPY", "ADD", "RUN", "HEALTHCHECK", "ONBUILD"})
_INNER = re.compile(r"\s*(?P<keyword>[A-Za-z]+)(?=\s)")
_SECRETS = frozenset({"secret", "ssh"})
_SECRET_FIELDS = ("type", "id", "target", "dst", "destination", "required")


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
    return _Rewriting(_without_syntax(text), contexts, args or {}).done()


def without_flags(
    text: str, *, contexts: Collection[str] = (), args: Mapping[str, str] | None = None, asked: Collection[str] = ()
) -> str:
    """The same Dockerfile without the flags that say nothing about arguments, and without `# syntax=`.

    Its outline needs the base images, and lists what their ONBUILD instructions declare, and the ENV of theirs that is
    asked for (`images_env` reads it).

    Args:
        text: The Dockerfile.
        contexts: Named contexts of the target.
        args: Build arguments that are passed, to tell which stage `FROM ${BASE}` means.
        asked: Names of ENV.
    """
    return _Rewriting(_without_syntax(text), contexts, args or {}, bases=True, asked=asked).done()


def images_env(consumed: Mapping[str, str]) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """Take apart what the outline of `without_flags` consumes.

    Returns:
        Argument -> value, and for the number of each stage the ENV of the image that it is FROM.
    """
    args = dict(consumed)
    found: dict[int, dict[str, str]] = {}
    for name in consumed:
        if asked := _ASKED.fullmatch(name):
            value = args.pop(name)
            if value.startswith("="):  # an ARG of an ONBUILD has the value that is passed, and so takes nothing away
                found.setdefault(int(asked["stage"]), {})[asked["name"]] = value[1:]
    return args, found


def external_bases(text: str, *, contexts: Collection[str] = (), args: Mapping[str, str] | None = None) -> bool:
    """Whether a stage is FROM an image of a registry."""
    rewriting = _Rewriting(text, contexts, args or {})
    rewriting.done()
    return rewriting.external


def _without_syntax(text: str) -> str:
    for one in directives(text):
        if one.name == "syntax":
            return text[: one.start] + text[one.end :]
    return text


class _Rewriting:
    """One pass over the instructions, collecting replacements of spans."""

    def __init__(
        self,
        text: str,
        contexts: Collection[str],
        args: Mapping[str, str],
        *,
        bases: bool = False,
        asked: Collection[str] = (),
    ) -> None:
        self.bases = bases
        self.asked = sorted(asked)
        self.froms = 0
        self.external = False
        self.text = text
        self.escape = escape_character(text)
        self.stages: set[str] = set()
        self.contexts = {name.lower() for name in contexts}
        self.args = args
        self.values = dict(args)
        self.defaults: dict[str, str | None] = {}
        self.edits: list[tuple[int, int, str]] = []

    def done(self) -> str:
        before_from = True
        for found in instructions(self.text):
            if found.keyword == "FROM":
                before_from = False
                self._from(found)
            elif found.keyword == "ARG" and before_from:
                self._global(found.rest)
            elif found.keyword in _FLAGGED:
                self._flags(found)
        pieces = []
        at = 0
        for start, end, new in sorted(self.edits):
            pieces += [self.text[at:start], new]
            at = end
        return "".join([*pieces, self.text[at:]])

    def _global(self, rest: str) -> None:
        for name, default in assignments(rest, self.escape):
            self.defaults[name] = default
            if default is not None and name not in self.args:
                self.values[name] = substitute(default, self.values.get, unset=None, escape=self.escape)

    def _from(self, found: Instruction) -> None:
        self.froms += 1
        flags, at = leading(found.text, found.at)
        parts = _FROM.fullmatch(found.text, at)
        if parts is None:
            return
        image = parts["image"]
        name = parts["name"]
        resolved = substitute(image, self.values.get, unset=None, escape=self.escape)
        if self._is_external(resolved.lower()):
            self.external = True
        if self.bases and self._is_external(resolved.lower()):
            self.edits += [(found.end, found.end, self._asking(name)) for name in self.asked]
        elif self._is_external(resolved.lower()):
            stage = f" AS {name}" if name else ""
            declared = "".join(f"\nARG {variable}" for variable in self._closure(image))
            written = "".join(f"{found.text[flag.start : flag.end]} " for flag in flags)
            self.edits.append((found.start, found.end, f"FROM {written}scratch{stage}{declared}"))
        if name:
            self.stages.add(name.lower())

    def _asking(self, name: str) -> str:
        """A line that has the ENV of the image as the value of an argument, behind `=` where there is one."""
        return f'\nARG orchestrate_env_{self.froms - 1}_{name}="${{{name}+=${{{name}}}}}"'

    def _is_external(self, image: str) -> bool:
        """Whether an image is none of ours; what BuildKit alone knows (${TARGETARCH}) may be any text."""
        known = self.stages | self.contexts | {"scratch"}
        literals = _UNKNOWN.split(image)
        return image not in known if len(literals) == 1 else not any(_could_be(literals, name) for name in known)

    def _flags(self, found: Instruction) -> None:
        """Leave out the flags that name no stage and no secret: one of a newer frontend is refused by an older one."""
        keyword, at = found.keyword, found.at
        if keyword == "ONBUILD" and (inner := _INNER.match(found.text, at)):
            keyword, at = inner["keyword"].upper(), inner.end()
        source = found.source
        for option in leading(found.text, at)[0]:
            written = found.text[option.start : option.end]
            new = self._flag(keyword, option, written)
            if new != written:
                self.edits.append((*source.span(option.start, option.end), new))

    def _flag(self, keyword: str, option: Option, written: str) -> str:
        if keyword in {"COPY", "ADD"} and option.name == "from":
            return f"--from={self._source(option.value)}"
        if keyword == "RUN" and option.name == "mount":
            fields = option.fields
            if any(mark in value for mark in ' \t",' for value in fields.values()) or not fields.get("type", "bind"):
                return written  # BuildKit says what is wrong with it
            if fields.get("type") in _SECRETS:
                kept = {name: fields[name] for name in _SECRET_FIELDS if fields.get(name)}
                return "--mount=" + ",".join(f"{name}={value}" for name, value in kept.items())
            if fields.get("from"):
                return f"--mount=type=bind,from={self._source(fields['from'])},target=/from"
        return ""

    def _source(self, name: str) -> str:
        """A stage or named context as it is written, `EMPTY` for an external image."""
        lower = name.lower()
        ours = lower.isdigit() or "$" in lower or lower in self.stages | self.contexts
        return name if ours or not name else EMPTY

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


def _could_be(literals: Sequence[str], name: str) -> bool:
    """Whether a name holds these texts in order, the first and the last one at its ends."""
    first, *between, last = literals
    if not (name.startswith(first) and name.endswith(last)):
        return False
    at = len(first)
    for literal in between:
        at = name.find(literal, at) + len(literal)
        if at < len(literal):
            return False
    return at <= len(name) - len(last)


def _names(text: str) -> list[str]:
    return [match[1] for match in _NAME.finditer(text)]
