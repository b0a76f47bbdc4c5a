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
    found = []
    for match in compiled.finditer(text):
        if match[1] is not None:
            start, end = match.span(1)
            while end > start and text[end - 1] == "\r" and text[end : end + 1] in {"\n", ""}:
                end -= 1  # the end of a line, as `$` means it
            found.append(Found(value=text[start:end], start=start, end=end, styles=(Style.RAW,)))
    return found


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
