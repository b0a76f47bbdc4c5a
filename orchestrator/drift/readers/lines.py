"""NAME=value, one a line, where the value is the rest of the line: env files, and the lists of workflows and compose.

Two grammars. In a list (`build-args:` of docker/build-push-action, `args:` and `environment:` of compose, and the
TARGET.args.NAME=value of `set:` of docker/bake-action) the value is every character up to the end of the line. In an
env file (`.env`) a value may be quoted, and ` #` begins a comment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.dockerfile.spans import Style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.spans import Found, Source

_LINE = re.compile(
    r"^[ \t\ufeff]*(?P<export>export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)(?P<blank>[ \t]*)=(?P<value>[^\n]*)", re.MULTILINE
)
_ENTRY = re.compile(
    r"^[ \t\ufeff]*(?:--build-arg=|[^\s=#\"']+\.args\.)?(?P<name>[A-Za-z_][\w.-]*)=(?P<value>[^\n]*)", re.MULTILINE
)
_FLAG = re.compile(r"--build-arg=[A-Za-z_][\w.-]*=(?!.*\s-)[^\s\"'\\][^\"'\n\\]*", re.ASCII)
_SET = re.compile(r"^[ \t]*[^\s=#\"']+\.args\.[A-Za-z_]", re.MULTILINE)
_DEFAULT = re.compile(r"\$\{[A-Za-z_]\w*:?-(?P<default>[^${}'\"\\`]*)\}", re.ASCII)
_COMMENT = re.compile(r"[ \t]#")
_GOES_ON = re.compile(r"[\w.-]+=\d[\w.+;-]*(?: \d[\w.+;-]*)+")
LISTS = frozenset(
    {"args", "build-args", "build_args", "buildargs", "build-arg", "env", "env_file", "environment", "variables"}
)
"""Keys, in lowercase letters, of strings and lists of strings that hold NAME=value and no commands."""


def read_list(source: Source) -> Iterator[tuple[str, Found]]:
    """Every NAME=value of a list, that of TARGET.args.NAME=value too: the name and the place of its value."""
    for match in _ENTRY.finditer(source.text):
        start, end = _stripped(source.text, *match.span("value"))
        yield match["name"], source.found(source.text[start:end], start, end, Style.RAW)


def read_env(source: Source) -> Iterator[tuple[str, Found]]:
    """Every NAME=value of an env file: the name and the place of its value."""
    text = source.text
    for match in _LINE.finditer(text):
        start, end = _stripped(text, *match.span("value"))
        quote = text[start : start + 1]
        close = text.find(quote, start + 1, end) if quote in {"'", '"'} and quote else -1
        if close > 0:
            style = Style.SINGLE if quote == "'" else Style.ENV_QUOTED
            found = source.found(text[start + 1 : close], start + 1, close, style)
            yield match["name"], found if style is Style.SINGLE else default_of(found)
            continue
        comment = _COMMENT.search(text, start, end)
        start, end = _stripped(text, start, comment.start() if comment else end)
        yield match["name"], default_of(source.found(text[start:end], start, end, Style.ENV_PLAIN))


def default_of(found: Found) -> Found:
    """The default of a value that is `${NAME:-default}` and nothing else; any other value as it is."""
    value = found.value
    default = _DEFAULT.fullmatch(value)
    if default is None or found.via or found.end - found.start != len(value):
        return found
    start, end = found.start + default.start("default"), found.start + default.end("default")
    return replace(
        found,
        value=default["default"],
        start=start,
        end=end,
        styles=(Style.DEFAULT, *found.styles),
        written=value,
    )


def is_list(key: str, text: str) -> bool:
    """Whether a string holds NAME=value, one a line, and no commands.

    Args:
        key: The key that it stands under.
        text: The string. Under any other key than those of `LISTS`, a value must go on behind a blank with a number,
            which no command does: LIST=8.0 9.0.
    """
    if "=" not in text:
        return False
    if key.lower() == "set" and _SET.search(text):
        return True
    lines = [line.strip() for line in text.splitlines()]
    named = [line for line in lines if line and not line.startswith("#")]
    if not named or not all(_LINE.match(line) for line in named):
        return False
    return key.lower() in LISTS or any(_GOES_ON.fullmatch(line) for line in named)


def is_flag(text: str) -> bool:
    """Whether a string is one argument of a command, `--build-arg=NAME=value`: no shell reads it, `;` is a character.

    Quotes, and further flags behind it, are for a shell.
    """
    return _FLAG.fullmatch(text) is not None


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blanks around it."""
    while start < end and text[start] in " \t":
        start += 1
    while end > start and text[end - 1] in " \t\r":
        end -= 1
    return start, end
