"""Our verdict on an image's headers beside FlashInfer's own loader: damaged trees, two users, read-only roots.

The loader runs in a mount namespace in which /opt is the image's (read-only, or below an overlay that takes writes),
/tmp is empty and open to everybody, and nothing else can be written by the user.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pip
import pytest

from orchestrator.headers import bundle, layout, pins, sources, work
from orchestrator.headers.store import Store
from orchestrator.image.layers.merge import merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.verdict.bundle import Carried, judge
from orchestrator.image.verdict.scanned import Scanned
from tests.support import flashinfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.headers.lock import Lock

pytestmark = pytest.mark.download

VERSION = "0.6.13"
OTHERS = ("0.6.6", "0.6.17", "0.7.2.post1")
"""One version of each other layout: L1, L3 and L4. The artifacts of the last two are not public: see `retargeted`."""

DIRECTORY = "/opt/flashinfer/cubins"
SITE = str(Path(pip.__file__).parents[1])
READ_ONLY_ROOT = "which a read-only root forbids"

_NAMESPACE = """
set -e
mkdir -p "$1/mounted"
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/package /mnt/python /mnt/site /mnt/upper /mnt/work
mount --bind "$3" /mnt/package
mount --bind "$4" /mnt/python
mount --bind "$6" /mnt/site  # what the loader imports; this user may see no environment in somebody's home
if [ "$2" = read-only ]; then
    mount --bind "$1/opt" /opt
    mount -o remount,ro,bind /opt
else
    mount -t overlay -o "lowerdir=$1/opt,upperdir=/mnt/upper,workdir=/mnt/work" overlay /opt
fi
user=$5 python=$4
shift 6
# the interpreter may lie below a directory that this user may not enter: the topmost one is replaced
closed= folder=$python
while [ "$folder" ]; do
    setpriv --reuid "$user" --regid "$user" --clear-groups test -x "$folder" || closed=$folder
    folder=${folder%/*}
done
if [ "$closed" ]; then
    mount -t tmpfs -o mode=755 tmpfs "$closed"
    mkdir -p "$python"
    mount --bind /mnt/python "$python"
fi
mount -t tmpfs -o mode=1777 tmpfs /tmp
export HOME=/tmp PYTHONPATH=/mnt/site
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A placed bundle below `root`, as an image has it."""

    root: Path
    lock: Lock
    package: Path

    @property
    def cubins(self) -> Path:
        return self.root / DIRECTORY.strip("/")

    def pin(self, attr: str = "TRTLLM_GEN_BMM") -> Path:
        return self.cubins / next(item.pin.path for item in self.lock.pins if item.pin.attr == attr)

    def header(self, attr: str = "TRTLLM_GEN_BMM", name: str = "trtllm/gen/SparsityDecl.h") -> Path:
        below = str(self.pin(attr).relative_to(self.cubins))
        found = [one.path for one in self.lock.headers if one.path.startswith(below) and one.path.endswith(name)]
        flat = f"{layout.FLAT_BMM}/{found[0].partition('_export/')[2]}"
        if self.lock.layout == "L1" and attr == "TRTLLM_GEN_BMM":  # it reads the flat copy of these
            return self.cubins / flat
        return self.cubins / found[0]


def swapped(tree: Tree) -> None:
    one, other = tree.header(name="/Enums.h"), tree.header("TRTLLM_GEN_GEMM", "/Enums.h")
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def flipped(tree: Tree) -> None:
    data = tree.header().read_bytes()
    tree.header().write_bytes(bytes([data[0] ^ 1]) + data[1:])


def linked(tree: Tree, to: str) -> Path:
    """The place to write, as a link; without a target it is removed."""
    link = tree.cubins / "flashinfer"
    if link.is_symlink():
        link.unlink()
    if to:
        link.symlink_to(to)
    return link


def directory(tree: Tree, mode: int, *, owner: int = 0) -> None:
    made = linked(tree, "")
    made.mkdir()
    made.chmod(mode)
    os.chown(made, owner, owner)


def moved(tree: Tree, target: str) -> None:
    """A header that is a link: to where its bytes are now, or to nothing."""
    kept = tree.cubins / "kept.h"
    shutil.move(tree.header(), kept)
    tree.header().symlink_to(target)


def elsewhere(tree: Tree) -> None:
    """The directory itself is a link, as docker/Dockerfile makes one into the package."""
    other = tree.root / "opt" / "other"
    shutil.move(tree.cubins, other)
    tree.cubins.symlink_to("../other")


DAMAGES: dict[str, Callable[[Tree], object]] = {
    "none": Tree.header,  # which changes nothing
    "a header is missing": lambda tree: tree.header().unlink(),
    "a header has one other bit": flipped,
    "two headers are swapped": swapped,
    "a header is for root alone": lambda tree: tree.header().chmod(0o600),
    "a header is a link to its bytes": lambda tree: moved(tree, f"{DIRECTORY}/kept.h"),
    "a header is a link to nothing": lambda tree: moved(tree, "/nowhere.h"),
    "a manifest is missing": lambda tree: (tree.pin() / "checksums.txt").unlink(),
    "a directory of headers is for root alone": lambda tree: tree.header().parents[2].chmod(0o700),
    "the cubin directory is for root alone": lambda tree: tree.cubins.chmod(0o700),
    "the cubin directory may be entered and not listed": lambda tree: tree.cubins.chmod(0o711),
    "the cubin directory is a link": elsewhere,
    "more files than the lock names": lambda tree: (tree.header().parent / "more.h").write_text("//"),
    "no place to write": lambda tree: linked(tree, ""),
    "the place to write leads nowhere": lambda tree: linked(tree, "/nowhere/at/all"),
    "the place to write leads in a circle": lambda tree: linked(tree, "flashinfer"),
    "the place to write is a file": lambda tree: shutil.move(tree.cubins / "SHA256SUMS", linked(tree, "")),
    "the place to write is root's directory": lambda tree: directory(tree, 0o755),
    "the place to write is open to all": lambda tree: directory(tree, 0o777),
    "the place to write is the user's": lambda tree: directory(tree, 0o755, owner=1000),
}  # fmt: skip


STRICTER = {"a header is a link to its bytes": "is a link to /opt/flashinfer/cubins/kept.h, which is not read"}
"""What the loader accepts and we do not, and why: bytes outside of the known places are in no layer's scan."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="headers-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@dataclass(frozen=True, kw_only=True)
class Version:
    """A FlashInfer: its Python files, and the bundle for it."""

    package: Path
    lock: Lock
    store: Store


def version_in(name: str, place: Path) -> Version:
    public = name in flashinfer.CUBINS
    package = flashinfer.unpack(name) if public else flashinfer.retargeted(name, place)
    store = Store(place / "store")
    mirror = sources.source_of(str(flashinfer.cubin_wheel(name if public else VERSION)))
    lock, _ = work.make_lock(pins.read(flashinfer.wheel(name) if public else package), store, [mirror])
    return Version(package=package, lock=lock, store=store)


@pytest.fixture(scope="module")
def carried(place: Path) -> Version:
    return version_in(VERSION, place)


@pytest.fixture(scope="module")
def others(place: Path) -> Callable[[str], Version]:
    return cache(partial(version_in, place=place))


def damaged(carried: Version, root: Path, damage: str) -> Tree:
    tree = Tree(root=root, lock=carried.lock, package=carried.package)
    tree.cubins.parent.mkdir(parents=True)
    bundle.materialise(carried.lock, carried.store, tree.cubins)
    if layout.named(carried.lock.layout).writes and not (tree.cubins / "flashinfer").exists():
        linked(tree, "/tmp")
    DAMAGES[damage](tree)
    return tree


def ours(tree: Tree, user: str) -> Carried:
    """The verdict on an image with this tree, from its layer alone."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in sorted(tree.root.rglob("*")):
            tar.add(path, path.relative_to(tree.root).as_posix(), recursive=False)
    data = raw.getvalue()
    files = merge([scan_layer(io.BytesIO(data), len(data))])
    return judge(Scanned(source="image", environment={"FLASHINFER_CUBIN_DIR": DIRECTORY}, files=files, image=True,
                         user=user))  # fmt: skip


def theirs(tree: Tree, user: str, root: str) -> dict[str, str]:
    python = str(Path(os.path.realpath(sys.executable)).parents[1])
    found = flashinfer.run(
        tree.lock.version, Path(DIRECTORY), Path("/tmp"), package=Path("/mnt/package"),
        prefix=["sh", "-c", _NAMESPACE, "sh", str(tree.root), root, str(tree.package), python, user, SITE],
    )  # fmt: skip
    results: dict[str, str] = found["results"][0]
    return results


def disagreements(tree: Tree, damage: str, cells: list[tuple[str, str]]) -> list[object]:
    """The users and roots for which the loader and we do not say the same."""
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda cell: theirs(tree, *cell), cells))
    wrong: list[object] = []
    for (user, root), verdicts in zip(cells, said, strict=True):
        verdict = ours(tree, f"{user}:{user}")
        warned = any(READ_ONLY_ROOT in warning for warning in verdict.warnings)
        accepted = not verdict.problems and not (root == "read-only" and warned)
        works = not any(verdicts.values())
        if damage in STRICTER:
            assert works
            assert STRICTER[damage] in verdict.problems[0].what
        elif accepted != works:
            wrong.append((user, root, [problem.what for problem in verdict.problems], verdict.warnings, verdicts))
    return wrong


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_verdict_is_the_loaders(carried: Version, place: Path, damage: str) -> None:
    tree = damaged(carried, place / damage.replace(" ", "-"), damage)
    cells = [(user, root) for user in ("0", "1000") for root in ("read-only", "writable")]
    assert not disagreements(tree, damage, cells)


# in 0.6.6 the place to write is the directory of the flat copy, and no link, and no two headers have the same name
NOT_IN_0_6_6 = ("to write", "swapped")


@pytest.mark.parametrize(
    ("version", "damage"),
    [
        (version, damage) for version in OTHERS for damage in DAMAGES
        if version != "0.6.6" or not any(word in damage for word in NOT_IN_0_6_6)
    ],
)  # fmt: skip
def test_the_verdict_is_the_loaders_in_other_layouts(
    others: Callable[[str], Version], place: Path, version: str, damage: str
) -> None:
    tree = damaged(others(version), place / f"{version}-{damage.replace(' ', '-')}", damage)
    assert not disagreements(tree, damage, [("0", "writable"), ("1000", "read-only")])


def test_the_damages_are_damages(carried: Version, place: Path) -> None:
    """At least twelve of the trees are refused for one of the users, by the loader and by us."""
    refused = 0
    for damage in DAMAGES:
        tree = damaged(carried, place / f"again-{damage.replace(' ', '-')}", damage)
        verdicts = [ours(tree, f"{user}:{user}") for user in ("0", "1000")]
        refused += any(verdict.problems or verdict.warnings for verdict in verdicts)
        shutil.rmtree(tree.root)
    assert refused >= 12
