"""Many variants on the real engine: failures apart, registries that fail, signals in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.process import BakeCommand
from orchestrator.process import Stop
from orchestrator.runs.outcome import Outcome, Status, exit_code
from orchestrator.runs.retry import RetryPolicy
from orchestrator.runs.scheduler import Job, build_all
from orchestrator.runs.wishes import Limits
from tests.support.base import write_rootfs
from tests.support.engine import ROOT, remove_images
from tests.support.faults import Fault
from tests.unit.runs.support import Silent

if TYPE_CHECKING:
    from tests.support.engine import MakeFaulty, Registry

MARK = "ORCHESTRATE_TEST_MARK"
NOWHERE = {"output": ["type=cacheonly"]}  # else the engine keeps an image without a name
SOON = RetryPolicy(initial=0.1, maximum=0.2, jitter=0.1)


def marked(mark: str) -> list[str]:
    """Command lines of the processes whose environment holds the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def job(folder: Path, target: str) -> Job:
    """A job that bakes one target of a folder's bake.json."""
    command = BakeCommand(
        id=target,
        argv=("docker", "buildx", "bake", "-f", "bake.json"),
        bake_json=(folder / "bake.json").read_text(),
        target=target,
        cwd=folder,
        log=folder / "state" / f"{target}.log",
        metadata=folder / "state" / f"{target}.json",
    )
    return Job(id=target, prepare=lambda: command, log=command.log, key="k")


def project(folder: Path, **targets: dict[str, Any]) -> None:
    """A folder with a Dockerfile of one stage a target; what comes after the base is in no cache."""
    write_rootfs(folder)
    stages = [f"FROM scratch AS base\nADD rootfs.tar /\nENV FRESH={uuid.uuid4().hex}\nRUN : $FRESH"]
    stages += [f"FROM base AS {name}\n{target.pop('do', '')}" for name, target in targets.items()]
    (folder / "Dockerfile").write_text("\n".join(stages) + "\n")
    bake = {"target": {name: {"target": name, **NOWHERE, **target} for name, target in targets.items()}}
    (folder / "bake.json").write_text(json.dumps(bake))


def build(folder: Path, *targets: str, **options: Any) -> list[Outcome]:
    limits = Limits(parallel=2, fail_fast=options.pop("fail_fast", False))
    settings: dict[str, Any] = {"reporter": Silent(), "stop": Stop(), "retry": SOON, "limits": limits, **options}
    return build_all([job(folder, target) for target in targets], **settings)


def test_of_two_at_once_one_fails_and_the_other_is_pushed(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    push = {"output": ["type=registry"]}
    project(
        tmp_path,
        good={"do": "RUN sleep 1; echo fine", "tags": [f"{tmp_image}:good"], **push},
        bad={"do": "RUN echo 503 Service Unavailable; exit 9", "tags": [f"{tmp_image}:bad"], **push},
    )
    good, bad = build(tmp_path, "good", "bad")
    assert (good.status, bad.status) == (Status.BUILT, Status.FAILED)
    assert registry.digest(tmp_image.partition("/")[2], "good") == good.digest
    assert registry.tags(tmp_image.partition("/")[2]) == ["good"]
    assert bad.error is not None
    assert (bad.error.failure, bad.error.message, bad.attempts) == ("run", "exit code: 9", 1)
    assert bad.error.step == "[bad 1/1] RUN echo 503 Service Unavailable; exit 9"
    assert bad.last_lines == ("503 Service Unavailable",)
    assert exit_code([good, bad]) == 1


def test_fail_fast_stops_a_running_build(engine: str, tmp_path: Path) -> None:
    project(tmp_path, slow={"do": "RUN sleep 100"}, bad={"do": "RUN sleep 1; false"})
    started = time.monotonic()
    slow, bad = build(tmp_path, "slow", "bad", fail_fast=True)
    assert time.monotonic() - started < 15
    assert (slow.status, bad.status) == (Status.CANCELLED, Status.FAILED)
    assert slow.error is not None
    assert slow.error.message == "cancelled because bad failed (--fail-fast)"


def base_image(folder: Path, registry: Registry, name: str) -> None:
    """Push a base image that this engine will have to ask the registry for."""
    project(folder, base2={"tags": [registry.repository(f"{name}:base")], "output": ["type=registry"]})
    (outcome,) = build(folder, "base2")
    assert outcome.status is Status.BUILT, outcome


def from_proxy(folder: Path, address: str, name: str) -> None:
    text = f"FROM {address}/{name}:base\nRUN : {uuid.uuid4().hex}\n"
    bake = {"target": {"v": {"dockerfile-inline": text, **NOWHERE}}}
    (folder / "bake.json").write_text(json.dumps(bake))


def test_a_registry_that_is_busy_twice(
    registry: Registry, faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path
) -> None:
    name = tmp_image.partition("/")[2]
    base_image(tmp_path, registry, name)
    # In each attempt BuildKit asks a registry on this machine twice, as a TLS and as a plain one, and then gives up.
    proxy = faulty_registry(Fault(path="/manifests/", method="HEAD", status=503, times=4))
    from_proxy(tmp_path, proxy.address, name)
    (outcome,) = build(tmp_path, "v")
    assert (outcome.status, outcome.attempts) == (Status.BUILT, 3), outcome
    assert proxy.count(status=503) == 4
    assert outcome.log is not None
    assert outcome.log.read_text().count("$ docker buildx bake") == 3


def test_a_download_that_is_busy_twice(engine: str, faulty_registry: MakeFaulty, tmp_path: Path) -> None:
    proxy = faulty_registry(Fault(path="/v2/", status=503, times=2))
    text = f"FROM scratch\nADD http://{proxy.address}/v2/ /x\n"
    (tmp_path / "bake.json").write_text(json.dumps({"target": {"v": {"dockerfile-inline": text, **NOWHERE}}}))
    (outcome,) = build(tmp_path, "v")
    assert (outcome.status, outcome.attempts) == (Status.BUILT, 3), outcome


def test_a_registry_that_stays_busy(
    registry: Registry, faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path
) -> None:
    proxy = faulty_registry(Fault(path="/", status=503, times=-1))
    from_proxy(tmp_path, proxy.address, tmp_image.partition("/")[2])
    (outcome,) = build(tmp_path, "v", retry=RetryPolicy(attempts=2, initial=0.1, jitter=0.1))
    assert outcome.error is not None
    assert (outcome.status, outcome.attempts, outcome.error.failure) == (Status.FAILED, 2, "network")
    assert "503 Service Unavailable" in outcome.error.message
    assert exit_code([outcome]) == 6


@pytest.mark.parametrize(("status", "class_", "code"), [(401, "auth", 6), (403, "auth", 6), (404, "not-found", 1)])
def test_a_registry_that_refuses_is_asked_once(
    faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path, status: int, class_: str, code: int
) -> None:
    proxy = faulty_registry(Fault(path="/", status=status, times=-1))
    from_proxy(tmp_path, proxy.address, tmp_image.partition("/")[2])
    (outcome,) = build(tmp_path, "v")
    assert outcome.error is not None
    assert (outcome.status, outcome.attempts, outcome.error.failure) == (Status.FAILED, 1, class_)
    assert "\n" not in outcome.error.message
    assert ("not found" if status == 404 else str(status)) in outcome.error.message
    assert exit_code([outcome]) == code


def test_a_push_that_is_refused(faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path) -> None:
    denied = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
    proxy = faulty_registry(Fault(path="/manifests/", method="PUT", status=403, body=denied, times=-1))
    tag = f"{proxy.address}/{tmp_image.partition('/')[2]}:x"
    project(tmp_path, v={"tags": [tag], "output": ["type=registry"]})
    try:
        (outcome,) = build(tmp_path, "v")
    finally:
        remove_images(tag)
    assert outcome.error is not None
    assert (outcome.attempts, outcome.error.failure, outcome.digest) == (1, "auth", None), outcome
    assert outcome.error.step == "exporting to image"
    assert proxy.count(method="PUT", path="/manifests/", status=403) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle(engine: str, tmp_path: Path, number: signal.Signals) -> None:
    project(tmp_path, slow={"do": "RUN echo asleep; sleep 200"}, other={"do": "RUN sleep 201"})
    mark = uuid.uuid4().hex
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.build_driver", tmp_path, "slow", "other"],
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        log = tmp_path / "state" / "slow.log"
        deadline = time.monotonic() + 60
        while not (log.exists() and "| asleep" in log.read_text()):
            assert run.poll() is None, run.communicate()[0].decode()
            assert time.monotonic() < deadline, "the build did not come as far as its RUN"
            time.sleep(0.1)
        assert any("buildx" in line for line in marked(mark))
        asked = time.monotonic()
        run.send_signal(number)
        said, _ = run.communicate(timeout=30)
        assert time.monotonic() - asked < 15
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, said.decode()
    assert marked(mark) == []
    report = json.loads((tmp_path / "report.json").read_text())
    assert [variant["status"] for variant in report["variants"]] == ["cancelled", "cancelled"]
    assert {variant["error"]["class"] for variant in report["variants"]} == {"interrupted"}
    assert b"Traceback" not in said
