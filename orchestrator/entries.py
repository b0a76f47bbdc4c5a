"""Writes and reads the entries of bake's list attributes: `type=oci,dest=out/app.tar`, a line of CSV.

Source: buildx reads each entry as one CSV record; a field with a comma or a quotation mark is quoted (measured with
buildx 0.29). `bake --print` gives objects instead, older releases the text.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUOTED = frozenset(',"\n\r')


def entry(fields: Mapping[str, str]) -> str:
    """Return the text of an entry, its fields in the order given."""
    return ",".join(_quoted(f"{name}={value}") for name, value in fields.items())


def read_entry(value: Any) -> dict[str, str]:
    """Return the fields of an entry, as text or as the object that `bake --print` gives; {} for anything else."""
    if isinstance(value, dict):
        return {str(name): str(text).lower() if isinstance(text, bool) else str(text) for name, text in value.items()}
    if not isinstance(value, str):
        return {}
    try:
        rows = list(csv.reader([value], strict=True))
    except csv.Error:
        return {}
    return {name.strip(): text for field in rows[0] for name, _, text in [field.partition("=")]} if rows else {}


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if _QUOTED & set(field) else field
