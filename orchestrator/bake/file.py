"""Makes the bake file of one variant: a JSON target that inherits the user's own.

JSON strings are HCL templates to buildx: `${X}` is evaluated (measured, buildx 0.29.1), so every value is escaped and
arrives as written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.bake.cache import CacheEntries, CachePolicy, entries
from orchestrator.bake.entries import entry
from orchestrator.labels import ARCHS, ARCHS_REQUESTED, CUDA, MATRIX, VARIANT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.matrix.variants import Plan, Variant


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """Where a build's result goes.

    Attributes:
        push: To the registry, under the variant's tags (by digest alone where it has none).
        hold: Push without the variant's tags, which are set later, once the image has been verified: "digest" by
            digest alone, "tag" under the one tag `unverified-<id>` (the docker driver cannot push by digest), "" not.
        load: Into the engine's image store.
        directory: As OCI archives `<id>.tar` in this directory; None for none. Bake writes `<id>.tar.part`, which is
            renamed after a success, so that an archive is always whole.
    """

    push: bool = False
    hold: Literal["", "digest", "tag"] = ""
    load: bool = False
    directory: Path | None = None

    def archive(self, variant: str) -> Path | None:
        """Return the archive of a variant, None where none is written."""
        return self.directory / f"{variant}.tar" if self.directory is not None else None

    def part(self, variant: str) -> Path | None:
        """Return the file that bake writes the archive of a variant to, None where none is written."""
        return self.directory / f"{variant}.tar.part" if self.directory is not None else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What other features add to a variant's bake file.

    Attributes:
        args: Build arguments.
        contexts: Named contexts.
        labels: Labels of the image; the matrix's own win.
        network: "none" takes the network from every RUN; "" leaves it.
        no_cache: True leaves every cache reference out (an air-gapped build reaches nothing).
    """

    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    no_cache: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BakeFile:
    """A generated bake file.

    Attributes:
        target: Name of its one target: the variant's id.
        content: The parsed JSON.
        cache: The cache entries in it.
    """

    target: str
    content: Mapping[str, Any]
    cache: CacheEntries

    @property
    def definition(self) -> Mapping[str, Any]:
        """The target itself."""
        definition: Mapping[str, Any] = self.content["target"][self.target]
        return definition

    @property
    def text(self) -> str:
        """The file's text: sorted keys, indented, stable."""
        return json.dumps(self.content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def escape(text: str) -> str:
    """Return a text as a literal inside an HCL template: `${` becomes `$${`, `%{` becomes `%%{`."""
    return text.replace("${", "$${").replace("%{", "%%{")


def cache_policy(plan: Plan) -> CachePolicy:
    """Return the cache section of the matrix, its local directory made absolute."""
    spec = plan.matrix.spec.cache
    directory = str((plan.matrix.root / spec.dir).absolute())
    return CachePolicy(backend=spec.backend, mode=spec.mode, write=spec.write, directory=directory)


def labels(plan: Plan, variant: Variant, revision: str = "") -> dict[str, str]:
    """Return the labels that every variant gets: OCI's, and what was promised.

    No timestamp is among them: a label that changes with every build would give every build a new digest.
    """
    own = {
        "org.opencontainers.image.title": plan.image.rpartition("/")[2],
        "org.opencontainers.image.ref.name": variant.tags[0].text if variant.tags else "",
        "org.opencontainers.image.revision": revision,
        VARIANT: variant.id,
        ARCHS: " ".join(str(arch) for arch in variant.archs.effective),
        ARCHS_REQUESTED: " ".join(str(arch) for arch in variant.archs.requested),
        CUDA: variant.cuda_version,
        MATRIX: plan.matrix.digest,
    }
    given = {name: value.text for name, value in variant.labels.items()}
    return {name: text for name, text in {**own, **given}.items() if text}


def render(
    plan: Plan, variant: Variant, *, output: Output | None = None, extras: Extras | None = None, revision: str = ""
) -> BakeFile:
    """Make the bake file of one variant.

    Args:
        plan: The plan that it belongs to.
        variant: The variant.
        output: Where the result goes; None keeps it in the build cache.
        extras: What other features add.
        revision: The commit for org.opencontainers.image.revision, "" for none.
    """
    output = output or Output()
    extras = extras or Extras()
    tags = tuple(tag.text for tag in variant.tags)
    policy = CachePolicy(backend="off") if extras.no_cache else cache_policy(plan)
    cache = entries(policy, ref=variant.cache_ref, read=variant.cache_read, tags=tags, push=output.push)
    args = {name: value.text for name, value in variant.args.items()} | dict(extras.args)
    contexts = {name: value.text for name, value in variant.contexts.items()} | dict(extras.contexts)
    target: dict[str, Any] = {
        "inherits": [variant.target],
        "description": f"{variant.target} for CUDA {variant.cuda_version} on {variant.platform}",
        "args": args,
        "labels": {**extras.labels, **labels(plan, variant, revision)},
        "platforms": [variant.platform],
        # lists replace what the user's target says, empty ones as well (measured, buildx 0.29.1)
        "tags": _tags(plan.image, variant, output),
        "cache-from": list(cache.read),
        "cache-to": list(cache.write),
        "output": [_output(plan.image, variant, output)],
        "attest": _attestations(variant, output),
    }
    if contexts:
        target["contexts"] = contexts
    if variant.secrets:
        target["secret"] = [secret.text for secret in variant.secrets]
    if extras.network:
        target["network"] = extras.network
    return BakeFile(target=variant.id, content={"target": {variant.id: _escaped(target)}}, cache=cache)


def repositories(image: str, variant: Variant) -> dict[str, list[str]]:
    """Return the repositories that a variant is pushed to, each with its tags; without tags the plan's image."""
    found: dict[str, list[str]] = {}
    for tag in variant.tags:
        found.setdefault(tag.text.rpartition(":")[0], []).append(tag.text)
    return found or {image: []}


def _tags(image: str, variant: Variant, output: Output) -> list[str]:
    if output.hold == "digest":
        return []
    if output.hold == "tag":
        return [f"{repository}:unverified-{variant.id}" for repository in repositories(image, variant)]
    return [tag.text for tag in variant.tags]


def _output(image: str, variant: Variant, output: Output) -> str:
    if output.push:
        if output.hold == "tag" or (variant.tags and not output.hold):
            return "type=image,push=true"
        names = ",".join(repositories(image, variant))
        options = {"push-by-digest": "true", "name-canonical": "true", "push": "true"}
        return entry({"type": "image", "name": names, **options})
    if output.load:
        return "type=docker"
    part = output.part(variant.id)
    if part is not None:
        return entry({"type": "oci", "dest": str(part)})
    return "type=cacheonly"


def _attestations(variant: Variant, output: Output) -> list[str]:
    """Attestations go where an index can hold them: the docker exporter refuses them on most drivers."""
    provenance = variant.attest.provenance
    if output.load or provenance == "off":
        found = ["type=provenance,disabled=true"]
    else:
        found = [f"type=provenance,mode={provenance}"]
    if variant.attest.sbom and not output.load:
        found.append("type=sbom")
    return found


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {escape(name): _escaped(item) for name, item in value.items()}  # names are templates as well
    return [_escaped(item) for item in value] if isinstance(value, list) else value
