"""The section `builders` of matrix.yaml."""

from __future__ import annotations

import pytest

from tests.unit.matrix.support import EXAMPLE, parse, problems

REMOTE = "driver: remote, endpoint: 'tcp://a:1'"


def test_what_a_builder_may_say() -> None:
    spec = parse(
        f"{EXAMPLE}builders:\n  default:\n  farm: {{{REMOTE}, platforms: linux/arm64, slots: 4, memory: 256GB,"
        " processors: 64, disk: 1TB, options: {cacert: ca.pem}}\n"
        "  box: {driver: docker-container, gc: {max_used: 20GB}}\n"
        "  cloud-acme-main: {driver: cloud, endpoint: acme/main}\n"
    ).spec
    assert list(spec.builders) == ["default", "farm", "box", "cloud-acme-main"]
    assert spec.builders["default"].slots == 1
    farm = spec.builders["farm"]
    assert (farm.platforms, farm.slots, farm.options) == (["linux/arm64"], 4, {"cacert": "ca.pem"})


@pytest.mark.parametrize(
    ("builders", "words"),
    [
        ("{Farm: {}}", "'Farm' is not a valid builder name"),
        ("{-farm: {}}", "'-farm' is not a valid builder name"),
        ("{a: {endpoint: 'tcp://a:1'}}", "endpoint goes with driver"),
        ("{a: {gc: {max_used: 1GB}}}", "gc goes with driver"),
        ("{a: {driver: remote}}", "a remote builder has an endpoint"),
        ("{a: {driver: remote, endpoint: 'a:1'}}", "expected tcp://HOST:PORT or unix:///PATH, found a:1"),
        ("{a: {driver: cloud, endpoint: acme}}", "expected ORG/NAME"),
        (f"{{a: {{{REMOTE}, config: b.toml}}}}", "its buildkitd is configured where it runs"),
        ("{a: {driver: kubernetes, config: b.toml, gc: {min_free: 1GB}}}", "gc goes into the file of config"),
        ("{a: {driver: kubernetes, gc: {}}}", "gc is empty"),
        ("{a: {driver: kubernetes, gc: {min_free: much}}}", "gc.min_free: the size is invalid"),
        ("{a: {memory: much}}", "memory: the size is invalid"),
        ("{a: {disk: much}}", "disk: the size is invalid"),
        ("{a: {slots: 0}}", "slots"),
        (f"{{a: {{{REMOTE}}}, b: {{{REMOTE}}}}}", "builders a and b are one daemon"),
        ("{a: {platforms: [linux/x86_64]}, b: {}}", "platform 'linux/x86_64' is invalid"),
        ("{a: {platforms: linux/amd64}}", "no builder takes variants of linux/arm64"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(builders: str, words: str) -> None:
    (problem,) = problems(f"{EXAMPLE}builders: {builders}\n")
    assert problem.startswith("matrix.yaml:")
    assert words in problem


def test_a_builder_is_declared_once() -> None:
    text = f"{EXAMPLE}builders: {{a: {{}}}}\nresources: {{builders: {{a: {{processors: 4, memory: 8GB}}}}}}\n"
    (problem,) = problems(text)
    assert "builder a is declared twice" in problem
