"""Values of a bake file that were made from a version which the matrix replaces."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.bake.leftover import leftovers
from orchestrator.bake.preflight import Arrival, Consumer, Injected, NotArrivedError, check, notes

CUDA = "13.0.2"
BASE = "docker-image://nvidia/cuda:12.4.1-devel-ubuntu22.04"


def found(target: dict[str, Any], args: dict[str, str], contexts: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    return [(one.argument, one.kind, one.name) for one in leftovers(target, args, contexts, cuda=CUDA)]


@pytest.mark.parametrize(
    ("target", "args", "expected"),
    [
        ({"args": {"V": "12.4.1"}, "contexts": {"base": BASE}}, {"V": CUDA}, [("V", "context", "base")]),
        ({"args": {"V": "12.4.1", "B": "nvidia/cuda:12.4.1-devel"}}, {"V": CUDA}, [("V", "argument", "B")]),
        ({"args": {"P": "3.12", "I": "python:3.12-slim"}}, {"P": "3.13"}, [("P", "argument", "I")]),
        # without the argument, the image's own name tells
        ({"contexts": {"base": BASE}}, {"V": CUDA}, [("", "context", "base")]),
        ({"contexts": {"base": "docker-image://r.lan/builder:1-cuda12.8"}}, {"V": CUDA}, [("", "context", "base")]),
        ({"contexts": {"base": BASE.replace("12.4.1", CUDA)}}, {"V": CUDA}, []),
        ({"contexts": {"base": BASE.replace("12.4.1", "13.0")}}, {"V": CUDA}, []),
        ({"contexts": {"base": "docker-image://acme/notcuda:12.4.1"}}, {"V": CUDA}, []),
        # what is the same, another version, no version, a directory
        ({"args": {"V": CUDA}, "contexts": {"base": BASE.replace("12.4.1", CUDA)}}, {"V": CUDA}, []),
        ({"args": {"P": "3.12", "I": "python:3.12.1 13.12 3.121"}}, {"P": "3.13"}, []),
        ({"args": {"J": "4", "I": "image:4"}}, {"J": "8"}, []),
        ({"args": {"P": "3.12"}, "contexts": {"src": "python-3.12"}}, {"P": "3.13"}, []),
        ({"args": {"P": None, "I": None}, "contexts": None}, {"P": "3.13"}, []),
    ],
)
def test_what_still_holds_the_old_version(
    target: dict[str, Any], args: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    assert found(target, args) == expected


def test_what_the_matrix_gives_itself_is_no_leftover() -> None:
    target = {"args": {"V": "12.4.1", "B": "nvidia/cuda:12.4.1"}, "contexts": {"base": BASE}}
    assert found(target, {"V": CUDA, "B": "nvidia/cuda:12.4.1"}, ("base",)) == []


def test_another_cuda_release_is_refused_and_another_version_told() -> None:
    target = {"args": {"V": "12.4.1", "P": "3.12", "I": "python:3.12"}, "contexts": {"base": BASE}}
    given = {"V": CUDA, "P": "3.13"}
    every = tuple(leftovers(target, given, (), cuda=CUDA))
    (base,), (python,) = ([one for one in every if one.argument == name] for name in given)
    consumer = Consumer(target="app", args={"V": CUDA, "P": "3.13", "I": "python:3.12"}, leftovers=(python,))
    injected = Injected(args=given, cuda=CUDA)
    told = Arrival(checked=True, consumers=(consumer,))
    check(told, injected, variant="v")
    assert notes(told, injected) == ("target app: P is 3.13, and the argument I of the bake file still names 3.12",)
    refused = Consumer(target="app", args=consumer.args, leftovers=(base,))
    with pytest.raises(NotArrivedError) as caught:
        check(Arrival(checked=True, consumers=(refused,)), injected, variant="v")
    (problem,) = caught.value.problems
    assert "v: target app: V is 13.0.2, and the context base of the bake file still names 12.4.1" in str(problem)
    assert problem.hint == f"give it in the matrix: contexts: {{base: …}}, found {BASE}"
