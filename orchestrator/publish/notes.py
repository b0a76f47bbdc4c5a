"""What a release changes for its users: one value for each platform, from the images' own bytes and labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.image.verdict.compare import compare
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.labels import BASES, CUDA, FLASHINFER
from orchestrator.publish.family import source
from orchestrator.publish.record import Rank
from orchestrator.registry.errors import DamagedAnswerError
from orchestrator.registry.manifests import described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.image.verdict.scanned import Scanned
    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.publish.check import Checked
    from orchestrator.publish.intent import Intent
    from orchestrator.publish.record import Move
    from orchestrator.reference import Digest, Repository
    from orchestrator.registry.clients import Clients

_PACKAGES = re.compile(r"torch|triton|vllm|sglang|flashinfer.*|nvidia-(?:cuda-runtime|cublas|cudnn|nccl|nvshmem).*")
_RANKS = (Rank.LATEST, Rank.FLOATING, Rank.VERSION)


class PlatformNotes(Struct, frozen=True, kw_only=True):
    """What changes on one platform.

    Attributes:
        platform: "linux/arm64".
        facts: What is worth knowing -> before, now; "" where there is none.
        gained: Tags of device code (`110`, `p120`) that only the new image holds; lost those of the old one.
        archs: Tag of device code -> bytes in the files, before and now.
        layers: Of the image, the lowest first: digest, compressed bytes, whether it must be pulled.
        size: Bytes of the compressed layers, before and now.
        pulled: Bytes of the layers that who has the old image must pull.
        problem: Why nothing more is known, "" where it is.
    """

    platform: str
    facts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    archs: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    layers: tuple[tuple[str, int, bool], ...] = ()
    size: tuple[int, int] = (0, 0)
    pulled: int = 0
    problem: str = ""


class FamilyNotes(Struct, frozen=True, kw_only=True):
    """What changes for the users of one tag.

    Attributes:
        family: Name of the family.
        tag: The tag that they pull; "" where every tag of the family is new.
        old: What it named, None for a first release.
        new: What it names now.
        platforms: One for each.
    """

    family: str
    tag: str
    old: Digest | None
    new: Digest
    platforms: tuple[PlatformNotes, ...]


def notes(plan: Plan, clients: Clients, meant: Intent) -> tuple[FamilyNotes, ...]:
    """Return what changes, family by family; one whose tags stay is left out.

    Raises:
        InterruptedRunError: A stop was asked for.
    """
    found = []
    for checked in meant.families:
        moves = [move for move in meant.moves if checked.index is not None and move.new == checked.index.digest]
        if not moves:
            continue
        move = _since(moves)
        reading = _Reading(plan=plan, clients=clients, checked=checked, move=move)
        platforms = tuple(reading.platform(variant) for variant in checked.family.members.values())
        old = move.old
        tag = move.name if old is not None else ""
        found.append(FamilyNotes(family=checked.family.name, tag=tag, old=old, new=move.new, platforms=platforms))
    return tuple(found)


def _since(moves: Sequence[Move]) -> Move:
    """The tag that most users follow: latest, else a floating one, else a version that moves."""
    ranked = [move for rank in _RANKS for move in moves if move.rank is rank and move.old is not None]
    return ranked[0] if ranked else moves[0]


class _Reading(Struct, frozen=True, kw_only=True):
    plan: Plan
    clients: Clients
    checked: Checked
    move: Move

    def platform(self, variant: Variant) -> PlatformNotes:
        """What changes on the platform of a variant."""
        image = self.checked.images[variant.id]
        home = source(self.plan, variant)
        try:
            after = scan_source(f"docker://{home}@{image.image.digest}", platform=variant.platform)
            layers = self._layers(home, image.image.digest)
            before, known = self._before(variant.platform)
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            return PlatformNotes(platform=variant.platform, problem=error.message.splitlines()[0])
        size = (sum(known.values()), sum(layers.values()))
        pulled = sum(bytes_ for digest, bytes_ in layers.items() if digest not in known)
        shown = tuple((digest, bytes_, digest not in known) for digest, bytes_ in layers.items())
        if before is None:
            archs = {tag: (0, now) for tag, (_, now) in compare(after, after).bytes.items()}
            return PlatformNotes(
                platform=variant.platform, facts=_facts(None, after), gained=tuple(archs), size=size, pulled=pulled,
                archs=archs, layers=shown,
            )  # fmt: skip
        changed = compare(before, after).bytes
        return PlatformNotes(
            platform=variant.platform,
            facts=_facts(before, after),
            gained=tuple(tag for tag, (old, new) in changed.items() if new and not old),
            lost=tuple(tag for tag, (old, new) in changed.items() if old and not new),
            archs=changed,
            layers=shown,
            size=size,
            pulled=pulled,
        )

    def _before(self, platform: str) -> tuple[Scanned | None, dict[str, int]]:
        """The image that the tag named for a platform, with its layers; None where it had none for it."""
        if self.move.old is None:
            return None, {}
        place = self.move.repository
        for one in described(self.clients.of(place).manifest(self.move.old)):
            try:
                scanned = scan_source(f"docker://{place}@{one.digest}", platform=platform)
            except InterruptedRunError:
                raise
            except OrchestrateError:  # another platform, or an attestation
                continue
            return scanned, self._layers(place, one.digest)
        return None, {}

    def _layers(self, repository: Repository, digest: Digest) -> dict[str, int]:
        manifest = self.clients.of(repository).manifest(digest)
        if manifest.index:
            raise DamagedAnswerError(f"{repository}@{digest}: expected an image, found an index")
        return {str(one.digest): one.size for one in described(manifest, "layers")}


def _facts(before: Scanned | None, after: Scanned) -> dict[str, tuple[str, str]]:
    """What differs or matters: name -> before, now."""
    names = {"CUDA": CUDA, "base images": BASES, "FlashInfer bundle": FLASHINFER}
    old, new = (dict(one.labels) if one is not None else {} for one in (before, after))
    found = {shown: (old.get(label, ""), new.get(label, "")) for shown, label in names.items()}
    packages = [_packages(one) for one in (before, after)]
    for name in sorted(packages[0].keys() | packages[1].keys()):
        found[name] = (packages[0].get(name, ""), packages[1].get(name, ""))
    return {name: pair for name, pair in found.items() if any(pair)}


def _packages(scanned: Scanned | None) -> dict[str, str]:
    """Installed distributions that decide what runs on a GPU and which driver it needs: name -> version."""
    if scanned is None:
        return {}
    records = {one.name: one.version for layer in scanned.files.layers for one in layer.records.values()}
    return {name: version for name, version in records.items() if _PACKAGES.fullmatch(name)}
