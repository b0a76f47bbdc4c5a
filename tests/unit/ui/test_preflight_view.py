"""What `plan --preflight` shows of each variant."""

from __future__ import annotations

from orchestrator.bake.preflight import Arrival, Consumer
from orchestrator.errors import MatrixError, Problem
from orchestrator.runs.preflight import Checked
from orchestrator.ui import preflight_view

GOOD = Checked(arrival=Arrival(checked=True, consumers=(Consumer(target="app", args={"B": "1", "A": "2"}),)))
UNSURE = Checked(arrival=Arrival(checked=False, why_not="x"), notes=("not outlined: \x1b[31mred",))
BAD = Checked(
    error=MatrixError("app: 1 is wrong", problems=[Problem(file="m.yaml", line=3, what="no \x1b[2J")], hint="do this"),
    arrival=Arrival(checked=True),
)


def test_the_findings_as_text() -> None:
    assert preflight_view.plain({"app-cu130": GOOD, "b": UNSURE, "c": BAD}).splitlines() == [
        "app-cu130  checked  2 arguments consumed",
        "b          not checked  0 arguments consumed",
        "    note: not outlined: red",
        "c          refused",
        "    app: 1 is wrong",
        "    m.yaml:3: no ",
        "    do this",
        "3 variants, 1 refused",
    ]
    assert preflight_view.plain({"a": Checked()}) == "a  not checked\n1 variant, nothing refused"
    assert preflight_view.plain({}) == "0 variants, nothing refused"


def test_the_findings_for_scripts() -> None:
    assert preflight_view.as_json({"a": GOOD, "b": Checked(notes=("n",)), "c": BAD}) == {
        "schema": 1,
        "variants": [
            {"id": "a", "status": "checked", "notes": [], "consumes": ["A", "B"], "error": None},
            {"id": "b", "status": "not checked", "notes": ["n"], "consumes": [], "error": None},
            {
                "id": "c",
                "status": "refused",
                "notes": [],
                "consumes": [],
                "error": {
                    "class": "matrix",
                    "message": "app: 1 is wrong",
                    "hint": "do this",
                    "problems": ["m.yaml:3: no \x1b[2J"],
                },
            },
        ],
    }
