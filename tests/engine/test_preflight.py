"""Preflight against the real buildx: the outline without base images beside the true one, and its verdicts."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from orchestrator.bake import preflight
from orchestrator.bake.arrived import Outlines
from orchestrator.bake.file import BakeFile, escape
from orchestrator.bake.preflight import Injected
from orchestrator.dockerfile.bases import EMPTY, without_bases
from orchestrator.engine.buildx import BakeCall
from orchestrator.errors import MatrixError, Place
from tests.support.engine import call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.bake.preflight import Arrival
    from tests.support.engine import Registry


@dataclass(frozen=True, kw_only=True)
class Case:
    """A Dockerfile (BASE stands for an image that exists) and what it is outlined with."""

    text: str
    args: dict[str, str] = field(default_factory=dict)
    target: str = ""
    contexts: tuple[str, ...] = ()


CASES = {
    "continued": Case(text="ARG B=BASE\nFROM \\\n  ${B} \\\n  AS x\nARG X\nRUN echo $X\n", args={"X": "1"}),
    "from in a here-document": Case(
        text="FROM BASE\nARG A\nRUN <<END\nFROM nothing\nARG C\nEND\nARG D\n", args={"A": "1", "C": "2"}
    ),
    "from in a copied here-document": Case(text='FROM BASE\nCOPY <<-"END" /x\n\tFROM no\n\tEND\nARG C\n'),
    "variable names a stage": Case(
        text="ARG S=one\nFROM BASE AS one\nARG IN_ONE\nFROM BASE AS two\nARG IN_TWO\nFROM ${S}\nARG Z\n",
        args={"IN_ONE": "1", "IN_TWO": "2"},
    ),
    "argument names another stage": Case(
        text="ARG S=one\nFROM BASE AS one\nARG IN_ONE\nFROM BASE AS two\nARG IN_TWO\nFROM ${S}\nARG Z\n",
        args={"S": "two"},
    ),
    "platform flags": Case(
        text="ARG B=BASE\nFROM --platform=$BUILDPLATFORM ${B} AS b\nARG X\n"
        "FROM --platform=$TARGETPLATFORM ${B}\nCOPY --from=b / /\nARG TARGETARCH\n"
    ),
    "platform argument": Case(
        text="ARG P=linux/amd64\nFROM --platform=${P} BASE\nARG X\n", args={"P": "linux/amd64"}
    ),
    "copy from an image, and from stage 0": Case(
        text="FROM BASE AS a\nARG IN_ZERO\nFROM BASE\nCOPY --from=BASE / /\nCOPY --from=0 / /\nARG Y\n",
        args={"IN_ZERO": "1"},
    ),
    "mount from an image": Case(
        text="FROM BASE AS a\nARG IN_A\nFROM BASE\n"
        "RUN --mount=type=bind,from=BASE,target=/x --mount=from=a,target=/y true\nARG Y\n"
    ),
    "mount in quotes": Case(
        text='FROM BASE AS a\nARG A\nFROM BASE\nRUN --mount="type=bind,from=BASE,target=/x" true\nARG C\n'
    ),
    "cache mount from a stage": Case(
        text="FROM BASE AS a\nARG A\nFROM BASE\nRUN --mount=type=cache,target=/c,id=x,from=a,source=/etc true\n"
    ),
    "escape directive": Case(text="# escape=`\nFROM `\n BASE `\n AS q\nARG WIN=C:\\`\n x\nARG Y\n"),
    "nested default, outer empty": Case(text="ARG A\nARG B=BASE\nFROM ${A:-${B}}\nARG Y\n"),
    "nested default, outer given": Case(text="ARG A\nARG B=BASE\nFROM ${A:-${B}}\nARG Y\n", args={"A": "BASE"}),
    "defaults of defaults": Case(text="ARG V=BASE\nARG R=${V}\nARG I=${R}\nFROM ${I}\nARG Y\n", args={"V": "BASE"}),
    "a default nobody asks": Case(text="ARG V=x\nARG I=${V}\nFROM ${I}\nARG Y\n", args={"I": "BASE", "V": "1"}),
    "suffix cut off": Case(text="ARG V=BASE.9\nFROM ${V%.*}\nARG Y\n", args={"V": "BASE.9"}),
    "small letters": Case(text="arg B=BASE\nfrom ${B} as One\narg x\nfrom one\narg y\ncopy --from=BASE / /\n"),
    "comments and empty lines between": Case(
        text="# FROM nope\nARG B=BASE\nFROM ${B} \\\n# FROM x\n  AS one\nARG A \\\n # more\n  Q=1 \\\n\n C\n",
        args={"C": "1"},
    ),
    "quotes": Case(
        text="ARG B=\"BASE\"\nARG Q='BASE'\nFROM \"${Q}\" AS one\nFROM ${B}\nCOPY --from=one / /\nARG A='x y'\n"
    ),
    "Windows line ends": Case(text="ARG B=BASE\r\nFROM ${B} AS one\r\nARG A\r\nFROM one\r\nARG C\r\n"),
    "byte order mark": Case(text="\ufeffARG B=BASE\nFROM ${B} AS one\nARG A\n"),
    "several in one ARG": Case(text="ARG V=BASE X=9\nFROM ${V}\nARG X\nARG Y\n", args={"V": "BASE"}),
    "stage of the target's architecture": Case(
        text="FROM BASE AS base-amd64\nARG AMD\nFROM BASE AS base-arm64\nARG ARM\nFROM base-${TARGETARCH}\nARG Y\n"
    ),
    "onbuild": Case(text="FROM BASE\nONBUILD ARG OB\nARG Y\n"),
    "named contexts": Case(
        text="FROM BASE AS src\nARG IN_SRC\nFROM BASE AS t\nCOPY --from=src / /\nCOPY --from=other / /\nARG Y\n",
        contexts=("src", "other"),
    ),
    "from a named context": Case(text="FROM deps AS t\nARG Y\n", contexts=("deps",)),
    "declared again": Case(text="ARG B=BASE\nARG G=7\nFROM ${B}\nARG G\nARG B=foo\n", args={"G": "8"}),
    "unreachable stage": Case(
        text="FROM BASE AS dead\nARG DEAD\nFROM BASE\nARG LIVE\n", args={"DEAD": "1", "LIVE": "2"}
    ),
    "middle target": Case(
        text="FROM BASE AS a\nARG A\nFROM a AS b\nARG C\nFROM b AS c\nARG D\n", target="b", args={"D": "1"}
    ),
    "scratch": Case(text="FROM scratch\nARG A\n"),
    "template characters": Case(
        text="FROM BASE\nARG A\nARG C='$x'\nARG D=\\$y\n", args={"A": 'a ${b} %{if} $$ $${c} %%{d} "q" \\n \\\n é'}
    ),
    "stage named like its image": Case(text="FROM BASE AS python\nARG P\nFROM python\nARG Y\n"),
    "from in shell text": Case(text="FROM BASE\nARG P\nRUN echo 'a,from=zzz' COPY --from=yyy\n"),
    "argument before from alone": Case(text="ARG NEVER\nFROM BASE\nARG Y\n", args={"NEVER": "1"}),
    "environment": Case(text="FROM BASE\nENV Q=1\nARG A=$Q\nARG C=${A}x\n"),
    "tabs": Case(text="ARG B=BASE\nFROM\t${B}\tAS\tone\nARG A\nFROM\tone\nARG C\n"),
    "indented": Case(text="  ARG B=BASE\n  FROM ${B} AS one\n   ARG A\n"),
    "value from a remote ADD": Case(text="ARG R=m\nFROM BASE\nARG R\nADD https://example.invalid/x.git#${R} /x\n"),
}  # fmt: skip


def outline(folder: Path, targets: dict[str, dict[str, object]]) -> dict[str, dict[str, str]]:
    """What each target consumes, in one call of buildx."""
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "bake.json").write_text(json.dumps({"target": targets}), encoding="utf-8")
    done = call(
        "env",
        f"--chdir={folder}",
        "docker",
        "buildx",
        "bake",
        "-f",
        "bake.json",
        "--call=outline,format=json",
        *targets,
    )
    found = json.loads(done.stdout)["target"]
    return {
        name: {arg["name"]: arg.get("value", "") for arg in found[name]["outline"].get("args") or []}
        for name in targets
    }


@dataclass(frozen=True, kw_only=True)
class Both:
    """Consumed arguments by case: of the Dockerfile as it is, and of the one without base images."""

    true: dict[str, dict[str, str]]
    ours: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def base(engine: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = f"t-{uuid.uuid4().hex[:16]}"
    image = f"{registry.repository(name)}:1"
    folder = tmp_path_factory.mktemp("base")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /etc/x\n")
    call("docker", "buildx", "build", "--quiet", "--push", "--tag", image, folder)
    yield image
    registry.forget(name)


@pytest.fixture(scope="module")
def both(base: str, tmp_path_factory: pytest.TempPathFactory) -> Both:
    true: dict[str, dict[str, object]] = {}
    ours: dict[str, dict[str, object]] = {}
    names = dict(zip(CASES, (f"c{number}" for number in range(len(CASES))), strict=True))
    for name, case in CASES.items():
        text = case.text.replace("BASE", base)
        args = {key: value.replace("BASE", base) for key, value in case.args.items()}
        shared = {
            "context": "empty",
            "args": {key: escape(value) for key, value in args.items()},
            "platforms": ["linux/amd64"],
            **({"target": case.target} if case.target else {}),
        }
        contexts = dict.fromkeys(case.contexts, "empty")
        bare = without_bases(text, contexts=case.contexts, args=args)
        assert base not in "".join(line for line in bare.splitlines() if line.lstrip().lower().startswith("from"))
        true[names[name]] = {**shared, "dockerfile-inline": escape(text), "contexts": contexts}
        ours[names[name]] = {**shared, "dockerfile-inline": escape(bare), "contexts": {**contexts, EMPTY: "empty"}}
    folder = tmp_path_factory.mktemp("outline")
    answers = [outline(folder, targets) for targets in (true, ours)]
    backs = [{name: answer[short] for name, short in names.items()} for answer in answers]
    return Both(true=backs[0], ours=backs[1])


@pytest.mark.parametrize("name", CASES)
def test_the_outline_needs_no_base_image(both: Both, name: str) -> None:
    # an argument that nobody gives and that has no value counts for nothing either way
    ours = {key: value for key, value in both.ours[name].items() if value or key in both.true[name]}
    assert ours == both.true[name]
    assert both.true[name]


# -- verdicts ---------------------------------------------------------------------------------------------------------

DOCKERFILE = """\
# syntax=registry.invalid/docker/dockerfile:1
ARG BASE=registry.invalid/no/such:1
FROM registry.invalid/other:1 AS dead
ARG only_in_dead
FROM ${BASE} AS build
ARG torch_cuda_arch_list
ARG max_jobs=4
FROM build
COPY --from=registry.invalid/third:1 / /
"""


def judge(folder: Path, args: dict[str, str], *, text: str = DOCKERFILE, **more: object) -> Arrival:
    """Preflight of one target whose Dockerfile names nothing that exists."""
    (folder / "Dockerfile").write_text(text)
    target = {"context": ".", "dockerfile": "Dockerfile", "args": args, **more}
    bake = BakeCall(docker=("docker",), files=(), root=folder)
    found = preflight.arrival(bake, bake_file(target))
    places = dict.fromkeys(args, Place(file="matrix.yaml", line=21, column=5))
    preflight.check(found, Injected(args=args, places=places), variant="v")
    return found


def bake_file(target: dict[str, object]) -> BakeFile:
    return BakeFile(target="v", members={"v": target}, origins={"v": "openai"})


def test_consumed_arguments_pass_without_a_network(tmp_path: Path) -> None:
    found = judge(tmp_path, {"torch_cuda_arch_list": "9.0 ${x}", "BASE": "registry.invalid/mine:2"})
    assert found.checked
    assert found.consumed == {
        "BASE": "registry.invalid/mine:2", "torch_cuda_arch_list": "9.0 ${x}", "max_jobs": "4"
    }  # fmt: skip


def test_another_case_does_not_arrive(tmp_path: Path) -> None:
    with pytest.raises(MatrixError) as caught:
        judge(tmp_path, {"TORCH_CUDA_ARCH_LIST": "9.0"})
    (problem,) = caught.value.problems
    assert str(problem) == (
        "matrix.yaml:21:5: v: target openai does not consume TORCH_CUDA_ARCH_LIST; did you mean torch_cuda_arch_list?"
    )
    assert caught.value.exit_code == 2
    assert caught.value.hint == "openai consumes: BASE, max_jobs, torch_cuda_arch_list"


def test_an_unreachable_stage_consumes_nothing(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match="does not consume only_in_dead"):
        judge(tmp_path, {"only_in_dead": "1"})


def test_every_missing_argument_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(MatrixError) as caught:
        judge(tmp_path, {"nope": "1", "max_jobs": "2", "neither": "1"})
    assert [p.what.split()[-1] for p in caught.value.problems] == ["nope", "neither"]


def test_predefined_arguments_need_no_declaration(tmp_path: Path) -> None:
    given = {"HTTP_PROXY": "x", "https_proxy": "x", "no_proxy": "x", "ALL_PROXY": "x", "SOURCE_DATE_EPOCH": "0",
             "BUILDKIT_INLINE_CACHE": "1"}  # fmt: skip
    assert judge(tmp_path, given).checked


def test_what_cannot_be_outlined_is_not_checked(tmp_path: Path) -> None:
    found = judge(tmp_path, {"nope": "1"}, text="# syntax=docker/dockerfile:9\nFROM scratch\nNONSENSE here\n")
    assert not found.checked  # for that frontend it may be an instruction
    assert "unknown instruction: NONSENSE" in found.why_not
    given = judge(tmp_path, {"nope": "1", "BUILDKIT_SYNTAX": "acme/newer:2"}, text="FROM scratch\nNONSENSE here\n")
    assert not given.checked
    remote = judge(tmp_path, {"nope": "1"}, context="https://user:secret@git.invalid/x.git")
    assert not remote.checked
    assert "secret" not in remote.why_not


@pytest.mark.parametrize("frontend", ["acme/newer:2", "registry.lan/buildpack/frontend@sha256:" + "0" * 64])
def test_what_another_frontend_consumes_is_not_known(tmp_path: Path, frontend: str) -> None:
    """Docker's own would say that A arrives."""
    text = f"# syntax={frontend}\nFROM scratch\nARG A\nLABEL a=$A\n"
    found = judge(tmp_path, {"A": "1", "nope": "1"}, text=text)
    assert (found.checked, found.why_not) == (False, f"its frontend {frontend} is not Docker's own")
    assert not judge(tmp_path, {"A": "1", "BUILDKIT_SYNTAX": frontend}, text="FROM scratch\nARG A\n").checked
    own = {"A": "1", "BUILDKIT_SYNTAX": "registry.invalid/docker/dockerfile:1"}
    assert judge(tmp_path, own, text="FROM scratch\nARG A\nLABEL a=$A\n").checked  # without its image


def test_a_linked_target_that_no_stage_refers_to_consumes_nothing(tmp_path: Path) -> None:
    """buildx builds it beside the image, which holds nothing of it."""
    (tmp_path / "base").write_text("FROM scratch\nARG A\nLABEL a=$A\n")

    def checked(stage: str) -> Arrival:
        (tmp_path / "Dockerfile").write_text(f"FROM {stage}\nLABEL b=1\n")
        main = {"context": ".", "args": {"A": "1"}, "contexts": {"base": "target:v--base"}}
        linked = {"context": ".", "dockerfile": "base", "args": {"A": "1"}}
        file = BakeFile(target="v", members={"v": main, "v--base": linked}, origins={"v": "app", "v--base": "base"})
        found = preflight.arrival(BakeCall(docker=("docker",), files=(), root=tmp_path), file)
        preflight.check(found, Injected(args={"A": "1"}), variant="v")
        return found

    assert [one.target for one in checked("base").consumers] == ["app", "base"]
    with pytest.raises(MatrixError) as caught:
        checked("scratch")
    (problem,) = caught.value.problems
    assert problem.what == "v: target app does not consume A"
    assert problem.hint == "the linked base consumes it, and no stage refers to that context"


@pytest.mark.parametrize(
    ("text", "stage", "said"),
    [
        ("FROM nowhere/a:1\n\nNONSENSE here\n", "", "Dockerfile:3: target openai: dockerfile parse error on line 3: "),
        ("FROM scratch\nCOPY a\n", "", "Dockerfile:2: target openai: dockerfile parse error on line 2: COPY requires"),
        ("FROM nowhere/a:1 AS image\nCOPY a b\n", "imag", "stage imag was not found; did you mean image?"),
        ("# nothing\n", "", "Dockerfile:1: target openai: file with no instructions"),
        (" \n", "", "target openai: its Dockerfile is empty"),
    ],
)  # fmt: skip
def test_a_dockerfile_that_the_builder_refuses_is_an_error_before_a_build(
    tmp_path: Path, text: str, stage: str, said: str
) -> None:
    """It was not checked, and the variants before it were built for hours."""
    with pytest.raises(MatrixError) as caught:
        judge(tmp_path, {}, text=text, **({"target": stage} if stage else {}))
    assert said in str(caught.value)


def test_a_missing_dockerfile_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match="Elsewhere: no such Dockerfile"):
        judge(tmp_path, {}, dockerfile="Elsewhere")


def test_an_outline_is_asked_for_once(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    file = bake_file({"context": ".", "args": {"max_jobs": "2"}})
    memory = tmp_path / "state" / "outlines.json"
    bake = BakeCall(docker=("docker",), files=(), root=tmp_path)
    first = preflight.arrival(bake, file, Outlines(memory))
    known = json.loads(memory.read_text())
    assert list(known.values()) == [{"args": first.consumed, "secrets": []}]
    nobody = BakeCall(docker=("docker", "--host=tcp://127.0.0.1:1"), files=(), root=tmp_path)
    assert not preflight.arrival(nobody, file, Outlines(memory)).checked  # another engine was never asked
    memory.write_text(json.dumps({key: {"args": {"from": "memory"}, "secrets": []} for key in known}))
    assert preflight.arrival(bake, file, Outlines(memory)).consumed == {"from": "memory"}
    changed = bake_file({"context": ".", "args": {"max_jobs": "3"}})
    assert preflight.arrival(bake, changed, Outlines(memory)).consumed == {
        "BASE": "registry.invalid/no/such:1", "max_jobs": "3", "torch_cuda_arch_list": ""
    }  # fmt: skip


@pytest.fixture(scope="module")
def cuda_base(engine: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with ENV, as NVIDIA's have them, and one argument that its ONBUILD declares."""
    folder = tmp_path_factory.mktemp("cuda-base")
    name = f"t-{uuid.uuid4().hex[:16]}"
    image = f"{registry.repository(name)}:1"
    (folder / "Dockerfile").write_text(
        "FROM scratch\nENV CUDA_VERSION=12.4.0 EMPTY= LIST=\"7.0 8.0;'x'\"\nONBUILD ARG later=own\nCOPY Dockerfile /\n"
    )
    call("docker", "buildx", "build", "--quiet", "--push", "--tag", image, folder)
    yield image
    registry.forget(name)


@pytest.mark.parametrize(
    ("first", "rest", "lost"),
    [
        ("FROM {} AS b", "FROM b\n", ["CUDA_VERSION", "EMPTY", "LIST"]),
        (
            "ARG IMAGE={}\nFROM --platform=$BUILDPLATFORM $IMAGE AS b",
            "FROM b AS c\nFROM c\n",
            ["CUDA_VERSION", "EMPTY", "LIST"],
        ),
        ("FROM {} AS b", "", []),
        ("FROM {} AS b", "FROM b\nARG CUDA_VERSION\nARG LIST\n", ["EMPTY"]),
        ("FROM ctx AS b", "FROM b\n", ["CUDA_VERSION", "EMPTY", "LIST"]),
    ],
)
def test_an_env_of_a_base_image_takes_the_value(
    tmp_path: Path, cuda_base: str, first: str, rest: str, lost: list[str]
) -> None:
    given = {"CUDA_VERSION": "13.0.2", "EMPTY": "1", "LIST": "8.0", "OTHER": "2", "later": "3"}
    declared = "".join(f"\nARG {name}" for name in given)
    text = f"{first.format(cuda_base)}{declared}\n{rest}RUN x {' '.join(f'${name}' for name in given)}\n"
    (tmp_path / "Dockerfile").write_text(text)
    file = bake_file({"context": ".", "args": given, "contexts": {"ctx": f"docker-image://{cuda_base}"}})
    bake = BakeCall(docker=("docker",), files=(), root=tmp_path)
    plain = preflight.arrival(bake, file)
    assert not [loss for one in plain.consumers for loss in one.lost]
    assert preflight.unsure(plain, Injected(args=given)) == ([] if not rest else sorted({*lost, "OTHER", "later"}))
    (found,) = preflight.arrivals(bake, [file], bases=True)
    assert not isinstance(found, MatrixError)
    assert [loss.name for one in found.consumers for loss in one.lost] == lost
    assert preflight.unsure(found, Injected(args=given)) == []
    assert given.items() <= found.consumed.items()
    assert not [name for name in found.consumed if name.startswith("orchestrate")]
