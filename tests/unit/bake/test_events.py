"""Lines of bake's standard error, decoded: recorded from a real engine, built by hand, and any bytes at all."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.bake.events import PlainLine, StepKind, Update, decode, step_command, step_kind
from tests.support.generated import examples

RECORDED = Path(__file__).parent / "recorded"

KINDS = {
    "[base 2/5] RUN make -j8": StepKind.RUN,
    "[linux/arm64 base 2/5] RUN --mount=type=cache,id=x make": StepKind.RUN,
    "[1/2] RUN x": StepKind.RUN,
    "[stage-0 1/1] FROM docker.io/library/debian:12": StepKind.BASE,
    "[base 2/5] COPY --from=wheels /w /w": StepKind.FILE,
    "[base 2/5] WORKDIR /src": StepKind.FILE,
    "[base 2/5] ADD base.tar /": StepKind.FILE,
    "[base 2/5] ADD https://example.org/x.tar /": StepKind.FETCH,
    "[1/1] ADD --checksum=sha256:0 http://127.0.0.1:1/x /x": StepKind.FETCH,
    "[base 3/5] COPY https://looks-like-a-url /x": StepKind.FILE,
    "https://example.org/x.tar": StepKind.FETCH,
    "[internal] load metadata for docker.io/library/debian:12": StepKind.METADATA,
    "resolve image config for docker-image://docker.io/docker/dockerfile:1": StepKind.METADATA,
    "docker-image://docker.io/docker/dockerfile:1@sha256:0": StepKind.BASE,
    "[auth] library/debian:pull token for registry-1.docker.io": StepKind.AUTH,
    "importing cache manifest from 127.0.0.1:5000/c:1": StepKind.CACHE_IMPORT,
    "exporting cache to registry": StepKind.CACHE_EXPORT,
    "exporting cache to client directory": StepKind.CACHE_EXPORT,
    "exporting to GitHub Actions Cache": StepKind.CACHE_EXPORT,
    "preparing layers for inline cache": StepKind.CACHE_EXPORT,
    "exporting to image": StepKind.EXPORT,
    "pushing 127.0.0.1:5000/x with docker": StepKind.EXPORT,
    "[internal] load build context": StepKind.CONTEXT,
    "[context source] load from client": StepKind.CONTEXT,
    "[internal] load build definition from Dockerfile": StepKind.INTERNAL,
    "resolving provenance for metadata file": StepKind.INTERNAL,
    "": StepKind.INTERNAL,
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_kind_is_read_from_the_name(name: str, kind: StepKind) -> None:
    assert step_kind(name) is kind


def test_the_instruction_of_a_step() -> None:
    assert step_command("[base 2/5] RUN make") == "RUN make"
    assert step_command("[internal] load .dockerignore") is None


@pytest.mark.parametrize("name", ["good", "bad", "missing"])
def test_every_recorded_line_is_understood(name: str) -> None:
    lines = (RECORDED / f"{name}.jsonl").read_bytes().splitlines()
    for line in lines:
        found = decode(line)
        if line.startswith(b"{"):
            assert isinstance(found, Update)
            row = json.loads(line)
            assert len(found.vertexes) == len(row.get("vertexes", []))
            assert len(found.statuses) == len(row.get("statuses", []))
            assert [log.data for log in found.logs] == [base64.b64decode(log["data"]) for log in row.get("logs", [])]
            ended = [vertex.completed is not None for vertex in found.vertexes]
            assert ended == ["completed" in vertex for vertex in row.get("vertexes", [])]
        elif line.strip():
            assert found == PlainLine(text=line.decode().rstrip())


def test_nanoseconds_and_time_zone_are_read() -> None:
    found = decode(b'{"vertexes":[{"digest":"d","name":"n","started":"2026-01-02T03:04:05.123456789Z"}]}')
    assert isinstance(found, Update)
    started = found.vertexes[0].started
    assert started is not None
    assert started.isoformat() == "2026-01-02T03:04:05.123457+00:00"


def test_a_warning_with_its_place() -> None:
    short, detail = (base64.b64encode(text).decode() for text in (b"JSONArgsRecommended: use JSON", b"more"))
    row = {
        "vertex": "d",
        "level": 1,
        "short": short,
        "detail": [detail],
        "sourceInfo": {"filename": "Dockerfile", "data": ""},
        "range": [{"start": {"line": 7}, "end": {"line": 7}}],
    }
    found = decode(json.dumps({"warnings": [row]}).encode())
    assert isinstance(found, Update)
    warning = found.warnings[0]
    assert (warning.text, warning.detail, warning.file, warning.line) == (
        "JSONArgsRecommended: use JSON",
        ("more",),
        "Dockerfile",
        7,
    )


@pytest.mark.parametrize(
    "line", [b'{"progress": 3}', b"{not json", b'["vertexes"]', b"Dockerfile:3", b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_progress_stays_text(line: bytes) -> None:
    assert decode(line) == PlainLine(text=line.decode(errors="replace"))


@pytest.mark.parametrize("line", [b"", b"   ", b"\r", b"{}"])
def test_nothing_is_nothing(line: bytes) -> None:
    assert decode(line) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("vertexes", "statuses", "logs", "warnings", "digest", "name", "started", "completed", "error"),
                    *("vertex", "data", "stream", "short", "detail", "range", "start", "line", "sourceInfo", "current"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@examples(150)
@given(st.binary(max_size=200))
def test_any_bytes_decode(line: bytes) -> None:
    found = decode(line)
    assert found is None or isinstance(found, Update | PlainLine)


@examples(150)
@given(st.dictionaries(st.sampled_from(["vertexes", "statuses", "logs", "warnings"]), JSON, min_size=1))
def test_any_json_of_the_right_keys_decodes(row: dict[str, object]) -> None:
    found = decode(json.dumps(row).encode())
    assert isinstance(found, Update)
    assert all(vertex.digest for vertex in found.vertexes)


def test_a_warning_beside_a_vertex_is_read() -> None:
    short = base64.b64encode(b"careful").decode()
    found = decode(json.dumps({"vertexes": [{"digest": "d"}], "warnings": [{"short": short}]}).encode())
    assert isinstance(found, Update)
    assert [vertex.digest for vertex in found.vertexes] == ["d"]
    assert [warning.text for warning in found.warnings] == ["careful"]


TEXT = st.text("ab \n\x1b\u202eä", max_size=3)
TIME = st.sampled_from(["2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05", "9999-12-31T23:59:59+14:00"])
DATA = st.binary(max_size=9).map(lambda data: base64.b64encode(data).decode())
FIELDS: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "vertexes": {
        "digest": TEXT, "name": TEXT, "started": TIME, "completed": TIME, "cached": st.booleans(), "error": TEXT,
    },
    "statuses": {
        "vertex": TEXT, "id": TEXT, "name": TEXT, "current": st.integers(), "total": st.integers(), "completed": TIME,
    },
    "logs": {"vertex": TEXT, "stream": st.integers(), "data": DATA, "timestamp": TIME},
}  # fmt: skip
ODD = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.lists(st.text(max_size=3), max_size=2)
    | st.sampled_from(["never", "2026-02-30T00:00:00Z", "YQ", "Y Q==", "\ud800"])
)  # fmt: skip


def lines(odd: st.SearchStrategy[object] | None = None) -> st.SearchStrategy[dict[str, object]]:
    """Lines as BuildKit writes them; with what is odd in the place of rows and of values, and beside them."""
    keys: dict[str, st.SearchStrategy[object]] = {"more": ODD}
    for key, fields in FIELDS.items():
        values = {name: value if odd is None else value | odd for name, value in fields.items()}
        row = st.fixed_dictionaries({}, optional={**values, "more": ODD})
        keys[key] = st.lists(row if odd is None else row | odd, max_size=3)
    return st.fixed_dictionaries({}, optional=keys)


@example({"vertexes": [{"started": "\ud800"}]})
@examples(300)
@given(lines() | lines(ODD))
def test_a_line_is_read_the_same_piece_by_piece(row: dict[str, object]) -> None:
    found = decode(json.dumps(row).encode())
    if not isinstance(found, Update):
        assert row.keys() <= {"more"}
        return
    assert found == decode(json.dumps({**row, "warnings": []}).encode())  # one that is taken apart
