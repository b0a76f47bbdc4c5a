"""Follows symlinks: those of an image below its root, and those of one layer that its own members lead through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.image.layers.tar import DamagedArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_STEPS = 20_000_000  # a few seconds; an image of 50,000 links takes under a million
_PATH_MAX = 4096  # of Linux: nothing can be opened by a longer path
_MOST_CHARACTERS = 32 << 20  # of the directories of one layer, all together: 300,000 of a hundred each
_MOST_REPLACED = 100  # directories of one layer whose place a file takes; no builder writes one


def parents(path: str) -> Iterator[str]:
    """The directories above a path, the nearest first, without the root."""
    at = path.rfind("/")
    while at > 0:
        path = path[:at]
        yield path
        at = path.rfind("/")


class Links:
    """Follows symlinks below the image's root, as often as it is asked and not for ever.

    Args:
        links: Path -> target of each symlink, as written; absolute targets start at the image's root.
        steps: Path components to look at in all; links made to lead in circles would take hours.
    """

    def __init__(self, links: Mapping[str, str], steps: int = MAX_STEPS) -> None:
        self._links = links
        self.left = steps

    def resolve(self, path: str) -> str:
        """A path that is not a symlink; "" for a loop, or when all steps are used up."""
        for _ in range(40):  # what Linux follows at most
            done: list[str] = []
            rest = path.split("/")[::-1]
            self.left -= len(rest)
            if self.left < 0:
                return ""
            target = None
            while rest and target is None:
                part = rest.pop()
                if part == "..":
                    del done[-1:]
                elif part not in ("", "."):
                    done.append(part)
                    target = self._links.get("/".join(done))
            if target is None:
                return "/".join(done)
            base = [] if target.startswith("/") else done[:-1]
            path = "/".join([*base, target, *reversed(rest)])
        return ""


def resolve(path: str, links: Mapping[str, str]) -> str:
    """Where a path leads when every symlink on the way is followed below the image's root; "" for a loop.

    Args:
        path: Normalised.
        links: Path -> target of each symlink, as written.
    """
    return Links(links).resolve(path)


class Landing:
    """Where the members of one layer land.

    containerd unpacks a layer into a directory of its own, where no lower layer is seen: a member goes through the
    links that came before it in the same archive, and one that is no directory takes the place of a directory with all
    that is in it (measured, engine 28.5).
    """

    def __init__(self) -> None:
        self._folders: set[str] = set()  # that members lie in, with no link on the way
        self._left = MAX_STEPS
        self._characters = 0
        self._replaced = 0

    def place(self, path: str, links: Mapping[str, str]) -> str:
        """Return where a member lands.

        Args:
            path: As the archive names it, normalised.
            links: Path -> target of the links that the layer has so far.

        Raises:
            DamagedArchiveError: The links make work without end, or the directories have too many characters in all.
        """
        folder, _, name = path.rpartition("/")
        if not folder or len(path) > _PATH_MAX or folder in self._folders:
            return path
        if links and any(parent in links for parent in parents(path)):
            follow = Links(links, self._left)
            real = follow.resolve(folder)
            self._left = follow.left
            if self._left < 0:
                raise DamagedArchiveError("tar: links that lead in circles")
            path = f"{real}/{name}" if real else name
        for parent in parents(path):
            if parent in self._folders:
                break
            self._folders.add(parent)
            self._characters += len(parent)
        if self._characters > _MOST_CHARACTERS:
            raise DamagedArchiveError(f"tar: its directories have over {_MOST_CHARACTERS} characters")
        return path

    def holds(self, path: str) -> bool:
        """Whether a member lies below a path."""
        return path in self._folders

    def leave(self, path: str) -> None:
        """Forget that members lie below a path.

        Raises:
            DamagedArchiveError: It happens more often than in any real layer.
        """
        self._replaced += 1
        if self._replaced > _MOST_REPLACED:
            raise DamagedArchiveError("tar: files take the place of directories again and again")
        start = f"{path}/"
        self._folders -= {one for one in self._folders if one == path or one.startswith(start)}
