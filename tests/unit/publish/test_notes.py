"""What a release changes, as far as it follows from what was read: the tag to compare with, labels and packages."""

from __future__ import annotations

from msgspec.structs import replace

from orchestrator.image.layers.installed import Distribution
from orchestrator.image.layers.merge import Files, LayerScan
from orchestrator.image.verdict.scanned import Scanned
from orchestrator.publish.notes import _facts, _since
from orchestrator.publish.record import Move, Rank
from orchestrator.reference import Digest, Repository, Tag

OLD, NEW = Digest(f"sha256:{'b' * 64}"), Digest(f"sha256:{'a' * 64}")
MOVE = Move(
    repository=Repository(host="h", path="p"), tag=Tag("v1"), rank=Rank.VERSION, immutable=False, old=OLD, new=NEW
)


def test_users_follow_latest_else_a_floating_tag_else_a_version() -> None:
    floating, latest = replace(MOVE, rank=Rank.FLOATING), replace(MOVE, rank=Rank.LATEST)
    first = replace(MOVE, tag=Tag("new"), old=None)
    assert _since([MOVE, floating, latest]) is latest
    assert _since([MOVE, floating, replace(latest, old=None)]) is floating
    assert _since([first, MOVE]) is MOVE
    assert _since([first, replace(latest, old=None)]) is first


def scanned(packages: dict[str, str], **labels: str) -> Scanned:
    records = {name: Distribution(name=name, version=version) for name, version in packages.items()}
    named = {f"com.orchestrate.{name}": value for name, value in labels.items()}
    return Scanned(source="x", labels=named, files=Files(code={}, layers=(LayerScan(records=records),)))


def test_facts_are_labels_and_packages_that_decide_what_runs() -> None:
    after = scanned(
        {"torch": "2.9", "numpy": "2", "nvidia-cublas": "13", "nvidia-curand": "1", "flashinfer-python": "0.6"},
        cuda="13.0.2", flashinfer="sha256:f",
    )  # fmt: skip
    assert _facts(None, after) == {
        "CUDA": ("", "13.0.2"), "FlashInfer bundle": ("", "sha256:f"), "flashinfer-python": ("", "0.6"),
        "nvidia-cublas": ("", "13"), "torch": ("", "2.9"),
    }  # fmt: skip
    before = scanned({"torch": "2.8", "triton": "3"}, cuda="12.9.1", bases="debian@sha256:1")
    found = _facts(before, after)
    assert (found["CUDA"], found["torch"], found["triton"]) == (("12.9.1", "13.0.2"), ("2.8", "2.9"), ("3", ""))
    assert found["base images"] == ("debian@sha256:1", "")
    assert list(found) == [
        "CUDA", "base images", "FlashInfer bundle", "flashinfer-python", "nvidia-cublas", "torch", "triton",
    ]  # fmt: skip


NAMES = (
    "flashinfer", "flashinfer-cubin", "nvidia-cublas", "nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu13",
    "nvidia-nccl-cu12", "nvidia-nvshmem-cu12", "sglang", "torch", "triton", "vllm",
)  # fmt: skip


def test_each_package_that_decides() -> None:
    others = ("torchvision", "nvidia-cufft", "my-vllm")
    assert tuple(_facts(None, scanned(dict.fromkeys([*NAMES, *others], "1")))) == NAMES
