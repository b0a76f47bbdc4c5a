"""Our ELF section tables beside readelf's, section for section, on the libraries and objects of this machine."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

import pytest

from orchestrator.image.code.elf import NOBITS, Window, read_sections
from tests.support.engine import call
from tests.support.toolchain import host_compiler

pytestmark = pytest.mark.download  # the binutils, where they are missing

LIBRARIES = Path("/usr/lib") / f"{sysconfig.get_config_var('MULTIARCH') or 'x86_64-linux-gnu'}"
_SECTION = re.compile(r"\s*\[ *\d+\] (.*?) +([A-Z_0-9<>:]+(?: [0-9a-f]+)?) +[0-9a-f]{16} ([0-9a-f]+) ([0-9a-f]+) ")


@pytest.fixture(scope="module", autouse=True)
def _readelf() -> None:
    host_compiler()  # readelf comes with it


def theirs(path: Path) -> list[tuple[str, bool, int, int]]:
    """Name, whether it has no bytes, offset and size of every section but the first, which has no name."""
    lines = call("readelf", "--section-headers", "--wide", path).stdout.splitlines()
    found = [match for line in lines if (match := _SECTION.match(line)) and not line.strip().startswith("[Nr]")]
    return [(match[1], match[2] == "NOBITS", int(match[3], 16), int(match[4], 16)) for match in found if match[1]]


def ours(path: Path) -> list[tuple[str, bool, int, int]]:
    found = read_sections(Window(path.read_bytes()))
    return [(one.name, one.type == NOBITS, one.offset, one.size) for one in found if one.name]


def sample() -> list[Path]:
    """Shared objects and relocatable files: small and large, and Python's own extension modules."""
    libraries = sorted({path.resolve() for path in LIBRARIES.glob("*.so*") if path.is_file()})
    real = [path for path in libraries if path.read_bytes()[:4] == b"\x7fELF"]
    objects = sorted(Path("/usr/lib").glob("*-linux-gnu/crt*.o")) + sorted(Path("/usr/lib/gcc").rglob("crt*.o"))
    modules = sorted(Path(sysconfig.get_path("platlib")).rglob("*.so"))
    return [*real[:: max(1, len(real) // 80)], *objects, *modules[:20]]


def test_sections_as_readelf_lists_them() -> None:
    files = sample()
    for path in files:
        assert ours(path) == theirs(path), path
    assert len(files) > 50


def test_many_sections_and_long_names(tmp_path: Path) -> None:
    """More than 65,280 sections, whose number stands in the first section; names of a thousand characters."""
    source = tmp_path / "many.s"
    source.write_text(
        "".join(f'.section .s{number}{"n" * (1000 if number < 9 else 0)},"a"\n' for number in range(66_000))
    )
    made = tmp_path / "many.o"
    call("as", "-o", made, source)
    found = ours(made)
    assert len(found) > 66_000
    assert found == theirs(made)
