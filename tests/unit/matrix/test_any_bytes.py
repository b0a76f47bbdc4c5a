"""Whatever lies in matrix.yaml: a message with its place and exit code 2, never another exception."""

from __future__ import annotations

import copy
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import MatrixError, OrchestrateError
from orchestrator.matrix import load
from tests.support.generated import examples, stride
from tests.unit.matrix.support import EXAMPLE, planned

if TYPE_CHECKING:
    from pathlib import Path


def survive(data: bytes) -> OrchestrateError | None:
    """The error of a file, which must be one for users and point into the file; None for a good file."""
    caught: OrchestrateError | None = None
    try:
        planned(data)
    except OrchestrateError as error:
        caught = error
    if caught is not None:
        assert caught.exit_code == 2
        assert str(caught)
        lines = data.decode("utf-8-sig", errors="replace").splitlines() or [""]
        for problem in caught.problems:
            assert problem.file == "matrix.yaml"
            assert 1 <= problem.line <= len(lines) + 1, problem
            assert problem.column >= 1
            assert problem.what
            assert str(problem).isprintable()
            assert len(str(problem)) < 1700
    return caught


@given(st.binary(max_size=300))
@examples(100)
def test_any_bytes(data: bytes) -> None:
    survive(data)


@given(st.text(alphabet="abz:{}[]-,\"'&*!|>%@`#? \n\t~019.\u00e9\u2028", max_size=120))
@examples(120)
def test_any_text_of_yaml_characters(text: str) -> None:
    survive(text.encode())


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(EXAMPLE)),
            st.integers(0, 12),
            st.sampled_from(["", " ", "\n", "\t", ":", "{", "}", "[", "]", '"', "'", "&a ", "*a", "- ", "!x ", "\ufeff",
                             "\x00", "\r", "? ", "| ", "{x}", "{{x}}", "${x}", "~", "é", "x: ", "# ", "--- ", "10.1 "]),
        ),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
@examples(100)
def test_the_example_with_pieces_cut_out_and_put_in(edits: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    survive(text.encode())


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in children:
        found += _paths(value, (*path, key))
    return found


_TREE = yaml.load(EXAMPLE, Loader=yaml.BaseLoader)  # our own text, every scalar as text
_PATHS = _paths(_TREE)
_WRONG: list[Any] = [None, "{nope}", ["x"], {"x": {}}]
_DELETE = object()


def _with(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(_TREE)
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    if value is _DELETE:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    assert isinstance(tree, dict)
    return tree


@pytest.mark.parametrize("value", [_DELETE, *_WRONG], ids=lambda value: f"{value!r:.12}")
def test_every_path_with_every_wrong_value(value: Any) -> None:
    for path in _PATHS[:: stride(1)]:
        survive(json.dumps(_with(path, value)).encode())  # JSON is YAML, and quicker to write


@pytest.mark.parametrize("path", [("image",), ("variants", "args", "CUDA_VERSION"), ("variants", "tags"), ("axes",)])
@pytest.mark.parametrize(
    "value", ["", "a\nb\x1b[2J" * 200, True, [["x"]], {"": None}], ids=lambda value: f"{value!r:.9}"
)
def test_some_paths_with_stranger_values(path: tuple[Any, ...], value: Any) -> None:
    survive(json.dumps(_with(path, value)).encode())


def test_an_unknown_key_at_every_mapping_is_found_where_it_stands() -> None:
    free = {("arch_lists",), ("cuda",), ("platforms",), ("axes",), ("axes", "python"), ("axes", "python", "3.12"),
            ("axes", "python", "3.13"), ("variants", "args"), ("overrides", 0, "args"),
            ("bake", "targets")}  # fmt: skip
    mappings = [()] + [path for path in _PATHS if isinstance(_at(path), dict) and path not in free]
    assert len(mappings) > 15
    for path in mappings:
        text = yaml.dump(_with((*path, "zzz"), "1"), sort_keys=False)
        error = survive(text.encode())
        assert error is not None, path
        line = next(number for number, line in enumerate(text.splitlines(), 1) if "zzz" in line)
        column = text.splitlines()[line - 1].index("zzz") + 1
        assert (line, column) in {(p.line, p.column) for p in error.problems if "zzz" in p.what}, (path, str(error))


def _at(path: tuple[Any, ...]) -> Any:
    tree: Any = _TREE
    for step in path:
        tree = tree[step]
    return tree


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "matrix.yaml:1:1: version is missing"),
        (b"hello", "matrix.yaml:1:1: the file is invalid, expected a mapping, found hello"),
        (b"[1,2]", "matrix.yaml:1:1: the file is invalid, expected a mapping, found a list"),
        (b"~", "matrix.yaml:1:1: the file is invalid, expected a mapping, found nothing"),
        (b"a: 1\n\tb: 2\n", "matrix.yaml:2:1: not YAML: "),
        ("a: é\nbc: é\0".encode(), "matrix.yaml:2:6: not YAML: unacceptable character #x0000"),
        ("a: é\né: ".encode() + b"\xff", "matrix.yaml:2:4: not UTF-8, found byte 0xff"),
        (EXAMPLE.encode("utf-16"), "matrix.yaml:1:1: not UTF-8, found byte 0xff"),
        (b"a: 1\na: 2\n", "matrix.yaml:2:1: duplicate key a (first: line 1)"),
        (b"a: &x {b: 1}\nc:\n  <<: *x\n", "matrix.yaml:3:3: merge keys are not supported"),
        (b"? [a, b]\n: 1\n", "matrix.yaml:1:3: not a plain key"),
        (b"a: 1\n---\nb: 1\n", "matrix.yaml:2:1: not YAML: "),
        (b"&a [*a]", "matrix.yaml:1:1: nested too deeply"),
        (b"&a {b: *a}", "matrix.yaml:1:1: nested too deeply"),
        (b"[" * 900_000, "matrix.yaml:1:41: nested too deeply"),  # libyaml's composer recurses in C
        (b"- " * 400_000, "matrix.yaml:1:81: nested too deeply"),
        (b"{a: " * 200_000, "matrix.yaml:1:161: nested too deeply"),
        (b"a: [x" + b",x" * 60_000 + b"]", "matrix.yaml:1:100001: too many values"),
        (b"!!python/object/apply:os.system [true]", "expected a mapping, found a list"),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_strange_files(data: bytes, message: str) -> None:
    error = survive(data)
    assert error is not None
    assert any(message in str(problem) for problem in error.problems), str(error)


def test_aliases_of_aliases_end() -> None:
    names = "abcdefghij"
    text = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    text += "".join(f"{n}: &{n} [{','.join(f'*{m}' for _ in range(9))}]\n" for m, n in itertools.pairwise(names))
    started = time.monotonic()
    error = survive(text.encode())
    assert "too many values (aliases of aliases?)" in str(error)
    assert time.monotonic() - started < 20  # nine to the tenth would take hours


def test_axes_that_multiply_without_bound_are_refused() -> None:
    values = "{" + ", ".join(f"v{number}: {{}}" for number in range(60)) + "}"
    axes = "".join(f"  {name}: {values}\n" for name in ("aa", "bb", "cc", "dd"))
    error = survive(EXAMPLE.replace('  python: {"3.12": {}, "3.13": {}}\n', axes).encode())
    assert "combinations are too many, expected at most 100,000" in str(error)


@pytest.mark.parametrize("change", ["bom", "crlf", "both"])
def test_files_of_windows_are_read(change: str) -> None:
    text = EXAMPLE if change == "bom" else EXAMPLE.replace("\n", "\r\n")
    data = text.encode("utf-8" if change == "crlf" else "utf-8-sig")
    assert [v.id for v in planned(data).variants] == [v.id for v in planned(EXAMPLE).variants]
    broken = data.replace(b"{archs.torch}", b"{archs.torhc}")
    error = survive(broken)
    line = EXAMPLE.splitlines().index('    torch_cuda_arch_list: "{archs.torch}"') + 1
    assert error is not None
    assert (error.problems[0].line, error.problems[0].column) == (line, 28)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match="no such file") as caught:
        load.load(tmp_path / "matrix.yaml")
    assert "--file" in caught.value.hint
    with pytest.raises(MatrixError, match="cannot be read: Is a directory"):
        load.load(tmp_path)
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * 1_000_001)
    with pytest.raises(MatrixError, match="larger than 1,000,000 bytes"):
        load.load(big)
    (tmp_path / "file").touch()
    with pytest.raises(MatrixError, match="cannot be read: Not a directory"):
        load.load(tmp_path / "file" / "matrix.yaml")
    with pytest.raises(MatrixError, match="cannot be read: File name too long"):
        load.load(tmp_path / ("x" * 300))
