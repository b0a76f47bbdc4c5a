"""What we say a context holds beside what BuildKit copies out of it: `COPY . /x`, listed.

Each named context has patterns of its own; thirty of them are copied in one build.
"""

from __future__ import annotations

import io
import os
import random
import stat
import subprocess
import tarfile
import uuid
from typing import TYPE_CHECKING

import pytest

from orchestrator.cache.contents import Contents, Kind
from orchestrator.cache.statcache import StatCache
from tests.support.base import write_rootfs

if TYPE_CHECKING:
    from pathlib import Path

PATHS = [
    "a", "ab", "a.b", "b.pyc", "c*d", "[x]", "#h", "!n", "sp ace", "é", "d/a", "d/b.pyc", "d/e/a", "d/e/f/a.b",
    "d/e/f/keep", "foo/a", "foo/bar/a", "foo/bar/baz", "foobar/a", "x/foo/a", "x/y/foo", "deep/1/2/3/a", ".hidden/a",
]  # fmt: skip
WRITTEN: list[bytes] = [
    b"",
    b"*",
    b"**",
    b"*\n!a",
    b"*\n!d/e",
    b"*\n!d/e/f/keep\n",
    b"**/a",
    b"**/a\n!d/e/a",
    b"d",
    b"d/",
    b"/d",
    b"./d",
    b"d/.",
    b"d/*",
    b"d/**",
    b"d/**\n!d/e/**",
    b"**/*.pyc",
    b"*.pyc",
    b"d/**/a",
    b"foo**",
    b"**foo",
    b"**/foo/**",
    b"foo/**/a",
    b"?",
    b"a?b",
    b"[a-c]*",
    b"[^a]*",
    b"c\\*d",
    b"\\#h",
    b"#h",
    b" #h",
    b"\\!n",
    b"sp ace",
    b"  a  ",
    b"a\r\nd\r\n",
    b"\xef\xbb\xbfa\nd",
    b"\xef\xbb\xbf#a\nd",
    b"!a",
    b"d\n!d/e\nd/e/f",
    b"*\n!*/a",
    b"*\n!**/a",
    b"**\n!d",
    b"..",
    b".",
    b"/",
    b"d/../a",
    b"//d",
    b"a//b\nd//e",
    b"d/e/../a",
    b"foo\n!foo/bar",
    b"foo/*\n!foo/bar",
    b"x/*/foo",
    b"x/**/foo",
    b"**/**",
    b"***",
    b"**/",
    b"*/",
    b"! a\n*",
    b"*\n! a",
    b"*\n!/d/e",
    b"\xc3\xa9",
    b".*",
    b"**/.*",
    b"a\\.b",
    b"[[]x]",
    b"\\[x\\]",
    b"d/e/f/\n!d/e/f/keep",
    b"{a,b}",
    b"a+",
    b"(a)",
    b"^a",
    b"a$",
    b"d/e*/f",
    b"foo*/a",
    b"*/*/a",
    b"deep/**/3",
    b"deep\n!deep/1/2/3/a",
    b"d|a",
]
WORDS = ["a", "b.pyc", "d", "e", "f", "keep", "foo", "bar", "*", "**", "?", "*.pyc", "fo*", "[a-f]", "**b", "a**"]


def random_patterns(seed: int) -> bytes:
    chance = random.Random(seed)
    lines = []
    for _ in range(chance.randint(1, 5)):
        path = "/".join(chance.choice(WORDS) for _ in range(chance.randint(1, 4)))
        lines.append(chance.choice(["", "", "!", "/", "!/", "./"]) + path + chance.choice(["", "", "/"]))
    return chance.choice(["\n", "\r\n"]).join(lines).encode()


def write_tree(top: Path) -> None:
    for number, path in enumerate(PATHS):
        file = top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
        file.chmod(0o755 if number % 3 else 0o644)
    (top / "d" / "link").symlink_to("../nowhere")
    (top / "d" / "empty").mkdir()
    (top / "ab").chmod(0o640)


def ours(contents: Contents, context: str, dockerfile: str = "") -> set[tuple[str, ...]]:
    listing = contents.of(context, dockerfile=dockerfile)
    assert not listing.unknown
    return {
        (entry.path, entry.kind.value, oct(entry.mode) if entry.kind is not Kind.LINK else entry.content)
        for entry in listing.entries
    }


def theirs(archive: bytes, top: str) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.rstrip("/")
            if not path.startswith(f"{top}/"):
                continue
            kind = "directory" if member.isdir() else "link" if member.issym() else "file"
            said = member.linkname if member.issym() else oct(stat.S_IMODE(member.mode))
            found.add((path.removeprefix(f"{top}/"), kind, said))
    return found


def build(root: Path, *words: str) -> bytes:
    done = subprocess.run(
        ["docker", "buildx", "build", "--output", "type=tar,dest=-", *words], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout


@pytest.mark.parametrize("part", range(4))
def test_contexts_hold_what_buildkit_copies(tmp_path: Path, part: int) -> None:
    patterns = [*WRITTEN, *map(random_patterns, range(120 - len(WRITTEN) % 40))]
    chosen = patterns[part::4]
    words = []
    lines = ["FROM scratch"]
    for number, data in enumerate(chosen):
        top = tmp_path / f"c{number}"
        top.mkdir()
        write_tree(top)
        (top / ".dockerignore").write_bytes(data)
        words += ["--build-context", f"c{number}={top}"]
        lines.append(f"COPY --from=c{number} . /c{number}/")
    (tmp_path / "empty").mkdir()
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    archive = build(tmp_path, *words, "-f", "Dockerfile", "empty")
    contents = Contents(root=tmp_path, cache=StatCache(tmp_path / "stat"))
    wrong = {}
    for number, data in enumerate(chosen):
        one, other = ours(contents, f"c{number}"), theirs(archive, f"c{number}")
        if one != other:
            wrong[data] = (sorted(one - other), sorted(other - one))
    assert not wrong


@pytest.mark.parametrize("beside", [None, b"d\n", b"", b"#\n"], ids=["no file", "another file", "empty", "comment"])
def test_a_dockerignore_beside_the_dockerfile_is_read_as_buildkit_reads_it(
    tmp_path: Path, beside: bytes | None
) -> None:
    top = tmp_path / "context"
    top.mkdir()
    write_tree(top)
    (top / ".dockerignore").write_bytes(b"foo\n")
    (top / "docker").mkdir()
    (top / "docker" / "app.Dockerfile").write_text("FROM scratch\nCOPY . /x/\n")
    if beside is not None:
        (top / "docker" / "app.Dockerfile.dockerignore").write_bytes(beside)
    archive = build(tmp_path, "-f", "context/docker/app.Dockerfile", "context")
    contents = Contents(root=tmp_path, cache=StatCache(tmp_path / "stat"))
    assert ours(contents, "context", os.fspath(top / "docker" / "app.Dockerfile")) == theirs(archive, "x")


MOUNTED = """\
FROM scratch AS base
ADD rootfs.tar /
FROM base AS made
ARG WHEEL
RUN --network=none echo $WHEEL > /a.whl
FROM base AS installed
RUN --network=none --mount=type=bind,from=made,{mount} read wheel < {path}; echo "$wheel" > /out
FROM scratch
COPY --from=installed /out /x
"""


@pytest.mark.parametrize(
    ("mount", "path"),
    [("source=/a.whl,target=/a.whl", "/a.whl"), ("target=/m", "/m/a.whl"), ("target=/m,rw", "/m/a.whl")],
    ids=["the file", "the stage", "for writing"],
)
def test_what_a_step_mounts_from_a_stage_does_not_go_stale(tmp_path: Path, mount: str, path: str) -> None:
    write_rootfs(tmp_path)
    (tmp_path / "Dockerfile").write_text(MOUNTED.format(mount=mount, path=path))
    first, second = (uuid.uuid4().hex for _ in range(2))
    for wheel in (first, second, first):  # of one size, and the third run takes the first one's layers
        with tarfile.open(fileobj=io.BytesIO(build(tmp_path, "--build-arg", f"WHEEL={wheel}", "."))) as tar:
            held = [
                one.read().decode().strip() for name in tar.getnames() if (one := tar.extractfile(name)) is not None
            ]
        assert held == [wheel]
