"""Registries in memory, and a network between them and a run that fails, refuses, lies or dies at a chosen request."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from orchestrator.errors import NetworkError
from orchestrator.reference import Digest, Repository, Tag
from orchestrator.registry.client import fallback_tag
from orchestrator.registry.clients import Clients
from orchestrator.registry.errors import DamagedAnswerError, DeniedError, NotFoundError, UnavailableError
from orchestrator.registry.manifests import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor, Manifest

FAULTS: dict[str, Exception] = {
    "unavailable": UnavailableError("status 503, after 4 attempts"),
    "denied": DeniedError("access is denied"),
    "missing": NotFoundError("was not found"),
    "refused": NetworkError("status 400"),
    "damaged": DamagedAnswerError("does not match its digest"),
}
LIE = "lie"
KILL, KILL_AFTER = "kill", "kill after"


class KilledError(BaseException):
    """The process is dead: nothing of it catches this."""


@dataclass
class Network:
    """What happens to requests.

    Attributes:
        at: The request that meets `fault`, counted from 1; 0 for none.
        fault: A key of FAULTS, LIE, KILL or KILL_AFTER.
        lasting: Whether every later request to the same repository meets it as well.
    """

    at: int = 0
    fault: str = ""
    lasting: bool = False
    count: int = 0
    dead: bool = False
    broken: Repository | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self, repository: Repository, work: Callable[[], Any], lie: Any) -> Any:
        """Send a request: do its work, or what stands in its way."""
        with self.lock:
            self.count += 1
            hit = self.count == self.at or (self.lasting and self.broken == repository)
            if hit:
                self.broken = repository
            if self.dead or (hit and self.fault == KILL):
                self.dead = True
                raise KilledError
            if hit and self.fault in FAULTS:
                raise FAULTS[self.fault]
            if hit and self.fault == LIE:
                return lie
            done = work()
            if hit and self.fault == KILL_AFTER:
                self.dead = True
                raise KilledError
            return done


@dataclass
class Store:
    """A repository of a registry, without a network."""

    repository: Repository
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    tags: dict[Tag, Digest] = field(default_factory=dict)
    blobs: dict[Digest, bytes] = field(default_factory=dict)

    def find(self, selector: Tag | Digest) -> Manifest:
        digest = selector if isinstance(selector, Digest) else self.tags.get(selector)
        if digest is None or digest not in self.manifests:
            raise NotFoundError(f"{selector} was not found")
        return self.manifests[digest]

    def put(self, manifest: Manifest, selector: Tag | Digest) -> None:
        """As Debian's registry: what a manifest names must be there."""
        known = self.manifests if manifest.index else self.blobs
        for one in described(manifest) if manifest.index else described(manifest, "config", "layers"):
            if one.digest not in known:
                raise NetworkError(f"status 400, {one.digest} is unknown")
        self.manifests[manifest.digest] = manifest
        if isinstance(selector, Tag):
            self.tags[selector] = manifest.digest


class Memory:
    """A client of a store: what `registry.client.Registry` is of a registry."""

    def __init__(self, store: Store, network: Network) -> None:
        self.repository = store.repository
        self.store = store
        self.network = network

    def _ask(self, work: Callable[[], Any], lie: Any = None) -> Any:
        return self.network.request(self.repository, work, lie)

    def manifest(self, selector: Tag | Digest) -> Any:
        """Lies are noticed: what was asked for by digest is hashed, and a tag that lies is missing."""
        found = self._ask(lambda: self.store.find(selector))
        if found is None:
            raise NotFoundError(f"{selector} was not found")
        return found

    def head(self, selector: Tag | Digest) -> Descriptor | None:
        def work() -> Any:
            try:
                return self.store.find(selector).descriptor
            except NotFoundError:
                return None

        found: Descriptor | None = self._ask(work)
        return found

    def put_manifest(self, manifest: Manifest, selector: Tag | Digest) -> bool:
        self._ask(lambda: self.store.put(manifest, selector))
        return False

    def has_blob(self, digest: Digest) -> bool:
        return bool(self._ask(lambda: digest in self.store.blobs, lie=True))

    def require_blob(self, digest: Digest, bring: Callable[[], None]) -> None:
        if not self.has_blob(digest):
            bring()

    def blob(self, digest: Digest, *, limit: int = 0) -> bytes:
        del limit
        found: bytes | None = self._ask(lambda: self.store.blobs.get(digest))
        if found is None:
            raise NotFoundError(f"{digest} was not found")
        return found

    def upload(self, digest: Digest, size: int, data: Callable[[], Iterable[bytes]]) -> None:
        whole = b"".join(data())
        assert len(whole) == size
        self._ask(lambda: self.store.blobs.update({digest: whole}))

    def mount(self, digest: Digest, source: Repository) -> bool:
        del digest, source
        return False

    def stream(self, digest: Digest, size: int, sink: Any) -> None:
        del size
        sink.write(self.blob(digest))

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        try:
            return tuple(described(self.manifest(fallback_tag(digest))))
        except NotFoundError:
            return ()

    def tags(self) -> tuple[Tag, ...]:
        return tuple(self.store.tags)

    def close(self) -> None:
        """Nothing is open."""


class World:
    """Some repositories, and clients of them."""

    def __init__(self, *hosts: str) -> None:
        self.network = Network()
        self.repositories = tuple(Repository(host=host, path="acme/app") for host in hosts)
        self.stores = {one: Store(one) for one in self.repositories}

    def arm(self, at: int = 0, fault: str = "", *, lasting: bool = False) -> None:
        """Let the k-th request from now on meet a fault."""
        self.network = Network(at=at, fault=fault, lasting=lasting)

    def clients(self) -> Clients:
        return Clients(connect=lambda one: cast("Registry", Memory(self.stores[one], self.network)))

    def client(self, number: int = 0) -> Registry:
        """A client past every fault."""
        return cast("Registry", Memory(self.stores[self.repositories[number]], Network()))

    def named(self, tags: Iterable[str]) -> dict[tuple[int, str], Digest | None]:
        """What the tags name; every image of it must be there."""
        found: dict[tuple[int, str], Digest | None] = {}
        for place, repository in enumerate(self.repositories):
            store = self.stores[repository]
            for name in tags:
                digest = found[place, name] = store.tags.get(Tag(name))
                if digest is not None:
                    assert all(one.digest in store.manifests for one in described(store.manifests[digest]))
        return found
