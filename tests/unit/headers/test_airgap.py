"""Everything a build would fetch is named before it starts, with what prepares it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.headers.airgap import Need, Surroundings, cure_of, missing, needs

if TYPE_CHECKING:
    from pathlib import Path

PINNED = "debian@sha256:" + "1" * 64


def found(root: Path, text: str = "FROM scratch\n", present: tuple[str, ...] = (), **more: Any) -> list[Need]:
    target = {"context": ".", "network": "none", **more.pop("target", {})}
    bundle = more.pop("bundle", None)
    around = Surroundings(root=root, image_present=lambda name: name in present, **more)
    return list(needs(target, text, around, bundle=bundle))


def uncovered(root: Path, text: str = "FROM scratch\n", **more: Any) -> list[str]:
    return [f"{need.kind}: {need.name}" for need in missing(found(root, text, **more))]


def test_a_build_that_needs_nothing_from_outside(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    text = "FROM base AS a\nRUN make\nFROM a\nCOPY --from=a /x /y\n"
    target = {"contexts": {"base": "oci-layout://base"}, "cache-from": ["type=local,src=x"]}
    assert uncovered(tmp_path, text, target=target) == []


@pytest.mark.parametrize(
    ("text", "target", "named"),
    [
        ("# syntax=docker/dockerfile:1\nFROM scratch\n", {}, "frontend: docker/dockerfile:1"),
        ("FROM scratch\n", {"args": {"BUILDKIT_SYNTAX": "x/y:1"}}, "frontend: x/y:1"),
        ("FROM debian:12\n", {}, "base image: debian:12"),
        ("ARG B=debian:12\nFROM ${B}\n", {"args": {"B": "ubuntu:24.04"}}, "base image: ubuntu:24.04"),
        ("FROM scratch\nCOPY --from=busybox /x /y\n", {}, "base image: busybox"),
        ("FROM scratch\nRUN --mount=type=bind,from=tools,target=/t make\n", {}, "base image: tools"),
        ("FROM scratch\nADD https://host/x /x\n", {}, "remote file: https://host/x"),
        ("FROM scratch\nADD git@host:x.git /x\n", {}, "remote file: git@host:x.git"),
        ("FROM x\n", {"contexts": {"x": "docker-image://alpine"}}, "base image: alpine"),
        ("FROM scratch\n", {"context": "https://github.com/a/b.git"}, "context: https://github.com/a/b.git"),
        ("FROM scratch\n", {"contexts": {"x": "nowhere"}}, "context: nowhere"),
        ("FROM scratch\n", {"cache-from": ["type=registry,ref=ghcr.io/a/b"]}, "cache: ghcr.io/a/b"),
        ("FROM scratch\n", {"cache-to": [{"type": "gha"}]}, "cache: gha"),
        ("FROM scratch\nRUN make\n", {"network": None}, "network step: make"),
        ("FROM scratch\nRUN --network=host make\n", {}, "network step: RUN --network=host"),
    ],
)
def test_each_thing_from_outside_is_named_once(tmp_path: Path, text: str, target: dict[str, Any], named: str) -> None:
    listed = missing(found(tmp_path, text, target=target))
    assert [f"{need.kind}: {need.name}" for need in listed] == [named]
    assert listed[0].cure
    assert listed[0].place


@pytest.mark.parametrize(
    "before",
    [
        'RUN python3 -c "print(1 << 20)"\n',
        "RUN cat <<<foo\n",
        "RUN [ $((1<<20)) -gt 0 ]\n",
        "RUN cat <<EOF\n",
        "RUN true \\\\\n",
        "RUN cat <<-'E'\n\tx\n\tE\n",
    ],
)
@pytest.mark.parametrize("add", ["ADD https://example.com/m.bin /m", "add\t--chmod=644\thttps://example.com/m.bin\t/m"])
@pytest.mark.parametrize("start", ["", "\ufeff", "# escape=`\n", "# check=skip=all\r\n"])
def test_no_instruction_hides_what_is_fetched_after_it(tmp_path: Path, start: str, before: str, add: str) -> None:
    text = f"{start}FROM scratch\n{before}{add}\n"
    assert uncovered(tmp_path, text) == ["remote file: https://example.com/m.bin"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("FROM debian AS debian\n", ["base image: debian"]),
        ("FROM debian:12 AS a\nFROM scratch\nCOPY --from=0 / /\n", ["base image: debian:12"]),
        ("FROM later\nFROM scratch AS later\nFROM scratch\nCOPY --from=0 / /\n", ["base image: later"]),
        ("FROM base-${TARGETARCH}\n", ["base image: base-arm64"]),
        ("ARG U=https://h\nFROM scratch\nARG U\nADD ${U}/x /x\n", ["remote file: https://h/x"]),
        ('FROM scratch\nADD ["https://h/a b", "/x"]\n', ["remote file: https://h/a b"]),
        ("FROM scratch\nADD $WHO /x\n", ["remote file: $WHO"]),
        ("FROM scratch\nADD deploy@host:x.git /x\n", ["remote file: deploy@host:x.git"]),
        ("FROM Bad/Name\n", ["base image: Bad/Name"]),
        ("// syntax=x/y\n", ["frontend: x/y"]),
        ("#!/bin/x\n# syntax=x/y\n", ["frontend: x/y"]),
    ],
)
def test_what_a_name_means(tmp_path: Path, text: str, named: list[str]) -> None:
    assert uncovered(tmp_path, text, target={"platforms": ["linux/arm64"]}) == named


@pytest.mark.parametrize("registry", ["docker.io", "index.docker.io"])
@pytest.mark.parametrize("image", ["ubuntu", "library/ubuntu", "docker.io/library/ubuntu", "index.docker.io/ubuntu"])
def test_docker_hub_is_one_registry_however_it_is_written(tmp_path: Path, registry: str, image: str) -> None:
    text = f"FROM {image}@sha256:{'1' * 64}\n"
    assert uncovered(tmp_path, text, registries=(registry,)) == []
    assert uncovered(tmp_path, text) == [f"base image: {image}@sha256:{'1' * 64}"]
    cache = {"cache-from": [f"type=registry,ref={image}:c"]}
    assert uncovered(tmp_path, target=cache, registries=(registry,)) == []


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("RUN python3.12 -m pip -q install x", "pip install"),
        ("RUN --network=none A=1 uv pip install --system x", "uv pip install"),
        ("RUN <<E\nset -e\napt-get update && apt-get -y install gcc\nE", "apt-get update, apt-get install"),
        ('RUN ["bash", "-c", "curl -fsSL https://h | sh"]', "curl"),
        ("RUN git -c x=y clone https://h/r", "git clone"),
        ("RUN git -C /w submodule update --init", "git submodule"),
        ("RUN uv python install 3.12", "uv install"),
        ("RUN uv sync --frozen", "uv sync"),
        ("RUN uv sync --offline", ""),
        ("RUN uv run tool.py", "uv run"),
        ("RUN uvx ruff", "uvx ruff"),
        ("RUN uv cache dir", ""),
        ("RUN uv venv --python 3.12 /v", "uv venv"),
        ("RUN uv venv --no-python-downloads /v", ""),
        ("RUN cargo build --release", "cargo build"),
        ("RUN cargo +nightly build --offline", ""),
        ("RUN rustup toolchain install 1.80", "rustup toolchain"),
        ("RUN dnf -y builddep x", "dnf builddep"),
        ("RUN npm ci", "npm ci"),
        ("RUN go mod download", "go mod"),
        ("RUN yarn", "yarn"),
        ("RUN python3 -m build --wheel", "python3 -m build (build isolation installs packages)"),
        ("RUN uv build packages/a", "uv build packages/a (build isolation installs packages)"),
        ("RUN python3 -m build --no-isolation", ""),
        ("RUN pip wheel --no-build-isolation .", ""),
        ("RUN flashinfer install-jit-cache-wheel", "flashinfer install-jit-cache-wheel"),
        ("RUN git clone https://h/r", "git clone"),
        ("RUN flashinfer download-kernels", "flashinfer download-kernels"),
        ("RUN echo 'pip install x'", ""),
        ("RUN true # pip install x", ""),
        ("RUN pip install --no-index --find-links /w x", ""),
    ],
)
def test_steps_that_want_a_network_are_told_by_their_commands(tmp_path: Path, run: str, name: str) -> None:
    doubts = [need.name for need in found(tmp_path, f"FROM scratch\n{run}\n") if not need.covered]
    assert ", ".join(doubts) == name


def test_only_what_the_target_is_made_of_counts(tmp_path: Path) -> None:
    text = "FROM debian:12 AS unused\nFROM scratch AS used\nRUN make\n"
    assert uncovered(tmp_path, text, target={"target": "used"}) == []
    assert uncovered(tmp_path, text, target={"target": "unused"}) == ["base image: debian:12"]
    replaced = "FROM debian:12 AS below\nFROM below AS ctx\nFROM scratch\nCOPY --from=ctx /x /y\n"
    (tmp_path / "d").mkdir()
    assert uncovered(tmp_path, replaced, target={"contexts": {"ctx": "d"}}) == []


def test_images_in_the_store_and_in_allowed_registries(tmp_path: Path) -> None:
    assert uncovered(tmp_path, f"FROM {PINNED}\n", present=(PINNED,)) == []
    (tagged, *_) = [
        need for need in found(tmp_path, "FROM debian:12\n", present=("debian:12",)) if need.kind == "base image"
    ]
    assert tagged.covered
    assert "pin it" in tagged.cure
    near = "registry.lan:5000/debian"
    assert uncovered(tmp_path, f"FROM {near}@sha256:{'1' * 64}\n", registries=("registry.lan:5000",)) == []
    assert uncovered(tmp_path, f"FROM {near}:12\n", registries=("registry.lan:5000",)) == [f"base image: {near}:12"]
    cache = {"cache-from": ["type=registry,ref=registry.lan:5000/cache"]}
    assert uncovered(tmp_path, target=cache, registries=("registry.lan:5000",)) == []


def test_an_install_is_a_suspicion_not_a_refusal(tmp_path: Path) -> None:
    listed = found(tmp_path, "FROM scratch\nRUN pip install x\nRUN pip install --no-index y\n")
    (doubt,) = [need for need in listed if not need.covered]
    assert not doubt.certain
    assert doubt.place == "Dockerfile:2"
    assert missing(listed) == ()


def test_the_bundle(tmp_path: Path) -> None:
    assert uncovered(tmp_path, bundle="") == ["bundle: FlashInfer headers"]
    assert uncovered(tmp_path, bundle="sha256:x") == []
    assert all(need.kind != "bundle" for need in found(tmp_path))


def test_scripts_of_the_context_and_of_the_file_are_followed(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "get.sh").write_text("set -e\ncurl -O https://h/x\n")
    (tmp_path / "outside.sh").symlink_to("/etc/profile")
    text = (
        "FROM scratch AS one\nCOPY tools/get.sh /tmp/\nRUN bash /tmp/get.sh\nRUN --mount=type=bind,source=.,target=/s "
        "/s/tools/get.sh\nCOPY <<E /own.sh\nwget https://h/y\nE\nRUN sh /own.sh\n"
        "RUN sh outside.sh; sh $X/get.sh; sh gone.sh\n"
    )
    doubts = [(need.place, need.name) for need in found(tmp_path, text) if not need.covered]
    assert doubts == [
        ("Dockerfile:3 (one)", "curl in tools/get.sh"),
        ("Dockerfile:8 (one)", "wget in own.sh"),
    ]


def test_only_functions_that_a_step_calls_count(tmp_path: Path) -> None:
    text = (
        "FROM scratch AS helpers\nCOPY <<E /env.sh\nset -eu\napt_install() {\n  apt-get update\n}\n"
        "fetch() { curl x; }\nboth() { apt_install y; }\nwget z\nE\n"
        "FROM scratch\nRUN . /run/env.sh; {call}\n"
    )

    def told(call: str) -> list[str]:
        return [need.name for need in found(tmp_path, text.replace("{call}", call)) if not need.covered]

    assert told("true") == ["wget in env.sh"]
    assert told("fetch") == ["curl in env.sh", "wget in env.sh"]
    assert told("both z") == ["apt-get update in env.sh", "wget in env.sh"]
    assert told("echo fetch") == ["wget in env.sh"]


@pytest.mark.parametrize(
    ("run", "covered"),
    [
        ("pip install x", True),
        ("python3 -m pip install x", True),
        ("uv pip install x", True),
        ("pip wheel .", True),
        ("python3 -m build", True),
        ("apt-get update", False),
        ("curl x; pip install y", False),
        ("cargo install x", False),
        ("flashinfer download-cubin", False),
    ],
)
def test_what_a_wheelhouse_covers(tmp_path: Path, run: str, covered: bool) -> None:
    text = f"FROM scratch\nRUN --mount=type=bind,from=Wheelhouse,target=/w {run}\n"

    def met(text: str, wheelhouse: str) -> bool:
        target = {"contexts": {"wheelhouse": str(tmp_path)}}
        return all(need.covered for need in found(tmp_path, text, target=target, wheelhouse=wheelhouse))

    assert met(text, "wheelhouse") == covered
    assert not met(text.replace("from=Wheelhouse", "from=other"), "wheelhouse")
    assert not met(text, ""), "none was given"


def test_sources_that_cmake_fetches_are_named(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "FetchContent_Declare(\n  cutlass\n  GIT_REPOSITORY x)\nExternalProject_Add(qutlass)"
    )
    runs = {"cmake -S . -B b": True, "python3 setup.py bdist_wheel": True, "pip install .": True, "uv build": True}
    runs |= {"pip wheel -w d .": True, "python3 -m build": True, "uv pip install /src": True}
    runs |= {"make": False, "pip install torch": False, "apt-get install cmake": False, "pip install ./a.whl": False}
    for run, said in runs.items():
        doubts = [need.name for need in found(tmp_path, f"FROM scratch\nRUN {run}\n") if not need.covered]
        named = [doubt for doubt in doubts if "CMakeLists.txt" in doubt]
        assert named == (["cmake FetchContent: cutlass, qutlass in CMakeLists.txt"] if said else []), run
        packages = any(word in run for word in ("pip", " build", "apt-get"))
        assert len(doubts) == said + packages, run


def test_included_files_of_cmake_are_followed_and_local_sources_are_not_named(tmp_path: Path) -> None:
    files = {
        "CMakeLists.txt": (
            'include(FetchContent)\ninclude(cmake/a.cmake)\ninclude("${CMAKE_CURRENT_LIST_DIR}/cmake/b.cmake")\n'
            "add_subdirectory(lib)\ninclude(${OTHER}/c.cmake)\ninclude(../outside.cmake)\n"
            "# FetchContent_Declare(no GIT_REPOSITORY x)\n"
        ),
        "cmake/a.cmake": (
            "if(DIR)\nFetchContent_Declare(one SOURCE_DIR ${DIR})\nelse()\nFetchContent_Declare(one URL x)\nendif()\n"
            "FetchContent_Populate(one)\ninclude(cmake/a.cmake)\n"
        ),
        "cmake/b.cmake": (
            "FetchContent_Populate(two GIT_REPOSITORY x SOURCE_DIR y)\nFetchContent_Declare(three SOURCE_DIR z)\n"
        ),
        "lib/CMakeLists.txt": (
            "file(DOWNLOAD https://h/f f)\nCPMAddPackage(NAME four VERSION 1)\n"
            'include("${CMAKE_CURRENT_LIST_DIR}/d.cmake")'
        ),
        "lib/d.cmake": "ExternalProject_Add(five URL x)",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    doubts = [need.name for need in found(tmp_path, "FROM scratch\nRUN cmake -S . -B b\n") if not need.covered]
    assert doubts == [
        "cmake FetchContent: one in cmake/a.cmake",
        "cmake FetchContent: two in cmake/b.cmake",
        "cmake FetchContent: https://h/f, four in lib/CMakeLists.txt",
        "cmake FetchContent: five in lib/d.cmake",
    ]


@pytest.mark.parametrize(
    ("run", "configures"),
    [
        ("uv pip install --python /opt/venv/bin/python3 -r /w/requirements.txt", False),
        ("pip install --target /opt/site --find-links /wheels torch", False),
        ("python3 -m pip wheel -w /out torch", True),
        ("uv pip install --python /opt/venv/bin/python3 /src", True),
        ("pip install -e .", True),
    ],
)
def test_a_path_of_an_option_is_no_project(tmp_path: Path, run: str, configures: bool) -> None:
    (tmp_path / "CMakeLists.txt").write_text("FetchContent_Declare(one URL x)")
    doubts = [need.name for need in found(tmp_path, f"FROM scratch\nRUN {run}\n") if not need.covered]
    assert ("cmake FetchContent: one in CMakeLists.txt" in doubts) is configures


def test_scripts_are_followed_into_scripts_and_python(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "all.sh").write_text(
        'here=$(dirname "$0")\nsh "$here/more.sh"\npython3 "$ROOT/tools/get.py"\n'
    )
    (tmp_path / "tools" / "more.sh").write_text("uv venv --python 3.12 /v\nsh tools/all.sh\n")
    (tmp_path / "tools" / "get.py").write_text(
        "import subprocess, urllib.request\nfrom setuptools_rust import Binding\n"
        "subprocess.run(['git', 'clone', url], check=True)\nurllib.request.urlretrieve(url)\n# requests.get(x)\n"
    )
    (tmp_path / "broken.py").write_text("requests.get(\n")
    text = (
        "FROM scratch AS one\nRUN tools/all.sh\nRUN python3 -c 'import requests; requests.get(x)'; python3 broken.py\n"
    )
    doubts = [need.name for need in found(tmp_path, text) if not need.covered]
    assert doubts == [
        "uv venv in tools/more.sh",
        "cargo build in tools/get.py",
        "git clone in tools/get.py",
        "urllib.request.urlretrieve in tools/get.py",
        "requests.get",
    ]


@pytest.mark.parametrize(
    ("run", "cure"),
    [
        ("pip install x", "wheelhouse"), ("git clone x", "named context"), ("cargo build", "vendored"),
        ("apt-get install x", "base image"), ("curl x", "mirror argument"), ("flashinfer download-cubin", "headers:"),
        ("gem install x", "named context"), ("uv venv", "interpreter"),
        ("python3 -c 'import httpx; httpx.get(x)'", "mirror argument"),
    ],
)  # fmt: skip
def test_every_access_has_a_cure(tmp_path: Path, run: str, cure: str) -> None:
    (doubt,) = [need for need in found(tmp_path, f"FROM scratch\nRUN {run}\n") if not need.covered]
    assert cure in doubt.cure


def test_the_short_form_of_a_cache_is_an_image_of_a_registry(tmp_path: Path) -> None:
    assert uncovered(tmp_path, target={"cache-from": ["r.lan/app:cache"]}) == ["cache: r.lan/app:cache"]


def test_the_bundle_is_a_need_like_any_other(tmp_path: Path) -> None:
    there = found(tmp_path, bundle="sha256:1")[-1]
    assert (there.kind, there.name, there.place, there.covered) == ("bundle", "sha256:1", "headers", True)
    gone = found(tmp_path, bundle="")[-1]
    assert (gone.kind, gone.name, gone.covered, gone.why) == ("bundle", "FlashInfer headers", False, "no bundle")
    assert gone.cure == "orchestrate headers import BUNDLE.tar.zst"


def one(root: Path, text: str = "FROM scratch\n", **more: Any) -> Need:
    """The only need that is no local directory."""
    (need,) = [need for need in found(root, text, **more) if need.why != "a local directory"]
    return need


PULL = "docker pull {0} (online), docker save, docker load; or a named context oci-layout://…"


def test_each_need_says_where_why_and_what_covers_it(tmp_path: Path) -> None:
    def need(kind: str, name: str, place: str, why: str, cure: str = "", *, covered: bool = False) -> Need:
        return Need(kind=kind, name=name, place=place, covered=covered, why=why, cure=cure)

    base = "FROM debian:12\n"
    assert one(tmp_path, base) == need(
        "base image", "debian:12", "Dockerfile:1", "not in the local store", PULL.format("debian:12")
    )
    assert one(tmp_path, base, present=("debian:12",)) == need(
        "base image", "debian:12", "Dockerfile:1", "in the local store, but by a tag that can move",
        "pin it by digest: name@sha256:…", covered=True,
    )  # fmt: skip
    assert one(tmp_path, f"FROM {PINNED}\n", present=(PINNED,)) == need(
        "base image", PINNED, "Dockerfile:1", "in the local store", covered=True
    )
    assert one(tmp_path, f"FROM {PINNED}\n", registries=("docker.io",)) == need(
        "base image", PINNED, "Dockerfile:1", "docker.io is allowed", covered=True
    )
    assert one(tmp_path, "FROM r.example/x:1\n", registries=("r.example",)) == need(
        "base image", "r.example/x:1", "Dockerfile:1", "r.example is allowed, but a tag can move: pin it by digest",
        "docker buildx imagetools inspect r.example/x:1",
    )  # fmt: skip
    assert one(tmp_path, "# syntax=x/y:1\nFROM scratch\n") == need(
        "frontend", "x/y:1", "Dockerfile:1", "not in the local store",
        "remove the syntax line: the builder's own frontend needs no registry",
    )  # fmt: skip
    assert one(tmp_path, "# syntax=x/y:1\nFROM scratch\n", present=("x/y:1",)).covered
    assert one(tmp_path, target={"contexts": {"x": "https://host/x"}}) == need(
        "context", "https://host/x", "context x", "fetched over the network",
        "clone or unpack it, and name the directory: contexts: {x: DIR}",
    )  # fmt: skip
    assert one(tmp_path, target={"contexts": {"x": "file://none"}}) == need(
        "context", "file://none", "context x", f"{tmp_path}/none was not found", f"create {tmp_path}/none"
    )
    (tmp_path / "there").mkdir()
    assert found(tmp_path, target={"contexts": {"x": "there"}})[1] == need(
        "context", "there", "context x", "a local directory", covered=True
    )
    assert one(tmp_path, "FROM scratch AS a\nADD https://h/x /x\n") == need(
        "remote file", "https://h/x", "Dockerfile:2", "ADD fetches", "give a named context a that holds it"
    )
    assert one(tmp_path, "FROM scratch\nRUN --network=host make\n") == need(
        "network step", "RUN --network=host", "Dockerfile:2", "host network", "remove --network=host"
    )
    assert one(tmp_path, f"FROM scratch\nRUN {'m' * 70}\n", target={"network": None}) == need(
        "network step", "m" * 60, "Dockerfile:2", "runs with a network",
        "orchestrate build --air-gapped sets network = none for every step",
    )  # fmt: skip
    assert not [n for n in found(tmp_path, "FROM scratch\nRUN --network=none make\n", target={"network": None})
                if n.kind == "network step"]  # fmt: skip
    cure = "cache: {backend: local} or off"
    outside = "reaches a service outside"
    for entry, name in (("ghcr.io/a/b", "ghcr.io/a/b"), ("type=gha", "gha"), ({"ref": "r/x"}, "r/x")):
        assert one(tmp_path, target={"cache-from": [entry]}) == need("cache", name, "cache-from", outside, cure)
        assert one(tmp_path, target={"cache-to": [entry]}) == need("cache", name, "cache-to", outside, cure)
    for entry in ("type=local,dest=x", "type=inline"):
        kind = entry.partition("=")[2].partition(",")[0]
        assert one(tmp_path, target={"cache-to": [entry]}) == need("cache", kind, "cache-to", "local", covered=True)
    assert one(tmp_path, bundle="sha256:1") == need(
        "bundle", "sha256:1", "headers", "materialised and verified", covered=True
    )
    assert one(tmp_path, bundle="") == need(
        "bundle", "FlashInfer headers", "headers", "no bundle", "orchestrate headers import BUNDLE.tar.zst"
    )


def test_a_step_that_may_need_a_network_is_told_and_refuses_nothing(tmp_path: Path) -> None:
    step = Need(
        kind="network step", name="apt-get install", place="Dockerfile:2 (a)", covered=False, certain=False,
        why="may need the network", cure="a base image that has the packages, or a package mirror",
    )  # fmt: skip
    assert one(tmp_path, "FROM scratch AS a\nRUN apt-get install -y x\n") == step
    assert one(tmp_path, "FROM scratch\nRUN apt-get install -y x\n").place == "Dockerfile:2"
    wheels = "FROM scratch\nRUN --mount=type=bind,from=Wheelhouse,target=/w pip install x\n"
    house = one(tmp_path, wheels, wheelhouse="wheelhouse", target={"contexts": {"wheelhouse": "."}})
    assert (house.covered, house.certain, house.why, house.cure) == (True, True, "installs from the wheelhouse", "")
    apt = wheels.replace("pip install", "apt-get install")
    assert not one(tmp_path, apt, wheelhouse="wheelhouse", target={"contexts": {"wheelhouse": "."}}).covered


CURES = {
    "a base image that has the interpreter": "uv venv;uv python",
    "headers: of tier cubins, or the package's wheel in a wheelhouse (wheels:)": "flashinfer download-cubin",
    "a wheelhouse (wheels: in matrix.yaml), or an index mirror (PIP_INDEX_URL)": (
        "pip install;pip3 install;uv pip install;uv sync;python3 -m build;poetry install;pdm sync;pixi install;"
        "x (build isolation installs packages)"
    ),
    "a base image that has the packages, or a package mirror": (
        "apt install;apt-get update;dnf install;yum install;microdnf install;apk add;zypper install;add-apt-repository;"
        "conda install;mamba install;micromamba install"
    ),
    "a clone as a named context (FETCHCONTENT_SOURCE_DIR_<NAME> for CMake)": "git clone;FetchContent;svn co",
    "vendored crates (cargo vendor) and --offline": "cargo build;maturin build",
    "a base image that has the toolchain": "rustup-init;rustup update",
    "an offline cache as a named context, or a mirror (npm_config_registry)": "npm ci;npx;pnpm i;yarn",
    "vendored modules (go mod vendor), or a proxy (GOPROXY)": "go build",
    "the file as a named context, or a mirror argument": (
        "curl;wget;aria2c;url;requests.get;httpx.get;urllib.request.urlopen;urlretrieve;hf_hub_download"
    ),
    "prepare it in the base image, or give it as a named context": "docker pull;gem install;skopeo copy;gone",
}


@pytest.mark.parametrize("cure", CURES)
def test_what_stands_in_for_an_access(cure: str) -> None:
    assert [cure_of(access) for access in CURES[cure].split(";")] == [cure] * len(CURES[cure].split(";"))


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("http://h/x", True), ("git://h/x", True), ("ssh://h/x", True), ("github.com/a/b", True),
        ("user-1.x@h:x", True), ("../x.git", True), ("x.git#main", True), ("x.gitted", False), ("x/github.com", False),
    ],
)  # fmt: skip
def test_which_contexts_are_fetched(tmp_path: Path, text: str, *, remote: bool) -> None:
    need = one(tmp_path, target={"contexts": {"x": text}})
    assert (need.why == "fetched over the network") is remote
