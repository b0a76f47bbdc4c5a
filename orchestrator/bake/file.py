"""Makes the bake file of one variant: the user's target as buildx resolves it, with what the matrix says.

It stands alone and inherits nothing, because buildx appends most lists of a target to those that it inherits (`LISTS`):
a cache reference, a secret or an annotation that is inherited cannot be taken away again. What is preflighted is so
what is built. The targets that the target links to are in it as well, each with the variant's arguments.

JSON strings are HCL templates to buildx: `${X}` is evaluated (measured, buildx 0.29.1), so every value is escaped and
arrives as written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.bake.cache import CacheEntries, entries
from orchestrator.bake.cached import cache_ladder, cache_policy
from orchestrator.bake.closure import LINK, closure, member_name, relinked
from orchestrator.bake.exporters import annotations_of, attestations, rewrites, written_by
from orchestrator.bake.ladder import Standing
from orchestrator.bake.leftover import Leftover, leftovers
from orchestrator.entries import entry, read_entry
from orchestrator.labels import ARCHS, ARCHS_REQUESTED, CUDA, KEY, MATRIX, VARIANT
from orchestrator.reference import short_tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.matrix.variants import Plan, Variant


class Output(Struct, frozen=True, kw_only=True):
    """Where a build's result goes.

    Attributes:
        push: To the registry, under the variant's tags (by digest alone where it has none).
        hold: Push without the variant's tags, which are set later, once the image has been verified: "digest" by
            digest alone, "tag" under the one tag `unverified-<id>-<run>` (the docker driver cannot push by digest), ""
            not.
        run: Name of the run in that tag, so that two runs at once do not verify each other's images.
        digests: Whether the builder can push by digest alone; if not, a variant without tags is held by a tag as well.
        load: Into the engine's image store.
        directory: As OCI archives `<id>.tar` in this directory; None for none. Bake writes `<id>.tar.part`, which is
            renamed after a success, so that an archive is always whole.
    """

    push: bool = False
    hold: Literal["", "digest", "tag"] = ""
    run: str = ""
    digests: bool = True
    load: bool = False
    directory: Path | None = None

    def holding_tag(self, variant: Variant) -> str:
        """Return the tag under which a variant is pushed until it has its own, "" where it needs none."""
        held = self.hold == "tag" or (self.push and not self.digests and not variant.tags)
        return short_tag("-".join(filter(None, ("unverified", variant.id, self.run)))) if held else ""

    def holding(self, image: str, variant: Variant) -> list[str]:
        """Return the references that hold a variant until it has its own tags."""
        tag = self.holding_tag(variant)
        return [f"{repository}:{tag}" for repository in repositories(image, variant)] if tag else []

    def archive(self, variant: str) -> Path | None:
        """Return the archive of a variant, None where none is written."""
        return self.directory / f"{variant}.tar" if self.directory is not None else None

    def part(self, variant: str) -> Path | None:
        """Return the file that bake writes the archive of a variant to, None where none is written."""
        return self.directory / f"{variant}.tar.part" if self.directory is not None else None


class Extras(Struct, frozen=True, kw_only=True):
    """What other features add to a variant's bake file.

    Attributes:
        args: Build arguments.
        contexts: Named contexts.
        labels: Labels of the image; the matrix's own win.
        secrets: BuildKit secrets.
        env: Variables of the bake process, for secrets of type env; never written anywhere.
        network: "none" takes the network from every RUN; "" leaves it.
        cache: What the build may do with caches.
    """

    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    cache: Standing = field(default_factory=Standing)

    def __repr__(self) -> str:
        """Without `env`, which holds secrets."""
        return f"Extras(args={self.args!r}, contexts={self.contexts!r}, secrets={self.secrets!r})"


class BakeFile(Struct, frozen=True, kw_only=True):
    """A generated bake file.

    Attributes:
        target: Name of the target to build: the variant's id.
        members: Name -> target, as plain text: the one to build first, then those that it links to.
        origins: Name -> the target of the project's bake files that it is made from.
        cache: The cache entries in it.
        leftovers: Name -> values of the project's target that hold a version which the matrix replaces.
    """

    target: str
    members: Mapping[str, Mapping[str, Any]]
    origins: Mapping[str, str] = field(default_factory=dict)
    cache: CacheEntries = field(default_factory=CacheEntries)
    leftovers: Mapping[str, tuple[Leftover, ...]] = field(default_factory=dict)

    @property
    def definition(self) -> Mapping[str, Any]:
        """The target to build."""
        return self.members[self.target]

    @property
    def content(self) -> dict[str, Any]:
        """The file as bake reads it: every text escaped."""
        return {"target": {name: escaped(dict(member)) for name, member in self.members.items()}}

    @property
    def text(self) -> str:
        """The file's text: sorted keys, indented, stable."""
        return json.dumps(self.content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def with_key(file: BakeFile, key: str, output: Output) -> BakeFile:
    """Return the bake file with the content key on what it builds.

    An annotation, both of the manifest and of its descriptor in an index: with an attestation the tag names an index,
    without one the manifest itself, and either way one request finds it; `index:` fails without attestations (measured,
    buildx 0.29). An image that is loaded has no annotations and gets a label.

    Args:
        file: The file.
        key: The key, "" for none.
        output: Where the result goes.
    """
    if not key:
        return file
    main = dict(file.definition)
    if output.load:
        main["labels"] = {**(main.get("labels") or {}), KEY: key}
    elif output.push or output.directory is not None:
        annotations = [f"{level}:{KEY}={key}" for level in ("manifest", "manifest-descriptor")]
        main["annotations"] = [*(main.get("annotations") or []), *annotations]
    return replace(file, members={**file.members, file.target: main})


def escape(text: str) -> str:
    """Return a text as a literal inside an HCL template: `${` becomes `$${`, `%{` becomes `%%{`."""
    return text.replace("${", "$${").replace("%{", "%%{")


def escaped(value: Any) -> Any:
    """Return a value with every text in it as a literal inside an HCL template, names included."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {escape(name): escaped(item) for name, item in value.items()}  # names are templates as well
    return [escaped(item) for item in value] if isinstance(value, list) else value


_TITLE = "org.opencontainers.image.title"


def labels(plan: Plan, variant: Variant, revision: str = "") -> dict[str, str]:
    """Return the labels that every variant gets: OCI's, and what was promised.

    No timestamp is among them: a label that changes with every build would give every build a new digest.
    """
    own = {
        _TITLE: plan.image.rpartition("/")[2],
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


LISTS: Mapping[str, Literal["replaced", "appended", "merged"]] = {
    "annotations": "appended",
    "args": "merged",
    "attest": "merged",
    "cache-from": "appended",
    "cache-to": "replaced",
    "contexts": "merged",
    "entitlements": "appended",
    "extra-hosts": "merged",
    "labels": "merged",
    "no-cache-filter": "appended",
    "output": "replaced",
    "platforms": "replaced",
    "secret": "appended",
    "ssh": "appended",
    "tags": "replaced",
    "ulimits": "appended",
}
"""What buildx does with an attribute of a target that inherits one of the same name (buildx 0.29, a test compares).

"merged" is by key: the name of an argument, the type of an attestation.
"""

_OURS = ("call", "description", "output", "tags", "cache-from", "cache-to", "attest", "platforms")
"""Attributes of the user's target that the matrix decides, or takes over in a form of its own."""

_NOT_LINKED = (*_OURS, "annotations")
"""Attributes of a linked target that nothing reads: it is a context and no image."""


def render(
    plan: Plan,
    variant: Variant,
    targets: Mapping[str, Mapping[str, Any]],
    *,
    output: Output | None = None,
    extras: Extras | None = None,
    revision: str = "",
) -> BakeFile:
    """Make the bake file of one variant.

    Args:
        plan: The plan that it belongs to.
        variant: The variant.
        targets: Name -> target of the project's bake files, as `resolved` gives them.
        output: Where the result goes; None keeps it in the build cache.
        extras: What other features add.
        revision: The commit for org.opencontainers.image.revision, "" for none.

    Raises:
        MatrixError: A named context links to a target that the bake files do not have.
    """
    output = output or Output()
    extras = extras or Extras()
    own = targets[variant.target]
    tags = tuple(tag.text for tag in variant.tags)
    found = cache_ladder(plan, variant, extras.cache)
    cache = entries(
        cache_policy(plan),
        read=[rung.ref for rung in found.read],
        write=[rung.ref for rung in found.write],
        tags=() if extras.cache.unread else tags,
        push=output.push,
    )
    given = _Given(
        variant=variant,
        args={name: value.text for name, value in variant.args.items()} | dict(extras.args),
        labels={**extras.labels, **labels(plan, variant, revision)},
        contexts={name: value.text for name, value in variant.contexts.items()} | dict(extras.contexts),
        secrets=(*(secret.text for secret in variant.secrets), *extras.secrets),
        network=extras.network,
        reads=cache.read,
    )
    contexts = {**(own.get("contexts") or {}), **given.contexts}
    linked = closure(targets, contexts)
    main = given.member(own, contexts, linked, without=_OURS) | {
        "description": f"{variant.target} for CUDA {variant.cuda_version} on {variant.platform}",
        "tags": _tags(plan.image, variant, output),
        "cache-to": list(cache.write),
        "output": [_output(plan.image, variant, output, own, plan.matrix.spec.output.attributes())],
        "attest": attestations(variant.attest, own, load=output.load),
    }
    if annotations := annotations_of(main):
        main["annotations"] = annotations
    else:
        main.pop("annotations", None)
    members = {variant.id: main}
    shared = {name: value for name, value in given.contexts.items() if not value.startswith(LINK)}
    for name in linked:
        target = targets[name]
        around = shared | (target.get("contexts") or {})
        members[member_name(variant.id, name)] = given.member(target, around, linked, without=_NOT_LINKED)
    origins = {variant.id: variant.target} | {member_name(variant.id, name): name for name in linked}
    return BakeFile(
        target=variant.id,
        members=members,
        origins=origins,
        cache=cache,
        leftovers={
            name: tuple(leftovers(targets[origin], given.args, given.contexts, cuda=variant.cuda_version))
            for name, origin in origins.items()
        },
    )


class _Given(Struct, frozen=True, kw_only=True):
    """What a variant gives to its target and to every target that it links to."""

    variant: Variant
    args: Mapping[str, str]
    labels: Mapping[str, str]
    contexts: Mapping[str, str]
    secrets: tuple[str, ...]
    network: str
    reads: tuple[str, ...]

    def member(
        self,
        target: Mapping[str, Any],
        contexts: Mapping[str, Any],
        linked: tuple[str, ...],
        *,
        without: tuple[str, ...],
    ) -> dict[str, Any]:
        """Return a target with what the variant gives to it."""
        found = {name: value for name, value in target.items() if name not in without}
        found |= {
            "args": {**(target.get("args") or {}), **self.args},
            "labels": self._labels(target.get("labels") or {}),
            "platforms": [self.variant.platform],
            "cache-from": list(self.reads),
        }
        if contexts:
            found["contexts"] = relinked(contexts, self.variant.id, linked)
        if secrets := _secrets(target, self.secrets):
            found["secret"] = secrets
        if self.network:
            found["network"] = self.network
        return found

    def _labels(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """The labels of a target and ours; its title is no claim that the matrix could contradict, and stays."""
        kept = {_TITLE: theirs[_TITLE]} if _TITLE in theirs and _TITLE not in self.variant.labels else {}
        return {**theirs, **self.labels, **kept}


def _secrets(target: Mapping[str, Any], ours: Sequence[str]) -> list[Any]:
    """The secrets of a target and ours, of which one of the same id wins."""
    named = {read_entry(secret).get("id") for secret in ours}
    return [one for one in target.get("secret") or [] if read_entry(one).get("id") not in named] + [*ours]


def repositories(image: str, variant: Variant) -> dict[str, list[str]]:
    """Return the repositories that a variant is pushed to, each with its tags; without tags the plan's image."""
    found: dict[str, list[str]] = {}
    for tag in variant.tags:
        found.setdefault(tag.text.rpartition(":")[0], []).append(tag.text)
    return found or {image: []}


def _tags(image: str, variant: Variant, output: Output) -> list[str]:
    if output.hold == "digest":
        return []
    return output.holding(image, variant) or [tag.text for tag in variant.tags]


def _output(image: str, variant: Variant, output: Output, own: Mapping[str, Any], written: Mapping[str, str]) -> str:
    """The output: where the result goes is ours, how its layers are written is the matrix's or the target's."""
    if output.push:
        if output.holding_tag(variant) or (variant.tags and not output.hold):
            chosen = {"type": "image", "push": "true"}
        else:
            names = ",".join(repositories(image, variant))
            options = {"push-by-digest": "true", "name-canonical": "true", "push": "true"}
            chosen = {"type": "image", "name": names, **options}
    elif output.load:
        chosen = {"type": "docker"}
    else:
        part = output.part(variant.id)
        if part is None:
            return "type=cacheonly"
        chosen = {"type": "oci", "dest": str(part)}
    how = {**written_by(own), **written}
    if output.push and not output.digests and rewrites(how):
        # The docker driver unpacks what it stores, which excludes this (BuildKit says so after the build, 0.29 / 28.5).
        chosen["store"] = "false"
    return entry({**chosen, **how})
