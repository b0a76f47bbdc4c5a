"""What every source of an image gives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.errors import UsageError, VerificationError
from orchestrator.image.layers.parallel import Layer
from orchestrator.reference import InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.image.layers.merge import LayerScan


REF_NAME = "org.opencontainers.image.ref.name"
"""Annotation of an image in a layout: its tag."""


class BrokenImageError(VerificationError):
    """An image's manifests contradict themselves or are not all there."""


class Contents(Struct, frozen=True, kw_only=True):
    """An image, as a source knows it before any layer is read.

    Attributes:
        name: As the user called it.
        digest: `sha256:…` of its manifest, "" where there is none.
        platform: "linux/arm64", "" where unknown.
        labels: Of the image's configuration.
        environment: Name -> value of the image's configuration.
        user: Of the image's configuration: "", "1000", "1000:0", "app".
        layers: The lowest first.
        files: What the source read by itself, where there are no layers (a wheel, a directory, a single file).
    """

    name: str
    digest: str = ""
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    layers: tuple[Layer, ...] = ()
    files: LayerScan | None = None

    def to_json(self) -> dict[str, Any]:
        """What is known without the bytes of any layer, for `json.dumps`; `from_json` reads it."""
        names = ("digest", "platform", "labels", "environment", "user")
        layers = [[layer.digest, layer.size] for layer in self.layers]
        return {name: getattr(self, name) for name in names} | {"layers": layers}

    @classmethod
    def from_json(cls, name: str, data: Any) -> Contents | None:
        """What `to_json` wrote, under a name of its own; None for anything else."""
        try:
            layers = tuple(Layer(digest=str(digest), size=int(size)) for digest, size in data["layers"])
            return cls(
                name=name,
                digest=str(data["digest"]),
                platform=str(data["platform"]),
                labels=dict(data["labels"]),
                environment=dict(data["environment"]),
                user=str(data["user"]),
                layers=layers,
            )
        except (KeyError, TypeError, ValueError):
            return None


def configured(config: Mapping[str, Any]) -> dict[str, Any]:
    """Platform, labels, environment and user of an image's configuration, as keyword arguments for `Contents`."""
    inner = config.get("config") or {}
    pairs = [str(item).partition("=") for item in inner.get("Env") or []]
    system, machine, variant = (config.get(name) or "" for name in ("os", "architecture", "variant"))
    return {
        "platform": platform_text(system, machine, variant),
        "labels": {str(key): str(value) for key, value in (inner.get("Labels") or {}).items()},
        "environment": {name: value for name, _, value in pairs},
        "user": str(inner.get("User") or ""),
    }


def require_image(manifest: Mapping[str, Any], name: str) -> None:
    """Refuse the manifest of an artifact: signatures, charts and caches have layers that are no file systems.

    Raises:
        UsageError: It is one.
    """
    kind = str((manifest.get("config") or {}).get("mediaType") or "")
    if kind.startswith("application/") and kind not in _CONFIGS:
        raise UsageError(
            f"{name} is an artifact and not an image: its manifest says {manifest.get('artifactType') or kind}",
            hint="name the image that it belongs to",
        )


_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")


def platform_text(system: str, machine: str, variant: str) -> str:
    """`linux/arm64`; the variant is left out where it says nothing new."""
    usual = {("arm64", "v8"), ("amd64", "v1")}
    parts = [system, machine, "" if (machine, variant) in usual else variant]
    return "/".join(part for part in parts if part)


def choose(manifests: Sequence[Mapping[str, Any]], platform: str, name: str, which: str = "") -> Mapping[str, Any]:
    """The manifest of an index that is meant; nothing is chosen where several would do.

    Args:
        manifests: The index's descriptors.
        platform: Wanted, "" when the user named none.
        name: Of the image, for messages.
        which: Name, tag, digest or "@N" of one of several, "" when the user named none.

    Raises:
        UsageError: Several would do, or none.
        BrokenImageError: The index is empty.
    """
    real = [(one, names_of(one, number)) for number, one in enumerate(manifests) if not _is_attestation(one)]
    if not real:
        raise BrokenImageError(f"{name}: its index names no image")
    found = [(one, names) for one, names in real if not which or _means(which, names)]
    if not found:
        known = ", ".join(dict.fromkeys(names[0] for _, names in real))
        raise UsageError(f"{name}: no image {which} was found", hint=f"it holds: {known}")
    shown = [_platform_of(one) for one, _ in found]
    if platform:
        found = [one for one, text in zip(found, shown, strict=True) if not text or same_platform(platform, text)]
        if not found:
            raise UsageError(f"{name} holds no {platform}", hint=f"it holds: {', '.join(shown)}")
    if len(found) == 1:
        return found[0][0]
    if not platform and len(set(shown)) == len(shown):
        raise UsageError(f"{name} holds several platforms", hint=f"choose one with --platform: {', '.join(shown)}")
    kind = f"several images of {platform}" if platform else "several images"
    if which:
        kind = f"{kind} called {which}"
    raise UsageError(
        f"{name} holds {kind}", hint=f"choose one: {', '.join(f'{name}:{word}' for word in _own_names(found))}"
    )


def _own_names(found: Sequence[tuple[Mapping[str, Any], list[str]]]) -> list[str]:
    """The best name of each image that no other of them has."""
    counts = Counter(word for _, names in found for word in names)
    return [next(word for word in names if counts[word] == 1) for _, names in found]


def names_of(manifest: Mapping[str, Any], number: int) -> list[str]:
    """What a user may call one image of a layout, the best name first."""
    notes = manifest.get("annotations") or {}
    full = str(notes.get("io.containerd.image.name") or "")
    tag = str(notes.get(REF_NAME) or "")
    return [*filter(None, [tag, full]), str(manifest.get("digest") or ""), f"@{number}"]


def _means(which: str, names: Sequence[str]) -> bool:
    """Whether a user who says a name means an image of these: `app:1` is `docker.io/library/app:1`."""
    if which in names:
        return True
    try:
        return parse(which) in [parse(name) for name in names if "/" in name]
    except InvalidReferenceError:
        return False


def same_platform(wanted: str, found: str) -> bool:
    """Whether an image of one platform is what was asked for: `linux/arm` takes every variant."""
    asked = platform_text(*(*wanted.split("/"), "", "")[:3])
    return found == asked or found.startswith(f"{asked}/")


def require_platform(platform: str, found: str, name: str) -> None:
    """Refuse an image whose own configuration says another platform than was asked for.

    Raises:
        UsageError: It does.
    """
    if platform and found and not same_platform(platform, found):
        raise UsageError(f"{name} holds no {platform}", hint=f"it holds: {found}")


def _platform_of(manifest: Mapping[str, Any]) -> str:
    value = manifest.get("platform") or {}
    return platform_text(*(str(value.get(name) or "") for name in ("os", "architecture", "variant")))


def _is_attestation(manifest: Mapping[str, Any]) -> bool:
    notes = manifest.get("annotations") or {}
    return (
        notes.get("vnd.docker.reference.type") == "attestation-manifest" or _platform_of(manifest) == "unknown/unknown"
    )
