"""The generated bake file: what is in it, and what is never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.bake.file import Extras, Output, escape, render
from tests.unit.matrix.support import EXAMPLE, SMALL, changed, planned

SHA = "0" * 40


def target(text: str = EXAMPLE, variant: str = "openai-cu130-arm64-python3-12", **more: object) -> dict[str, object]:
    """The one target of the bake file of a variant."""
    plan = planned(text)
    chosen = next(v for v in plan.variants if v.id == variant)
    file = render(plan, chosen, **more)  # type: ignore[arg-type]  # the keywords of render
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
        "inherits": ["openai"],
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


def test_extras_are_added() -> None:
    extras = Extras(args={"A": "${x}"}, contexts={"headers": "/h"}, network="none", no_cache=True)
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
    file = render(plan, plan.variants[0])
    directory = f"{Path.cwd()}/../c"
    name = f"{directory}/acme-app-cache-app-cu130-amd64"
    assert file.content["target"][file.target]["cache-from"] == [f"type=local,src={name}"]
    assert file.content["target"][file.target]["cache-to"] == [f"type=local,dest={name}.new,mode=max,ignore-error=true"]
    assert file.cache.swap == (f"{name}.new", name)


def test_the_text_is_stable() -> None:
    plan = planned(EXAMPLE)
    first, second = (render(planned(EXAMPLE), plan.variants[0]).text for _ in range(2))
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
    two = SMALL.replace('["{image}:{variant.id}"]', '["{image}:{cuda}", "other/{target}:{cuda}"]')
    assert target(two, "app-cu130-amd64", output=Output(push=True, hold="digest"))["output"] == [
        'type=image,"name=acme/app,other/app",push-by-digest=true,name-canonical=true,push=true'
    ]
