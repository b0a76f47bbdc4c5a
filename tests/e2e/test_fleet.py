"""Builds that several builders share: the installed command, two engines of their own behind ports, and this one's."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.base import write_rootfs
from tests.support.engine import call
from tests.support.fleet import Certificates, Machine, Port, certificates, machine, served
from tests.support.project import Project, write_project
from tests.support.sweep import if_killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.engine import MakeRegistry, Registry

    Fault = Callable[["Farm", Port, subprocess.Popen[str]], None]

# Builders made from an image, and the image: containers of the docker-container driver, each with a volume of a name.
_REMOVE_BOXES = """\
for container in $(docker ps --all --quiet --filter "ancestor=$1"); do
  volumes=$(docker inspect --format '{{range .Mounts}}{{.Name}} {{end}}' "$container")
  docker rm --force "$container"
  docker volume rm $volumes
done
docker image rm --force "$1"
"""
VARIANTS = tuple(f"v{number}" for number in range(8))
MOMENTS = int(os.environ.get("ORCHESTRATE_FLEET_MOMENTS", "1"))
"""How many random moments each fault gets."""
SECONDS = 4
"""How long the step of a variant takes whose builder is hit: the moments are within it, at its end its push begins."""


@dataclass
class Farm:
    """Two machines, how each is reached, and what the matrix says of them."""

    machines: tuple[Machine, Machine]
    ports: tuple[Port, Port]
    certificates: Certificates
    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {"BUILDX_CONFIG": str(self.home)}

    def builders(self, **more: Any) -> dict[str, Any]:
        """The section of the matrix; `default` is the engine of this machine."""
        plain, secure = self.ports
        return {
            "plain": {"driver": "remote", "endpoint": plain.endpoint, "slots": 2},
            "secure": {
                "driver": "remote",
                "endpoint": secure.endpoint,
                "slots": 2,
                "options": self.certificates.options,
            },
            "default": {},
            **more,
        }


@pytest.fixture(scope="module")
def machines(registry: Registry) -> Iterator[tuple[Machine, Machine]]:
    with machine(registry.address) as one, machine(registry.address) as other:
        yield one, other


@pytest.fixture
def farm(machines: tuple[Machine, Machine], tmp_path: Path) -> Iterator[Farm]:
    trust = certificates(tmp_path / "certificates")
    with served(machines[0].host) as plain, served(machines[1].host, trust.server()) as secure:
        yield Farm(machines=machines, ports=(plain, secure), certificates=trust, home=tmp_path / "buildx")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image in the place of buildkitd's, which nobody has here: it forwards to the BuildKit of this engine."""
    folder = tmp_path_factory.mktemp("stand-in")
    name = f"orchestrate-test:{uuid.uuid4().hex[:12]}"
    write_rootfs(folder)
    bash = folder / "bash"
    with served("") as port:
        dial = f"exec 3<>/dev/tcp/127.0.0.1/{port.number}; cat <&3 & cat >&3; wait"
        files = {"buildkitd": "while :; do sleep 1; done", "buildctl": f'[ "$1" = dial-stdio ] || exit 0\n{dial}'}
        for file, text in files.items():
            (folder / file).write_text(f"#!/bin/bash\n{text}\n")
            (folder / file).chmod(0o755)
        shutil.copy(shutil.which("bash") or "bash", bash)
        libraries = re.findall(r"(/\S+) \(0x", call("ldd", bash).stdout)
        for library in libraries:
            shutil.copy(library, folder / Path(library).name)
        copies = [f"COPY {Path(library).name} {library}" for library in libraries]
        lines = ["FROM scratch", "ADD rootfs.tar /", *copies, "COPY bash /bin/bash",
                 "COPY buildkitd buildctl /usr/bin/", "ENV PATH=/usr/bin:/bin"]  # fmt: skip
        (folder / "Dockerfile").write_text("\n".join([*lines, 'ENTRYPOINT ["buildkitd"]', ""]))
        with if_killed(_REMOVE_BOXES, name):
            call("docker", "buildx", "build", "--builder", "default", "-t", name, "--load", folder)
            try:
                yield name
            finally:
                call("docker", "image", "rm", "--force", name, check=False)


@pytest.fixture
def box(stand_in: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A builder of the docker-container driver as the matrix describes it; what was created of it is removed."""
    name = f"box-{uuid.uuid4().hex[:8]}"
    yield {name: {
        "driver": "docker-container",
        "slots": 2,
        "options": {"image": stand_in, "network": "host"},
        "gc": {"max_used": "5GB"},
        "platforms": "linux/amd64",
    }}  # fmt: skip
    subprocess.run(
        ["docker", "buildx", "rm", name], env={**os.environ, "BUILDX_CONFIG": str(tmp_path / "buildx")},
        capture_output=True,
    )  # fmt: skip


def project_of(folder: Path, image: str, farm: Farm, *, seconds: int = 1, **more: Any) -> Project:
    """Eight variants that differ in their words."""
    start = f"FROM scratch\nADD rootfs.tar /\nENV FRESH={uuid.uuid4().hex}\nRUN --network=none"
    stages = {name: f"{start} echo begin {name}; sleep {seconds}; echo end" for name in VARIANTS}
    project = write_project(folder, image, **stages)
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text() + f"builders: {json.dumps(farm.builders(**more))}\n")
    return project


def spread(project: Project) -> dict[str, list[str]]:
    """Builder -> the variants that it built."""
    found: dict[str, list[str]] = {}
    for variant in project.reported().values():
        found.setdefault(variant["builder"], []).append(variant["target"])
    return found


def test_variants_spread_over_the_builders(farm: Farm, box: dict[str, Any], registry: Registry, tmp_path: Path) -> None:
    project = project_of(tmp_path, registry.repository("fleet-spread"), farm, **box)
    done = project.build("--push", env=farm.env)
    assert done.returncode == 0, done.stderr
    assert set(registry.tags("fleet-spread")) == {f"{name}-amd64" for name in VARIANTS}
    first = spread(project)
    assert set(first) == {"plain", "secure", "default", *box}
    # distribution 2.8 may refuse a manifest while it writes the link to a layer that another variant pushes
    raced = done.stderr.count("provided digest did not match uploaded content")
    assert sum(one["attempts"] - 1 for one in project.reported().values()) <= raced, done.stderr
    assert project.processes() == []
    again = project.build("--push", env=farm.env)  # each goes where its layers are
    assert again.returncode == 0, again.stderr
    cached = [one["steps"]["cached"] == one["steps"]["total"] for one in project.reported().values()]
    assert sum(cached) >= len(VARIANTS) - 3, spread(project)


def test_a_named_builder_builds_alone(farm: Farm, registry: Registry, tmp_path: Path) -> None:
    project = project_of(tmp_path, registry.repository("fleet-alone"), farm)
    farm.ports[0].close()
    done = project.build("--builder", "default", "--variant", "v0-cu130-amd64", env=farm.env)
    assert done.returncode == 0, done.stderr
    assert set(spread(project)) == {"default"}
    assert "plain" not in done.stderr


def hit(port: Port, number: signal.Signals, run: subprocess.Popen[str]) -> None:
    """Send a signal to what serves the connections of a port; where there is none at this moment, to the next ones."""
    while not port.signal(number):
        assert run.poll() is None, "the run ended without a further connection to this builder"
        time.sleep(0.02)


def killed(farm: Farm, port: Port, run: subprocess.Popen[str]) -> None:
    """The connections of the builds break; the builder lives on."""
    del farm
    hit(port, signal.SIGKILL, run)


def stopped(farm: Farm, port: Port, run: subprocess.Popen[str]) -> None:
    """The connections of the builds hang: only the record of a build tells it from a quiet compile."""
    del farm
    hit(port, signal.SIGSTOP, run)


def gone(farm: Farm, port: Port, run: subprocess.Popen[str]) -> None:
    """Nobody listens any more, and the connections break."""
    del farm, run
    port.close()
    port.signal(signal.SIGKILL)


def restarted(farm: Farm, port: Port, run: subprocess.Popen[str]) -> None:
    """The engine ends and comes back."""
    del run
    there = farm.machines[farm.ports.index(port)]
    there.stop()
    there.start()


def refused(farm: Farm, port: Port, run: subprocess.Popen[str]) -> None:
    """The server trusts another authority from now on."""
    del run
    port.tls = farm.certificates.server(certificates(farm.home.parent / "others").file("ca.pem"))
    port.signal(signal.SIGKILL)


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("fault", [killed, stopped, gone, restarted, refused])
def test_a_builder_that_is_lost_costs_no_variant(
    farm: Farm, box: dict[str, Any], registry: Registry, tmp_path: Path, fault: Fault, moment: int
) -> None:
    chance = random.Random(f"{fault.__name__} {moment}")
    name = f"fleet-{fault.__name__}-{moment}"
    port = farm.ports[1] if fault is refused else chance.choice(farm.ports)
    project = project_of(tmp_path, registry.repository(name), farm, seconds=SECONDS, **box)
    run = project.start("--push", "--limit", "silence=2s", env=farm.env)
    try:
        for_line(run, project, "| begin", on=port)
        time.sleep(chance.uniform(0, SECONDS) if MOMENTS > 1 else 0)
        fault(farm, port, run)
        said, _ = run.communicate(timeout=150)
    finally:
        with run:  # also where a wait above was in vain: what is left of it would fail the next test
            run.kill()
        port.signal(signal.SIGCONT)
    assert run.returncode == 0, said
    assert "Traceback" not in said
    found = project.reported()
    assert set(registry.tags(name)) == {f"{target}-amd64" for target in VARIANTS}
    for target in VARIANTS:
        assert registry.digest(name, f"{target}-amd64") == found[target]["digest"]
    assert project.processes() == []
    rows = [json.loads(line) for line in (project.root / ".orchestrate/journal.jsonl").read_text().split("\n") if line]
    assert sorted(row["id"] for row in rows) == [f"{target}-cu130-amd64" for target in VARIANTS]  # each built once
    again = [one for one in found.values() if one["attempts"] > 1]
    built = {builder: len(targets) for builder, targets in spread(project).items()}
    print(f"moment: {fault.__name__} {moment} on {port.endpoint}: exit 0, {len(again)} variants again, built {built}")
    for one in again:
        assert f"at {port.endpoint}" in " ".join(one["notes"]), said
    if MOMENTS == 1:
        assert again, said
        assert f"at {port.endpoint} was taken out: " in said


def for_line(run: Any, project: Project, line: str, *, on: Port) -> None:
    """Wait until a build on the builder of a port has said a line."""
    end, builder = time.monotonic() + 60, "plain" if on.tls is None else "secure"
    while True:
        texts = [log.read_text(errors="replace") for log in project.root.glob(".orchestrate/runs/*/*.log")]
        if any(line in text and f"--builder {builder}" in text for text in texts):
            return
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < end, texts
        time.sleep(0.05)


def test_builders_that_never_answer_are_named(farm: Farm, registry: Registry, tmp_path: Path) -> None:
    project = project_of(tmp_path, registry.repository("fleet-down"), farm)
    plain, _ = farm.ports
    plain.close()
    done = project.build("--push", env=farm.env)
    assert done.returncode == 0, done.stderr
    assert set(spread(project)) == {"secure", "default"}
    assert f"builder plain at {plain.endpoint}: nothing listens there (connection refused)" in done.stderr


def test_doctor_looks_at_every_builder(
    farm: Farm, registry: Registry, throwaway_registry: MakeRegistry, tmp_path: Path
) -> None:
    plain, secure = farm.ports
    subprocess.run(
        ["docker", "buildx", "create", "--name", "twin", "--driver", "remote", plain.endpoint],
        check=True, capture_output=True, env={**os.environ, **farm.env},
    )  # fmt: skip
    project = project_of(tmp_path, registry.repository("fleet-doctor"), farm, twin={})
    before = project.run("doctor", env=farm.env)
    assert before.returncode == 0, before.stdout
    assert "the next build creates it, driver remote" in before.stdout
    assert project.build("--variant", "v0-cu130-amd64", env=farm.env).returncode == 0  # which creates them
    secure.tls = farm.certificates.server(certificates(tmp_path / "others").file("ca.pem"))
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace(registry.address, throwaway_registry().address))
    done = project.run("doctor", "--format", "json", env=farm.env)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 5, done.stderr
    assert checks["builder plain"]["detail"].startswith(f"driver remote at {plain.endpoint}, BuildKit v")
    assert checks["builder secure"]["status"] == "fail"
    assert f"driver remote at {secure.endpoint}: " in checks["builder secure"]["detail"]
    assert checks["default: registry"]["detail"] == "reached from the builder"
    assert checks["plain: registry"]["status"] == "warn"
    assert "connection refused" in checks["plain: registry"]["detail"]
    assert checks["plain: resources"]["detail"] == "processors, memory, disk not known: buildx does not say"
    assert checks["builders"]["detail"].startswith("plain and twin are one daemon")
    assert (checks["platforms"]["status"], checks["plain: cache export"]["status"]) == ("ok", "ok")


def test_a_builder_is_created_from_the_matrix(
    farm: Farm, box: dict[str, Any], registry: Registry, tmp_path: Path
) -> None:
    (name,) = box
    project = project_of(tmp_path, registry.repository("fleet-created"), farm)
    matrix = project.root / "matrix.yaml"
    head = matrix.read_text().partition("builders:")[0]
    matrix.write_text(f"{head}builders: {json.dumps({**box, 'plain': farm.builders()['plain']})}\n")
    done = project.build("--push", *[word for one in VARIANTS[:4] for word in ("--target", one)], env=farm.env)
    assert done.returncode == 0, done.stderr
    assert f"builder {name} is created (docker-container)" in done.stderr
    assert set(spread(project)) == {name, "plain"}
    kept = (farm.home / "instances" / name).read_text()
    (node,) = json.loads(kept)["Nodes"]
    config = base64.b64decode(node["Files"]["buildkitd.toml"]).decode()
    assert 'maxUsedSpace = "5000000000"' in config
    again = project.build("--push", "--target", "v0", env=farm.env)
    assert again.returncode == 0, again.stderr
    assert "is created" not in again.stderr
    checked = project.run("plan", "--preflight", env=farm.env)
    assert checked.returncode == 0, checked.stderr


def test_status_and_caches_ask_every_builder(farm: Farm, registry: Registry, tmp_path: Path) -> None:
    """No builder of them is the current one, and this machine's engine is not among them."""
    _, secure = farm.ports
    env = {**farm.env, "DOCKER_HOST": f"unix://{tmp_path}/nowhere.sock"}
    project = project_of(tmp_path, registry.repository("fleet-asked"), farm)
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace(', "default": {}', ""))
    assert project.build("--push", env=env).returncode == 0
    status = project.run("plan", "--status", "--format", "json", env=env)
    assert status.returncode == 0, status.stderr
    assert [one["status"] for one in json.loads(status.stdout)["variants"]] == ["built"] * len(VARIANTS)

    def held() -> dict[str, int]:
        done = project.run("cache", "ls", "--format", "json", env=env)
        assert done.returncode == 0, done.stderr
        rows = [one for one in json.loads(done.stdout)["holdings"] if one["where"] == "builder"]
        return {name: sum(one["size"] for one in rows if one["name"].startswith(name)) for name in ("plain", "secure")}

    before = held()
    assert all(before.values()), before
    free = project.run("cache", "prune", "--min-free", "1GB", env=env)
    assert (free.returncode, "on another machine, whose free space is not known" in free.stderr) == (2, True)
    dockerfile = project.root / "Dockerfile"  # steps that the next build needs stay
    dockerfile.write_text(dockerfile.read_text().replace("echo begin", "echo other"))
    one = project.run("cache", "prune", "--keep", "0", "--builder", "plain", "--yes", env=env)
    assert one.returncode == 0, one.stderr
    assert "records of builder plain" in one.stdout
    assert "secure" not in one.stdout
    secure.close()
    rest = project.run("cache", "prune", "--keep", "0", "--yes", env=env)
    assert rest.returncode == 6, rest.stderr
    assert f"builder secure at {secure.endpoint} is left out: nothing listens there" in rest.stderr
    listed = project.run("cache", "ls", env=env)
    assert listed.returncode == 6, listed.stderr
    assert f"builder secure at {secure.endpoint} is left out: nothing listens there" in listed.stderr
    secure.open()
    assert held()["secure"] == before["secure"]
    every = project.run("cache", "prune", "--keep", "0", "--yes", env=env)
    assert (every.returncode, "records of builder secure" in every.stdout) == (0, True), every.stderr
    assert held()["secure"] < before["secure"]


def test_the_matrix_and_the_commands_of_the_page(farm: Farm, registry: Registry, tmp_path: Path) -> None:
    """docs/fleet.md, with the endpoints of this machine: what it says for a fresh runner, then doctor."""
    page = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
    section = page.partition("```yaml\n")[2].partition("```")[0].replace("amd64.lan,", "localhost,")
    project = project_of(tmp_path, registry.repository("fleet-page"), farm)
    matrix = project.root / "matrix.yaml"
    with served(farm.machines[0].host, farm.certificates.server()) as other:
        for name, port in {"tcp://amd64.lan:1234": farm.ports[1], "tcp://arm64.lan:1234": other}.items():
            assert name in section
            section = section.replace(name, port.endpoint)
        section = re.sub(r"servername: \S+}", "servername: localhost}", section)
        matrix.write_text(matrix.read_text().partition("builders:")[0] + section)
        for name in ("ca.pem", "client.pem"):
            (project.root / "certs").mkdir(exist_ok=True)
            shutil.copy(farm.certificates.file(name), project.root / "certs" / name)
        runner = page.partition("## GitHub runners with a remote builder")[2]
        key, build = re.findall(r"^    - run: (.+)$", runner, re.MULTILINE)
        secret = farm.certificates.file("client.key").read_text()
        subprocess.run(key, shell=True, check=True, cwd=project.root, env={**os.environ, "KEY": secret})
        assert (project.root / "certs/client.key").stat().st_mode & 0o777 == 0o600
        program, *words = build.split()
        done = project.run(*words, env=farm.env)
        assert (program, done.returncode) == ("orchestrate", 0), done.stderr
        variants = json.loads((project.root / "report.json").read_text())["variants"]
        assert {one["builder"] for one in variants} == {"farm-amd64", "default"}
        checked = project.run("doctor", env=farm.env)
        assert checked.returncode == 0, checked.stdout
        for line in (
            r"ok +farm-amd64: registry +reached from the builder",
            rf"ok +builder farm-arm64 +driver remote at {other.endpoint}, ",
        ):
            assert re.search(f"^{line}", checked.stdout, re.MULTILINE), checked.stdout
