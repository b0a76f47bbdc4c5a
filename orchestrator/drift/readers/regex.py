"""A regular expression with exactly one group, for files without a reader of their own."""

from __future__ import annotations

import re

from orchestrator.dockerfile.spans import Found, Style


def read(text: str, pattern: str) -> list[Found]:
    """Every match's group.

    Args:
        text: The file's text.
        pattern: A regular expression with one group; `^` and `$` are those of a line.

    Raises:
        ValueError: It is not a regular expression, or does not have exactly one group.
    """
    compiled = compile_pattern(pattern)
    matches = compiled.finditer(text)
    return [
        Found(value=match[1], start=match.start(1), end=match.end(1), styles=(Style.RAW,))
        for match in matches
        if match[1] is not None
    ]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The compiled expression, which must have one group.

    Raises:
        ValueError: It is not a regular expression, or does not have exactly one group.
    """
    compiled = compile_any(pattern)
    if compiled.groups != 1:
        raise ValueError(f"the regular expression is invalid: expected exactly one group, found {compiled.groups}")
    return compiled


def compile_any(pattern: str) -> re.Pattern[str]:
    """The compiled expression, with any number of groups.

    Raises:
        ValueError: It is not a regular expression.
    """
    try:
        return re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
