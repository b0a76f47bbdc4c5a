"""Which names matrix.yaml may give: targets, releases, platforms, axes, build arguments, repositories."""

from __future__ import annotations

import re

from orchestrator.reference import InvalidReferenceError, repository

TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")  # bake target names: [a-zA-Z0-9_-]+, and no option in disguise
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
AXIS = re.compile(r"[a-z][a-z0-9_]*")
PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9_.]+)?")
ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_repository(text: str) -> bool:
    """Whether a text names an image repository, without a tag."""
    try:
        repository(text)
    except InvalidReferenceError:
        return False
    return True


def is_argument(text: str) -> bool:
    """Whether a text can name a build argument."""
    return bool(ARGUMENT.fullmatch(text))
