"""Makes untrusted text safe to show: the one place that knows what terminals and CI runners take for more than text.

What a build, an image, a registry or a file of another repository says may hold control sequences (colours, titles,
cursor moves, turned-round lines) and commands to the runner whose log shows it. Sources: ECMA-48 for sequences; for
GitHub's runner src/Runner.Common/ActionCommand.cs (`::name` first in a line, spaces in front allowed, and the older
`##[name]` anywhere in it); Azure Pipelines `##vso[…]`, TeamCity `##teamcity[…]`.
"""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[PX^_\]]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_STYLED = r"(?:\s|\x1b\[[0-9;]*m)*"  # what our own styles put in front of a text
_COMMAND = re.compile(rf"^({_STYLED}):(?=:)")
_OLD_COMMAND = re.compile(r"#(?=#(?:vso|teamcity)?\[)")


def without_controls(text: str) -> str:
    """The text without control sequences; tabs and line ends stay."""
    return text if text.isprintable() else _CONTROL.sub("", text)


def clean(text: str) -> str:
    """One line, as it can be shown everywhere: no control sequence, no command to a runner, tabs as spaces."""
    if not text.isprintable():
        text = without_controls(text).replace("\t", "    ").replace("\n", "")
    return _disarmed(text)


def clean_lines(text: str) -> str:
    """Several lines, each of them cleaned."""
    return "\n".join(map(clean, text.split("\n")))


def disarmed_lines(text: str) -> str:
    """Several lines that no runner takes for commands; everything else in them stays, styles and tabs as well."""
    return "\n".join(map(_disarmed, text.split("\n"))) if "::" in text or "##" in text else text


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """JSON that is safe to show and has the same values: what is not ASCII and the `##` of a command are escapes.

    Args:
        value: What `json.dumps` takes.
        indent: Spaces of each level; None for one line without spaces.
    """
    import json

    separators = (",", ":") if indent is None else None
    return json.dumps(value, indent=indent, separators=separators).replace("##", "#\\u0023")


def _disarmed(line: str) -> str:
    if "##" in line:
        line = _OLD_COMMAND.sub("# ", line)
    return _COMMAND.sub(r"\1: ", line) if "::" in line else line
