"""Publishing through networks that fail, stall, refuse and lie, and runs that are killed: never half.

Two registries, one of them with a password and TLS. Every run goes through proxies that count requests. The k-th one is
answered wrongly, or is the last that the publishing
process sends before SIGKILL (before it reaches the registry, or after). Afterwards the registries themselves are
asked, and a second run, on another machine half of the time, must end what the first one left.
`ORCHESTRATE_PUBLISH_SWEEP=all` tries every k, and every fault at it, each fault a test of its own; `=every` every k,
and one fault in turn; by default it is every fourth k, and one fault in turn.
The same for every k, with registries in memory, in seconds: tests/unit/publish/test_sweep.py.
"""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import OrchestrateError
from orchestrator.publish.moves import Patience
from orchestrator.publish.record import Rank, State
from orchestrator.reference import Repository, Tag
from orchestrator.registry.client import Registry
from orchestrator.registry.clients import Clients
from orchestrator.registry.manifests import described
from orchestrator.registry.session import Limits
from tests.support.engine import write_certificate
from tests.support.faults import Fault
from tests.support.publishing import Wanted, images, publish, recover
from tests.support.releases import BRIDGE, HTPASSWD, PASSWORD, USER
from tests.support.traps import Trap, TrappedProxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.publish.moves import Ending
    from orchestrator.reference import Digest
    from tests.support.engine import MakeRegistry

LIMITS = Limits(attempts=3, answer_s=1)
PATIENCE = Patience(rounds=3, pause_s=0.05)
SWEEP = os.environ.get("ORCHESTRATE_PUBLISH_SWEEP", "")
ALL = SWEEP == "all"
STRIDE = 1 if SWEEP else 4
TOGETHER = {"v1": Rank.VERSION, "nightly": Rank.FLOATING, "latest": Rank.LATEST}
FAULTS = {
    "500": Fault(status=500),
    "429": Fault(status=429, headers={"Retry-After": "0"}),
    "401": Fault(status=401),
    "403": Fault(status=403, body=b'{"errors":[{"code":"DENIED","message":"no"}]}'),
    "404": Fault(status=404),
    "reset": Fault(reset=True),
    "stall": Fault(status=0, delay=1.5),
    "lie": Fault(status=201, body=b'{"schemaVersion": 2, "manifests": []}', headers={
        "Docker-Content-Digest": f"sha256:{'e' * 64}", "Location": "/v2/nowhere/blobs/uploads/1"}),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Two registries behind proxies, and how a release is published into both."""

    trap: Trap
    published: tuple[Repository, ...]
    """As the publishing process names them: the proxies."""
    real: tuple[Repository, ...]
    environment: Mapping[str, str]
    """In which the registries can be reached."""

    def release(self, number: int, tags: Mapping[str, Rank], *, immutable: bool) -> Wanted:
        """A release that nobody published yet, its images pushed past the proxies."""
        with Registry(self.real[0]) as client:
            found = images(client, "linux/amd64", "linux/arm64", salt=f"{number}")
        return Wanted(images=found, repositories=self.published, tags=tags, immutable=immutable)

    def named(self, tags: Mapping[str, Rank]) -> dict[tuple[int, str], Digest | None]:
        """What the registries themselves say that the tags name; each must be whole."""
        found: dict[tuple[int, str], Digest | None] = {}
        for place, repository in enumerate(self.real):
            with Registry(repository) as client:
                for name in tags:
                    there = client.head(Tag(name))
                    found[place, name] = there.digest if there else None
                for digest in {one for (where, _), one in found.items() if where == place and one}:
                    index = client.manifest(digest)
                    children = list(described(index))
                    assert len([one for one in index.content["manifests"] if one["platform"]["os"] == "linux"]) == 2
                    assert all(client.head(child.digest) for child in children), f"{repository}@{digest} is not whole"
        return found


@pytest.fixture
def field_of_two(throwaway_registry: MakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Field]:
    """A registry that anybody may write to over plain HTTP, and one with a password behind TLS."""
    plain, closed = throwaway_registry().address, throwaway_registry(htpasswd=HTPASSWD).address
    trap = Trap()
    tls = (BRIDGE, *write_certificate(tmp_path, BRIDGE))
    with ExitStack() as running:
        open_ = running.enter_context(TrappedProxy(plain, trap, 0))
        secured = running.enter_context(TrappedProxy(closed, trap, 1, tls=tls))
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        logins = {address: {"auth": login} for address in (closed, secured.address)}
        (tmp_path / "config.json").write_text(json.dumps({"auths": logins}))
        environment = {"DOCKER_CONFIG": str(tmp_path), "SSL_CERT_FILE": str(tls[1]), "NO_PROXY": BRIDGE}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Field(
            trap=trap,
            published=tuple(Repository(host=one.address, path="acme/app") for one in (open_, secured)),
            real=tuple(Repository(host=address, path="acme/app") for address in (plain, closed)),
            environment=environment,
        )


def tags_of(number: int, *, versions: int, floating: int) -> dict[str, Rank]:
    """Version tags of this release alone, floating ones that every release shares, and latest."""
    return {
        **{f"v{number}-{one}": Rank.VERSION for one in range(versions)},
        **{f"nightly-{one}": Rank.FLOATING for one in range(floating)},
        "latest": Rank.LATEST,
    }


def run_once(wanted: Wanted, root: Path) -> Ending | None:
    with Clients(limits=LIMITS) as clients:
        return publish(clients, wanted, root, patience=PATIENCE)


def run_elsewhere(wanted: Wanted, root: Path, environment: Mapping[str, str]) -> None:
    """`run_once` in another process, which has the environment of an earlier test."""
    os.environ.update(environment)
    run_once(wanted, root)


def never_ahead(named: Mapping[tuple[int, str], Digest | None], wanted: Wanted) -> None:
    """No floating tag names the new index while a version tag of either registry does not."""
    new = wanted.index.digest
    ahead = [key for key, digest in named.items() if wanted.tags[key[1]] is not Rank.VERSION and digest == new]
    behind = [key for key, digest in named.items() if wanted.tags[key[1]] is Rank.VERSION and digest != new]
    assert not (ahead and behind), f"{ahead} name the new index, {behind} do not"
    latest = [key for key in ahead if wanted.tags[key[1]] is Rank.LATEST]
    rest = [key for key, digest in named.items() if wanted.tags[key[1]] is Rank.FLOATING and digest != new]
    assert not (latest and rest), f"{latest} are ahead of {rest}"


def second_run(field: Field, wanted: Wanted, before: Mapping[tuple[int, str], Digest | None], root: Path) -> State:
    """Recover (from this or another machine's directory), and see that everything is at one end; then publish."""
    field.trap.arm(0)
    with Clients(limits=LIMITS) as clients:
        endings = recover(clients, field.published, root, patience=PATIENCE)
    named = field.named(wanted.tags)
    never_ahead(named, wanted)
    new = wanted.index.digest
    if all(digest == new for digest in named.values()):
        state = State.COMPLETE
    else:  # what existed is where it was; what did not exist may stay, as the version tags that nothing follows
        back = {key for key, digest in named.items() if digest == before[key]}
        assert all(before[key] is None and digest == new for key, digest in named.items() if key not in back), named
        state = State.ROLLED_BACK
    ends = [(one.record.state, one.failures, one.remarks, one.record.moves) for one in endings]
    assert {state for state, *_ in ends} <= {State.COMPLETE, State.ROLLED_BACK}, ends
    ending = run_once(wanted, root)
    assert ending is None or ending.record.state is State.COMPLETE
    assert set(field.named(wanted.tags).values()) == {new}
    return state


def requests_of(field: Field, number: int, tags: Mapping[str, Rank], root: Path) -> int:
    """How many requests a publish without faults sends."""
    field.trap.arm(0)
    wanted = field.release(number, tags, immutable=False)
    field.trap.arm(0)
    ending = run_once(wanted, root)
    assert ending is not None
    assert ending.record.state is State.COMPLETE
    return field.trap.count


def killed_run(field: Field, wanted: Wanted, root: Path) -> int:
    """Publish in a process of its own, which the trap kills; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    child = context.Process(target=run_elsewhere, args=(wanted, root, field.environment))
    child.start()
    field.trap.kill = child.kill
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


@pytest.mark.parametrize("names", [[name] for name in FAULTS] if ALL else [list(FAULTS)], ids=",".join)
def test_a_fault_at_every_request(field_of_two: Field, tmp_path: Path, names: list[str]) -> None:
    field = field_of_two
    total = requests_of(field, 0, tags_of(0, versions=1, floating=1), tmp_path / "first")
    runs: dict[str, int] = {}
    for k in range(1 + random.randrange(STRIDE), total + 1, STRIDE):
        name = names[k // STRIDE % len(names)]
        number = sum(runs.values()) + 1
        tags = tags_of(number, versions=1, floating=1)
        wanted = field.release(number, tags, immutable=bool(number % 2))
        before = field.named(tags)
        field.trap.arm(k, fault=FAULTS[name])
        root = tmp_path / f"{number}"
        try:
            ending = run_once(wanted, root)
            state = ending.record.state if ending is not None else State.COMPLETE
        except OrchestrateError:
            state = None
        named = field.named(tags)
        never_ahead(named, wanted)
        if state is State.COMPLETE:
            assert set(named.values()) == {wanted.index.digest}, (k, name)
        ended = second_run(field, wanted, before, root if number % 2 else tmp_path / f"{number}-other")
        runs[f"{name} then {ended.value}"] = runs.get(f"{name} then {ended.value}", 0) + 1
    print(f"\n6 tags, {total} requests, {sum(runs.values())} runs with a fault: {dict(sorted(runs.items()))}")
    assert total > 40
    assert sum(runs.values()) >= total // STRIDE


def test_a_kill_at_every_request(field_of_two: Field, tmp_path: Path) -> None:
    field = field_of_two
    total = requests_of(field, 0, tags_of(0, versions=1, floating=1), tmp_path / "first")
    runs: dict[str, int] = {}
    killed = 0
    for k in range(1 + random.randrange(STRIDE), total + 1, STRIDE):
        for after in (False, True) if ALL else (bool(k // STRIDE % 2),):
            number = sum(runs.values()) + 1
            tags = tags_of(number, versions=1, floating=1)
            wanted = field.release(number, tags, immutable=bool(number % 4 < 2))
            before = field.named(tags)
            field.trap.arm(k, after=after)
            root = tmp_path / f"{number}"
            killed += killed_run(field, wanted, root) == -signal.SIGKILL
            never_ahead(field.named(tags), wanted)
            ended = second_run(field, wanted, before, root if number % 2 else tmp_path / f"{number}-other")
            runs[ended.value] = runs.get(ended.value, 0) + 1
    print(f"\n6 tags, {total} requests, {sum(runs.values())} runs, {killed} killed, then {runs}")
    assert killed >= 0.9 * sum(runs.values())


def test_forty_tags_at_random_requests(field_of_two: Field, tmp_path: Path) -> None:
    field = field_of_two
    requests_of(field, 0, tags_of(0, versions=10, floating=9), tmp_path / "first")
    totals = dict(field.trap.seen)
    chance = random.Random(14)  # which request, no secret
    runs: dict[str, int] = {}
    for number in range(1, 65 if SWEEP else 13):
        tags = tags_of(number, versions=10, floating=9)
        wanted = field.release(number, tags, immutable=bool(number % 2))
        before = field.named(tags)
        place = (number - 1) // 4 % 2  # four runs in a row, two killed and two with a fault
        k = chance.randint(1, totals[place])
        root = tmp_path / f"{number}"
        if number % 2:
            what = "killed"
            field.trap.arm(k, after=bool(number % 4 == 1), place=place)
            killed_run(field, wanted, root)
        else:
            what = chance.choice(list(FAULTS))
            field.trap.arm(k, fault=FAULTS[what], place=place)
            try:
                run_once(wanted, root)
            except OrchestrateError:
                what = f"{what} refused"
        never_ahead(field.named(tags), wanted)
        ended = second_run(field, wanted, before, root if number % 4 < 2 else tmp_path / f"{number}-other")
        name = f"{('plain', 'password and TLS')[place]}: {what} then {ended.value}"
        runs[name] = runs.get(name, 0) + 1
    print(f"\n40 tags, {totals} requests, {sum(runs.values())} runs: {dict(sorted(runs.items()))}")


def test_two_publishers_at_once(field_of_two: Field, tmp_path: Path) -> None:
    """What they leave is whole, whoever wins; the next publish brings every tag to one end."""
    field = field_of_two
    requests_of(field, 0, tags_of(0, versions=1, floating=1), tmp_path / "first")
    ends: dict[str, int] = {}
    for number in range(1, 31 if ALL else 7):
        both = [field.release(2 * number + one, TOGETHER, immutable=False) for one in (0, 1)]
        field.trap.arm(0)
        gate = threading.Barrier(2)

        def one_of_them(place: int, both: list[Wanted] = both, gate: threading.Barrier = gate) -> str:
            gate.wait()
            try:
                ending = run_once(both[place], tmp_path / f"publisher-{place}")
            except OrchestrateError:
                return "refused"
            return ending.record.state.value if ending is not None else "nothing to move"

        with ThreadPoolExecutor(2) as pool:
            said = " and ".join(sorted(pool.map(one_of_them, (0, 1))))
        ends[said] = ends.get(said, 0) + 1
        field.named(TOGETHER)  # every tag names a whole index
        last = field.release(2 * number + 1000, TOGETHER, immutable=False)
        ending = run_once(last, tmp_path / "third")
        assert ending is not None
        assert ending.record.state is State.COMPLETE
        assert set(field.named(TOGETHER).values()) == {last.index.digest}
    print(f"\ntwo publishers at once: {ends}")
