"""What a bake file asks for beside what is allowed; tests/engine compares the answer with buildx's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.file import BakeFile
from orchestrator.bake.privileges import (
    Allowed,
    Ask,
    NotAllowedError,
    Privilege,
    asks,
    check,
    options,
    parse,
    require_entitled,
)
from orchestrator.errors import Place, UsageError
from orchestrator.matrix.schema import ALLOWED_IN_MATRIX

if TYPE_CHECKING:
    from pathlib import Path


def asked(root: Path, target: dict[str, Any], **more: Any) -> list[str]:
    return [ask.word for ask in asks(root, BakeFile(target="v", members={"v": target}), **more)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project; `/outside` beside it is what it must not touch."""
    made = tmp_path / "root"
    (made / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return made


def test_paths_outside_the_project_are_asked_for(root: Path) -> None:
    target = {
        "context": "../src",
        "dockerfile": "../elsewhere/Dockerfile",
        "contexts": {
            "a": "inside", "b": "/abs/dir", "c": "docker-image://alpine", "d": "target:other", "e": "git@host:x",
            "f": "https://host/x.git", "g": "oci-layout:///layout/dir:tag@sha256:00ff", "h": "cwd://../outside",
        },
        "cache-from": [{"type": "local", "src": "/cache/in/x"}, {"type": "registry", "ref": "x"}],
        "cache-to": ["type=local,dest=/cache/out/x.new,mode=max"],
        "secret": [{"id": "ca", "src": "/etc/ca.crt"}, {"id": "env", "env": "X"}, "id=raw,source=/etc/raw"],
        "ssh": [{"id": "key", "paths": ["/home/me/key"]}, "other=/a,/b"],
    }  # fmt: skip
    above = root.parent
    assert asked(root, target) == [
        f"fs.read={path}" for path in ("/home/me/key", "/a", "/b", f"{above}/src", "/abs/dir", f"{above}/outside",
        f"{above}/elsewhere/Dockerfile", "/cache/in", "/etc/ca.crt", "/etc/raw")
    ] + ["fs.write=/cache/out"]  # fmt: skip


def test_what_lies_in_the_project_needs_no_consent(root: Path) -> None:
    assert asked(root, {}) == []
    assert asked(root, {"context": "inside/../inside", "contexts": {"a": str(root)}, "secret": ["id=a,src=f"]}) == []
    assert asked(root, {"context": "https://host/x.git"}) == []
    assert asked(root, {"contexts": {"a": "/store/bundle"}}, own=["/store"]) == []
    assert asked(root, {"contexts": {"a": "/store-other/bundle"}}, own=["/store"]) == ["fs.read=/store-other/bundle"]


def test_links_are_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to("../outside")
    (root / "Dockerfile").symlink_to("../outside/Dockerfile")
    (root / "token").symlink_to("../outside/token")
    outside = root.parent / "outside"
    assert asked(root, {"contexts": {"a": "link/deep"}}) == [
        f"fs.read={outside}/deep", f"fs.read={outside}/Dockerfile"
    ]  # fmt: skip
    secret = {"dockerfile-inline": "FROM scratch", "secret": ["id=token"]}  # without src or env: a file of this name
    assert asked(root, secret) == [f"fs.read={outside}/token"]
    monkeypatch.setenv("token", "x")
    assert asked(root, secret) == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"network": "host"}, ["network.host"]),
        ({"network": "none"}, []),
        (
            {"network": "host", "entitlements": ["network.host", "security.insecure"]},
            ["network.host", "security.insecure"],
        ),
        ({"entitlements": ["device", "device=nvidia.com/gpu=all"]}, ["device", "device=nvidia.com/gpu=all"]),
        ({"entitlements": ["unknown"]}, []),
        ({"ssh": [{"id": "default"}]}, ["ssh"]),
        ({"ssh": ["default", "other"]}, ["ssh"]),
        ({"context": "git@host:a/b.git", "dockerfile-inline": "FROM scratch"}, ["ssh"]),
        ({"context": "https://host/a/b.git", "dockerfile-inline": "FROM scratch"}, []),
    ],
)
def test_other_privileges(root: Path, target: dict[str, Any], words: list[str]) -> None:
    assert asked(root, target) == words


def test_linked_targets_ask_as_well(root: Path) -> None:
    members: dict[str, dict[str, Any]] = {
        "v": {"contexts": {"base": "target:v--base"}},
        "v--base": {"network": "host", "context": "../outside"},
    }
    file = BakeFile(target="v", members=members, origins={"v": "app", "v--base": "base"})
    assert [(ask.word, ask.target) for ask in asks(root, file)] == [
        ("network.host", "base"), (f"fs.read={root.parent}/outside", "base")
    ]  # fmt: skip


def ask(word: str) -> Ask:
    kind, _, value = word.partition("=")
    return Ask(kind=Privilege(kind), value=value, target="app", attribute="network", text="host")


@pytest.mark.parametrize(
    ("word", "allow", "covered"),
    [
        ("network.host", ["network.host"], True),
        ("network.host", ["security.insecure", "ssh", "device", "fs=*"], False),
        ("security.insecure", ["network.host"], False),
        ("ssh", ["ssh"], True),
        ("device=a", ["device=a"], True),
        ("device=a", ["device"], False),
        ("device", ["device=a"], False),
        ("fs.read=/a/b", ["fs.read=/a"], True),
        ("fs.read=/a/b", ["fs=/a/b"], True),
        ("fs.read=/a/b", ["fs=*"], True),
        ("fs.read=/a/b", ["fs.read=/a/b/c"], False),
        ("fs.read=/a/bc", ["fs.read=/a/b"], False),
        ("fs.read=/a", ["fs.write=/a"], False),
        ("fs.write=/a", ["fs.write=/"], True),
        ("fs.read=/a", [], False),
    ],
)
def test_what_a_word_covers(root: Path, word: str, allow: list[str], covered: bool) -> None:
    assert parse(allow, root).covers(ask(word)) == covered


def test_paths_of_words_follow_links_and_start_where_they_are_typed(root: Path) -> None:
    (root / "link").symlink_to("../outside")
    outside = root.parent / "outside"
    assert parse(["fs.read=link", "fs.write=inside"], root).words == {
        (Privilege.READ, str(outside)), (Privilege.WRITE, f"{root}/inside")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("network", "did you mean network.host?"),
        ("nonsense", "known: device, fs, fs.read, fs.write, network.host, security.insecure, ssh"),
        ("ssh=default", "ssh takes no value"),
        ("network.host=", "network.host takes no value"),
        ("fs.read", "fs.read=PATH, as in fs.read=/etc/ssl/ca.crt"),
        ("fs=", "fs=PATH, as in fs=/etc/ssl/ca.crt"),
        ("device=", "device takes no value"),
    ],
)
def test_words_that_are_none(root: Path, word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([word], root)
    assert caught.value.message in (f"--allow: {word} is not a privilege", f"--allow {word}: the path is missing")
    assert caught.value.hint == hint


def test_what_is_not_allowed_is_told_with_the_word_that_allows_it() -> None:
    at = Place(file="docker-bake.hcl", line=4, column=14)
    refused = [ask("network.host"), ask("fs.read=/private"), ask("ssh")]
    with pytest.raises(NotAllowedError) as caught:
        check(refused, Allowed(words=frozenset({(Privilege.SSH, "")})), variant="v", place=lambda _: at)
    ours = "allow it with --allow network.host, or bake: {allow: [network.host]} in the matrix"
    asks_for = "target app asks for it with network"
    assert str(caught.value).splitlines() == [
        "v: 2 privileges are asked for and not allowed",
        f"docker-bake.hcl:4:14: v: the network of the host is not allowed: {asks_for}; {ours}",
        f"docker-bake.hcl:4:14: v: reading /private is not allowed: {asks_for}; allow it with --allow fs.read=/private",
    ]
    assert caught.value.exit_code == 2
    check(refused, parse(["network.host", "ssh", "fs=/private"], root=at_root()), variant="v", place=lambda _: at)


def at_root() -> Path:
    from pathlib import Path

    return Path("/")


def test_the_options_of_bake(root: Path) -> None:
    there = [ask("network.host"), ask(f"fs.read={root}"), ask("fs.read=/does/not/exist")]
    found = options(there, reads=["/store", "docker-image://x"], writes=root)
    words = ["fs.read=/store", f"fs.read={root}", f"fs.write={root}", "network.host"]
    assert found == [word for one in words for word in ("--allow", one)]


def test_the_matrix_may_allow_what_no_file_of_the_machine_is_behind() -> None:
    assert set(ALLOWED_IN_MATRIX) == {Privilege.NETWORK, Privilege.DEVICE}


STEPS = """\
FROM base AS dead
RUN --network=host dead
FROM base AS main
RUN --network=none --mount=type=cache,target=/x one
RUN --mount=type=cache,target=/x --network=host two
RUN --security=insecure three
"""


@pytest.mark.parametrize(
    ("member", "needed"),
    [
        ({}, ["RUN --network=host needs the network of the host", "RUN --security=insecure needs privileged steps"]),
        ({"network": "host"}, ["RUN --security=insecure needs privileged steps"]),
        ({"entitlements": ["network.host"]}, ["RUN --security=insecure needs privileged steps"]),
        ({"network": "host", "entitlements": ["security.insecure"]}, []),
        ({"network": "none", "entitlements": ["security.insecure", "network.host"]}, []),
        ({"target": "dead"}, ["RUN --network=host needs the network of the host"]),
        ({"target": "dead", "contexts": {"dead": "."}}, []),
        ({"dockerfile-inline": "FROM a\nRUN echo --network=host\n"}, []),
        ({"context": "https://host/x.git"}, []),
    ],
)
def test_a_step_that_needs_what_its_target_does_not_ask_for(
    root: Path, member: dict[str, Any], needed: list[str]
) -> None:
    """BuildKit ends such a build before its first step, whatever --allow says."""
    (root / "Dockerfile").unlink(missing_ok=True)
    (root / "Dockerfile").write_text(STEPS)
    file = BakeFile(target="v", members={"v": member}, origins={"v": "app"})
    if not needed:
        require_entitled(root, file, variant="v")
        return
    with pytest.raises(NotAllowedError) as caught:
        require_entitled(root, file, variant="v")
    told = [problem.what for problem in caught.value.problems]
    assert told == [f"v: {one}, which target app does not ask for" for one in needed]
    line = STEPS.splitlines().index("RUN --security=insecure three") + 1
    places = {problem.place for problem in caught.value.problems if "security" in problem.what}
    assert places <= {f"Dockerfile:{line}"}
