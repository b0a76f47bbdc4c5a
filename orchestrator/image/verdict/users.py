"""Who the user of an image is: ids of a user and groups, as the engine takes them from /etc/passwd and /etc/group.

Measured with Docker 28.5: a number that /etc/passwd does not know has group 0; one that it knows, and a name, have its
group, and the groups that list the name where the image names no group itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.image.layers.artifacts import GROUPS, USERS
from orchestrator.image.layers.links import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.image.layers.merge import Files

_PASSWD, _GROUP = 4, 3  # fields that are read


def account(files: Files, user: str) -> str:
    """The ids behind an image's user: `1500:1600,1700`; what nobody knows stays as it is.

    Args:
        files: What the runtime sees.
        user: As an image's configuration says it: "", "1000", "app", "app:staff".
    """
    name, _, group = user.partition(":")
    if not name:
        return user
    known = next((row for row in _rows(files, USERS, _PASSWD) if name in (row[0], row[2])), None)
    uid = known[2] if known else name
    if not uid.isdigit():
        return user  # the engine does not start such an image
    if group:
        gid = next((row[2] for row in _rows(files, GROUPS, _GROUP) if row[0] == group), group)
        return f"{uid}:{gid}"
    if known is None:
        return f"{uid}:0"
    listed = [row[2] for row in _rows(files, GROUPS, _GROUP) if known[0] in "".join(row[3:4]).split(",")]
    return f"{uid}:{','.join(dict.fromkeys((known[3], *listed)))}"


def _rows(files: Files, path: str, least: int) -> Iterator[list[str]]:
    found = files.artifacts.get(resolve(path, files.links))
    for line in (found.text if found is not None else "").splitlines():
        row = line.strip().split(":")
        if len(row) >= least:
            yield row
