"""The generated bake file: what is in it, and what is never."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bake.file import Extras, Output, escape, render
from orchestrator.bake.ladder import Standing
from orchestrator.errors import MatrixError
from orchestrator.labels import CUDA
from orchestrator.reference import parse
from tests.unit.matrix.support import EXAMPLE, SMALL, changed, planned

SHA = "0" * 40


PLAIN: dict[str, dict[str, Any]] = {
    name: {"context": ".", "dockerfile": "Dockerfile"} for name in ("app", "openai", "openai-ubuntu2404")
}
"""Targets of a bake file as buildx resolves them."""


def target(
    text: str = EXAMPLE,
    variant: str = "openai-cu130-arm64-python3-12",
    own: dict[str, Any] | None = None,
    **more: object,
) -> dict[str, object]:
    """The one target of the bake file of a variant, whose target of the project says `own`."""
    plan = planned(text)
    chosen = next(v for v in plan.variants if v.id == variant)
    targets = PLAIN | {chosen.target: PLAIN[chosen.target] | (own or {})}
    file = render(plan, chosen, targets, **more)  # type: ignore[arg-type]  # the keywords of render
    assert json.loads(file.text) == file.content
    assert list(file.content) == ["target"]
    assert list(file.content["target"]) == [variant] == [file.target]
    found = file.content["target"][variant]
    assert isinstance(found, dict)
    return found


def test_a_push_of_the_example() -> None:
    plan = planned(EXAMPLE)
    cache = "ghcr.io/acme/vllm-openai-cache:openai-cu130-arm64-python3-12"
    zstd = "compression=zstd,oci-mediatypes=true"
    assert target(output=Output(push=True), revision=SHA) == {
        "context": ".",
        "dockerfile": "Dockerfile",
        "description": "openai for CUDA 13.0.2 on linux/arm64",
        "args": {
            "CUDA_VERSION": "13.0.2",
            "torch_cuda_arch_list": "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX",
            "PYTHON_VERSION": "3.12",
            "max_jobs": "8",
        },
        "labels": {
            "org.opencontainers.image.title": "vllm-openai",
            "org.opencontainers.image.ref.name": f"ghcr.io/acme/vllm-openai:{SHA}-py3.12-aarch64",
            "org.opencontainers.image.revision": SHA,
            "com.orchestrate.variant": "openai-cu130-arm64-python3-12",
            "com.orchestrate.archs": "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX",
            "com.orchestrate.archs.requested": "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX",
            "com.orchestrate.cuda": "13.0.2",
            "com.orchestrate.matrix": plan.matrix.digest,
        },
        "platforms": ["linux/arm64"],
        "tags": [f"ghcr.io/acme/vllm-openai:{SHA}-py3.12-aarch64"],
        "cache-from": [f"type=registry,ref={cache}"],
        "cache-to": [f"type=registry,ref={cache},mode=max,{zstd},image-manifest=true,ignore-error=true"],
        "output": ["type=image,push=true"],
        "attest": ["type=provenance,mode=min"],
    }


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Output(), "type=cacheonly"),
        (Output(push=True), "type=image,name=acme/app,push-by-digest=true,name-canonical=true,push=true"),
        (Output(load=True), "type=docker"),
        (Output(directory=Path("/out")), "type=oci,dest=/out/app-cu130-amd64.tar.part"),
        (Output(directory=Path('/a,b"c')), 'type=oci,"dest=/a,b""c/app-cu130-amd64.tar.part"'),
    ],
)
def test_outputs_of_a_variant_without_tags(output: Output, expected: str) -> None:
    text = changed('  tags: ["{image}:{variant.id}"]\n', "", SMALL)
    found = target(text, "app-cu130-amd64", output=output)
    assert found["output"] == [expected]
    assert found["tags"] == []
    assert "org.opencontainers.image.ref.name" not in found["labels"]  # type: ignore[operator]  # a mapping, see above


def test_attestations_go_where_an_index_can_hold_them() -> None:
    text = SMALL.replace("  arch_list: all\n", "  arch_list: all\n  attest: {provenance: max, sbom: true}\n")
    assert target(text, "app-cu130-amd64")["attest"] == ["type=provenance,mode=max", "type=sbom"]
    assert target(text, "app-cu130-amd64", output=Output(load=True))["attest"] == ["type=provenance,disabled=true"]
    none = text.replace("provenance: max, sbom: true", 'provenance: "off"')
    assert target(none, "app-cu130-amd64")["attest"] == ["type=provenance,disabled=true"]


def test_what_the_matrix_says_wins_over_labels_of_ours() -> None:
    text = SMALL.replace(
        "  arch_list: all\n", '  arch_list: all\n  labels: {org.opencontainers.image.title: Mine, extra: "{cuda}"}\n'
    )
    labels = target(text, "app-cu130-amd64")["labels"]
    assert isinstance(labels, dict)
    assert labels["org.opencontainers.image.title"] == "Mine"
    assert labels["extra"] == "13.0"


def test_the_title_of_the_bake_target_stays_unless_the_matrix_has_one() -> None:
    plan = planned(SMALL)
    title = "org.opencontainers.image.title"
    theirs = {"app": {"labels": {title: "Theirs", CUDA: "1.0.0"}}}
    found = render(plan, plan.variants[0], theirs).members["app-cu130-amd64"]["labels"]
    assert (found[title], found[CUDA]) == ("Theirs", "13.0.2")
    own = planned(SMALL.replace("  arch_list: all\n", f"  arch_list: all\n  labels: {{{title}: Mine}}\n"))
    assert render(own, own.variants[0], theirs).members["app-cu130-amd64"]["labels"][title] == "Mine"


def test_extras_are_added() -> None:
    extras = Extras(
        args={"A": "${x}"}, contexts={"headers": "/h"}, network="none", cache=Standing(unread="off", unwritten="off")
    )
    found = target(SMALL, "app-cu130-amd64", extras=extras, output=Output(push=True))
    assert found["args"] == {"A": "$${x}"}
    assert found["contexts"] == {"headers": "/h"}
    assert found["network"] == "none"
    assert found["cache-from"] == found["cache-to"] == []


def test_secrets_and_contexts() -> None:
    text = SMALL.replace(
        "  arch_list: all\n",
        "  arch_list: all\n  secrets: ['id=ca,src=/ca-{cuda}']\n  contexts: {toolkit: './t-{cuda}'}\n",
    )
    found = target(text, "app-cu130-amd64")
    assert found["secret"] == ["id=ca,src=/ca-13.0"]
    assert found["contexts"] == {"toolkit": "./t-13.0"}
    assert not {"secret", "contexts", "network"} & set(target(SMALL, "app-cu130-amd64"))


def test_the_local_cache_is_absolute_and_swapped(tmp_path: Path) -> None:
    text = SMALL + "cache: {backend: local, dir: ../c}\n"
    plan = planned(text)
    file = render(plan, plan.variants[0], PLAIN)
    directory = f"{Path.cwd()}/../c"
    name = f"{directory}/acme-app-cache-app-cu130-amd64"
    assert file.content["target"][file.target]["cache-from"] == [f"type=local,src={name}"]
    assert file.content["target"][file.target]["cache-to"] == [f"type=local,dest={name}.new,mode=max,ignore-error=true"]
    assert file.cache.swap == (f"{name}.new", name)


def test_the_text_is_stable() -> None:
    plan = planned(EXAMPLE)
    first, second = (render(planned(EXAMPLE), plan.variants[0], PLAIN).text for _ in range(2))
    assert first == second
    assert first.endswith("}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("${X}", "$${X}"), ("%{if}", "%%{if}"), ("$X %X {x}", "$X %X {x}"), ("$${X}", "$$${X}"), ("", "")],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_held_back_until_verified() -> None:
    by_digest = target(SMALL, "app-cu130-amd64", output=Output(push=True, hold="digest"))
    assert by_digest["tags"] == []
    assert by_digest["output"] == ["type=image,name=acme/app,push-by-digest=true,name-canonical=true,push=true"]
    by_tag = target(SMALL, "app-cu130-amd64", output=Output(push=True, hold="tag"))
    assert by_tag["tags"] == ["acme/app:unverified-app-cu130-amd64"]
    assert by_tag["output"] == ["type=image,push=true"]
    axes = f"axes: {{model: {{{'m' * 101}: {{}}}}}}\nvariants:\n"
    long = changed("{variant.id}", "{cuda}", SMALL).replace("variants:\n", axes)
    held = target(long, f"app-cu130-amd64-model{'m' * 101}", output=Output(push=True, hold="tag"))["tags"]
    assert isinstance(held, list)
    assert [len(parse(tag).selector) for tag in held] == [128]
    two = SMALL.replace('["{image}:{variant.id}"]', '["{image}:{cuda}", "other/{target}:{cuda}"]')
    assert target(two, "app-cu130-amd64", output=Output(push=True, hold="digest"))["output"] == [
        'type=image,"name=acme/app,other/app",push-by-digest=true,name-canonical=true,push=true'
    ]


# -- what the project's own target says -------------------------------------------------------------------------------


def test_how_layers_are_written_is_the_users_where_they_go_is_ours() -> None:
    own = {
        "output": [
            {"type": "image", "name": "theirs/app", "push": "true", "compression": "zstd", "rewrite-timestamp": "true"},
            {"type": "registry", "oci-mediatypes": "true"},
            "type=local,dest=out,platform-split=false",
        ]
    }
    kept = "compression=zstd,rewrite-timestamp=true,oci-mediatypes=true"
    for output, expected in (
        (Output(), "type=cacheonly"),
        (Output(push=True), f"type=image,push=true,{kept}"),
        (Output(load=True), f"type=docker,{kept}"),
        (Output(directory=Path("/o")), f"type=oci,dest=/o/app-cu130-amd64.tar.part,{kept}"),
    ):
        assert target(SMALL, "app-cu130-amd64", own, output=output)["output"] == [expected]


@pytest.mark.parametrize(
    ("says", "own", "expected"),
    [
        ("", [], ["type=provenance,mode=min"]),
        ("", [{"type": "provenance", "mode": "max"}, {"type": "sbom"}], ["type=provenance,mode=max", "type=sbom"]),
        ("", [{"type": "provenance", "disabled": True}], ["type=provenance,disabled=true"]),
        ("", [{"type": "sbom", "generator": "me/scan"}], ["type=sbom,generator=me/scan", "type=provenance,mode=min"]),
        ("{sbom: false}", ["type=sbom"], ["type=provenance,mode=min"]),
        ("{provenance: max}", ["type=provenance,disabled=true"], ["type=provenance,mode=max"]),
        (
            "{provenance: 'off', sbom: true}",
            ["type=provenance,mode=max"],
            ["type=provenance,disabled=true", "type=sbom"],
        ),
    ],
)
def test_the_matrix_wins_over_the_attestations_of_the_target(says: str, own: list[Any], expected: list[str]) -> None:
    text = SMALL.replace("  arch_list: all\n", f"  arch_list: all\n  attest: {says}\n") if says else SMALL
    assert target(text, "app-cu130-amd64", {"attest": own})["attest"] == expected
    assert target(text, "app-cu130-amd64", {"attest": own}, output=Output(load=True))["attest"] == [
        "type=provenance,disabled=true"
    ]


def test_what_the_target_says_of_caches_tags_and_its_call_is_left_out() -> None:
    own = {
        "cache-from": ["type=registry,ref=theirs:cache"],
        "cache-to": ["type=registry,ref=theirs:cache"],
        "tags": ["theirs:release"],
        "call": "check",
        "platforms": ["linux/amd64", "linux/s390x"],
        "no-cache": True,
        "network": "host",
        "entitlements": ["network.host"],
        "annotations": ["manifest:a=${b}"],
    }
    found = target(SMALL + "cache: {backend: 'off'}\n", "app-cu130-amd64", own)
    assert found["cache-from"] == found["cache-to"] == []
    assert found["tags"] == ["acme/app:app-cu130-amd64"]
    assert found["platforms"] == ["linux/amd64"]
    assert "call" not in found
    assert (found["no-cache"], found["network"], found["entitlements"]) == (True, "host", ["network.host"])
    assert found["annotations"] == ["manifest:a=$${b}"]


def test_a_secret_of_the_matrix_replaces_that_of_the_same_id() -> None:
    text = SMALL.replace("  arch_list: all\n", "  arch_list: all\n  secrets: ['id=ca,src=/ours']\n")
    own = {"secret": [{"id": "ca", "src": "/theirs"}, {"id": "token", "env": "TOKEN"}]}
    assert target(text, "app-cu130-amd64", own)["secret"] == [{"id": "token", "env": "TOKEN"}, "id=ca,src=/ours"]


@pytest.mark.parametrize(
    ("own", "load", "expected"),
    [
        (["index:a=1", "manifest:b=2", "c=3"], False, ["index:a=1", "manifest:b=2", "c=3"]),
        (["index:a=1", "manifest:b=2", "c=3"], True, ["manifest:b=2", "c=3"]),
        (
            ["index,manifest:a=1", "index-descriptor:b=2", "a:index=x", "d=index:e"],
            True,
            ["manifest:a=1", "a:index=x", "d=index:e"],
        ),
        (["index[linux/amd64]:a=1"], True, []),
    ],
)
def test_annotations_of_an_index_need_one(own: list[str], load: bool, expected: list[str]) -> None:  # a case
    found = target(SMALL, "app-cu130-amd64", {"annotations": own}, output=Output(load=load, push=not load))
    assert found.get("annotations", []) == expected


LINKED: dict[str, dict[str, Any]] = {
    "app": {"context": ".", "contexts": {"base": "target:base", "src": "./src"}, "args": {"A": "1"}},
    "base": {
        "context": "base",
        "contexts": {"tools": "target:tools", "dep": "docker-image://dep"},
        "args": {"V": "12.4.1", "OWN": "kept"},
        "labels": {"who": "base"},
        "tags": ["theirs:base"],
        "output": [{"type": "cacheonly"}],
        "attest": [{"type": "sbom"}],
        "annotations": ["manifest:x=y"],
        "cache-from": ["type=registry,ref=theirs"],
    },
    "tools": {"context": "tools", "platforms": ["linux/s390x"]},
    "stranger": {"context": "."},
}


def test_linked_targets_are_built_for_the_variant() -> None:
    text = SMALL.replace(
        "  arch_list: all\n",
        "  arch_list: all\n  args: {V: '{cuda.version}'}\n  contexts: {extra: ./e}\n  secrets: ['id=ca,src=/ca']\n",
    )
    plan = planned(text)
    file = render(plan, plan.variants[0], LINKED, extras=Extras(args={"W": "${w}"}, network="none"))
    ids = ["app-cu130-amd64", "app-cu130-amd64--base", "app-cu130-amd64--tools"]
    assert list(file.members) == ids
    assert file.origins == dict(zip(ids, ["app", "base", "tools"], strict=True))
    app, base, tools = (file.members[name] for name in ids)
    assert app["contexts"] == {"base": "target:app-cu130-amd64--base", "src": "./src", "extra": "./e"}
    assert base["contexts"] == {
        "extra": "./e",
        "tools": "target:app-cu130-amd64--tools",
        "dep": "docker-image://dep",
    }
    assert base["args"] == {"V": "13.0.2", "OWN": "kept", "W": "${w}"}
    assert file.content["target"][ids[1]]["args"]["W"] == "$${w}"
    assert base["labels"]["who"] == "base"
    assert base["labels"]["com.orchestrate.cuda"] == "13.0.2"
    assert not {"tags", "output", "attest", "annotations", "cache-to"} & set(base)
    for member in (app, base, tools):
        assert member["platforms"] == ["linux/amd64"]
        assert member["secret"] == ["id=ca,src=/ca"]
        assert member["network"] == "none"
        assert member["cache-from"] == list(file.cache.read)


def test_a_context_of_the_matrix_may_link_and_may_replace_a_link() -> None:
    text = SMALL.replace("  arch_list: all\n", "  arch_list: all\n  contexts: {base: 'target:stranger'}\n")
    plan = planned(text)
    file = render(plan, plan.variants[0], LINKED)
    assert list(file.members) == ["app-cu130-amd64", "app-cu130-amd64--stranger"]
    assert "contexts" not in file.members["app-cu130-amd64--stranger"]
    plan = planned(text.replace("stranger", "nobody"))
    with pytest.raises(MatrixError, match="target:nobody: the linked target was not found"):
        render(plan, plan.variants[0], LINKED)


def test_where_digests_cannot_be_pushed_a_tag_holds_what_has_none() -> None:
    bare = changed('  tags: ["{image}:{variant.id}"]\n', "", SMALL)
    found = target(bare, "app-cu130-amd64", output=Output(push=True, digests=False))
    assert (found["tags"], found["output"]) == (["acme/app:unverified-app-cu130-amd64"], ["type=image,push=true"])
    found = target(SMALL, "app-cu130-amd64", output=Output(push=True, digests=False))
    assert found["tags"] == ["acme/app:app-cu130-amd64"]
    assert target(bare, "app-cu130-amd64", output=Output(load=True, digests=False))["tags"] == []
