"""A second reading of an edited file, by a parser that did not find the place: what else would the edit change?

JSON, TOML and YAML are loaded by their own parsers and compared value by value; a script, a Dockerfile, and a script
inside a string are split into words by `shlex`. Of HCL and CMake every word and string but the edited one must stay, of
env files, Makefiles and requirements every line, and of the edited line its name and its comment; a requirement whose
hashes are those of its version is not edited.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_LISTED = re.compile(r"\s*(?:-\s+)?[\w.*?-]+\s*=[^'\"]*")  # NAME=the rest of the line
_SHELL = frozenset({"shell", "text", "dockerfile"})
_WORDS = re.compile(
    r"""(?P<fixed>\#[^\n]*|//[^\n]*|/\*.*?\*/|\s+|[{}\[\]()=,:?])|"(?:\\.|[^"\\\n])*"|[^\s{}\[\]()=,:?"\#]+|.""",
    re.DOTALL,
)
_CMAKE_WORDS = re.compile(
    r"""(?<![^\s()"\#])\d[\w.+-]*(?:\s+\d[\w.+-]*)*(?![^\s()"\#])"""
    r"""|(?P<fixed>\#[^\n]*|\s+|[()])|"(?:\\.|[^"\\\n])*"|(?:\\.|[^\s()"\#\\])+|.""",
    re.DOTALL,
)
"""Numbers in several words count as one: set(NAME 80-real 90)."""
_GOES_ON = re.compile(r"[ \t]*\\\r?\n[ \t]*")
_ENV = re.compile(r"""(?P<name>[^=]*=[ \t]*)(?:(?P<quote>["']).*?(?P=quote)|.*?)(?P<rest>(?:[ \t]+\#.*)?[ \t\r]*)""")
_PINNED = re.compile(
    r"(?P<name>[^=<>!~;#]*={2,3}[ \t]*)(?P<version>[^\s;#,]+)(?P<rest>[ \t\r]*(?:[;#,]|--).*|[ \t\r]*)"
)
_MAKE = re.compile(r"(?P<name>[^=]*=[ \t]*)(?:\\.|[^\\#])*?(?P<rest>[ \t]*(?:\#.*)?\r?)")


def objection(reader: str, before: str, after: str, edits: int) -> str:
    """Why an edited text must not be written; "" where nothing speaks against it.

    Args:
        reader: How the file is read: json, yaml, shell, …
        before: The text.
        after: The text with its edits.
        edits: How many values were meant to change.
    """
    if reader in {"json", "toml", "yaml"}:
        return _tree(reader, before, after, edits)
    if reader in {"bake", "cmake"}:
        return _strings(before, after, edits, _CMAKE_WORDS if reader == "cmake" else _WORDS)
    if reader in {"env", "make"}:
        return _lines(reader, before, after, edits)
    if reader == "requirements":
        return _requirements(before, after, edits)
    return _words(before, after) if reader in _SHELL else ""


def _tree(reader: str, before: str, after: str, edits: int) -> str:
    try:
        old = _load(reader, before)
    except (ValueError, RecursionError):
        return ""  # the file's own parser does not read it as it is
    try:
        new = _load(reader, after)
    except (ValueError, RecursionError):
        return f"the file is no longer {reader.upper()}"
    changed = _differences(old, new)
    if changed is None:
        return "another value of the file changes its shape"
    if len(changed) > edits:
        return "it changes other values as well"
    return next((why for one in changed if (why := _words(*one))), "")


def _load(reader: str, text: str) -> Any:
    """The values of a file as its own parser loads them.

    Raises:
        ValueError: It is not of that format.
    """
    if reader == "json":
        return json.loads(text.removeprefix("\ufeff"))
    if reader == "toml":
        return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    import yaml

    try:
        return [_plain(document) for document in yaml.compose_all(text, Loader=yaml.SafeLoader)]
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _plain(node: Any) -> Any:
    """A YAML node as lists and texts: what a scalar says, whatever its type."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        yaml.SafeLoader("").flatten_mapping(node)  # what `<<` brings, in front of the node's own keys
        pairs = [[_plain(key), _plain(value)] for key, value in node.value]
        return list({json.dumps(key): [key, value] for key, value in pairs}.values())
    return [_plain(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else getattr(node, "value", "")


def _differences(old: Any, new: Any) -> list[tuple[str, str]] | None:
    """The scalars that differ, None where the shapes do."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = list(zip(old.values(), new.values(), strict=True)) if list(old) == list(new) else None
    elif isinstance(old, list) and isinstance(new, list):
        pairs = list(zip(old, new, strict=True)) if len(old) == len(new) else None
    elif isinstance(old, (dict, list)) or isinstance(new, (dict, list)):
        return None
    else:
        return [] if (type(old), old) == (type(new), new) else [(str(old), str(new))]
    if pairs is None:
        return None
    found: list[tuple[str, str]] = []
    for one in pairs:
        inner = _differences(*one)
        if inner is None:
            return None
        found += inner
    return found


def _strings(before: str, after: str, edits: int, form: re.Pattern[str]) -> str:
    """Whether as many strings and words differ as were edited, and all between them is the same."""
    old, new = ([(one[0], one["fixed"]) for one in form.finditer(text)] for text in (before, after))
    changed = [(was, now) for was, now in zip(old, new, strict=False) if was != now]
    if len(old) != len(new) or any(was[1] or now[1] for was, now in changed):
        return "it changes more than a string of the file"
    return "it changes other values as well" if len(changed) > edits else ""


def _lines(reader: str, before: str, after: str, edits: int) -> str:
    """Whether as many lines differ as were edited, each in its value alone."""
    texts = (_GOES_ON.sub(" ", text) if reader == "make" else text for text in (before, after))
    old, new = (text.split("\n") for text in texts)
    changed = [(was, now) for was, now in zip(old, new, strict=False) if was != now]
    if len(old) != len(new) or len(changed) > edits:
        return "it changes other lines as well"
    form = _MAKE if reader == "make" else _ENV
    for was, now in changed:
        one, other = form.fullmatch(was), form.fullmatch(now)
        if one is None or other is None or one.group("name", "rest") != other.group("name", "rest"):
            return "it changes more than the value of a line"
    return ""


def _requirements(before: str, after: str, edits: int) -> str:
    """Whether as many requirements differ as were edited, each in its version alone."""
    old, new = (_GOES_ON.sub(" ", text).split("\n") for text in (before, after))
    changed = [(was, now) for was, now in zip(old, new, strict=False) if was != now]
    if len(old) != len(new) or len(changed) > edits:
        return "it changes other lines as well"
    for was, now in changed:
        one, other = _PINNED.fullmatch(was), _PINNED.fullmatch(now)
        if one is None or other is None or one.group("name", "rest") != other.group("name", "rest"):
            return "it changes more than the version of a requirement"
        if not _is_version(other["version"]):
            return "what it writes is not a version"
        if "--hash" in one["rest"]:
            return "the hashes of the requirement are those of its version"
    return ""


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return bool(Version(text).release)
    except InvalidVersion:
        return False


def _words(before: str, after: str) -> str:
    """Whether a script has as many words as before; only lines that changed are looked at."""
    old, new = before.split("\n"), after.split("\n")
    if len(old) != len(new):
        return "it changes the lines of a script"
    for was, now in zip(old, new, strict=True):
        if was == now or "=" not in was or _LISTED.fullmatch(was):
            continue
        if (split := _split(was)) is not None:
            again = _split(now)
            if again is None or len(again) != len(split):
                return "it changes the words of a command"
    return ""


def _split(line: str) -> Sequence[str] | None:
    """The words of a line, None where its quotes do not close on it."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return None
