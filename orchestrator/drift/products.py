"""What each target of a first matrix is: the arguments that carry the matrix's values, its CUDA release, its platforms.

A target that names a CUDA release of its own, beside targets that name others, is built for that release alone.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import parse_cmake
from orchestrator.cuda.toolkit import toolkit_for
from orchestrator.cuda_image import cuda_image
from orchestrator.drift.declared import Targets
from orchestrator.drift.files import Files
from orchestrator.drift.onbuild import declared_by, unknown_bases
from orchestrator.drift.recognize import ARCH_ARGS, cuda_version, list_dialect, minor, version_of_tag
from orchestrator.drift.sights import Kind
from orchestrator.engine import buildx
from orchestrator.matrix.names import canonical_platform, platform_named
from orchestrator.reference import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.cuda.arch import Arch
    from orchestrator.drift.bakery import Bakery
    from orchestrator.drift.declared import Reach
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.sights import Sight

_CUDA_ARG = "CUDA_VERSION"
_CUDA_NAME = re.compile("cuda", re.IGNORECASE)  # GDRCOPY_CUDA_VERSION is the release of another package
_CMAKE = frozenset({"cmake_cuda_architectures", "cuda_architectures"})


class Product(Struct, frozen=True, kw_only=True):
    """One target.

    Attributes:
        name: The target.
        args: The arguments that carry a value of the matrix, each with its placeholders.
        contexts: The named contexts that are an image of CUDA, in the same form.
        versions: The CUDA versions that it is written for.
        fixed: Whether nothing of the matrix can change its CUDA release.
        archs: The arch list that it is built with today, empty where no file says it.
        platforms: The platforms that it names.
        image: The repository of its first tag, "" where none says it.
        cuda: Whether it is for CUDA as far as is known: it takes a release or a list, or is built from CUDA.
    """

    name: str
    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    versions: tuple[str, ...] = ()
    fixed: bool = False
    archs: frozenset[Arch] = frozenset()
    platforms: tuple[str, ...] = ()
    image: str = ""
    cuda: bool = True

    @property
    def release(self) -> str:
        """The one CUDA release that it is written for, "" where it is not known."""
        releases = {minor(version) for version in self.versions}
        return next(iter(releases)) if len(releases) == 1 else ""

    @property
    def takes_archs(self) -> bool:
        """Whether an argument carries an arch list."""
        return any("{archs." in value for value in self.args.values())


def products(
    root: Path, found: Bakery, sights: Sequence[Sight], listed: str, buildx_: Buildx | None = None
) -> list[Product]:
    """What each target of a bakery is, in its order.

    Args:
        root: The repository.
        found: Its bake files.
        sights: What `find` gave.
        listed: The main arch list, "" if there is none: an argument that holds it carries it, whatever its name.
        buildx_: Asks the engine what the ONBUILD of base images declares, None to leave them out.
    """
    given = frozenset(name for body in found.linked.values() for name in body.get("args") or {})
    targets = Targets(files=Files(root), read=[], given=given, computed=dict(found.linked))
    reading = _Reading(root=root, targets=targets, sights=sights, listed=_archs("", listed), asked=buildx_)
    return [reading.product(name, body) for name, body in found.targets.items()]


class _Reading(Struct, frozen=True, kw_only=True):
    """Reads the targets of one bakery: its root, what stages declare, what was found, and the main arch list."""

    root: Path
    targets: Targets
    sights: Sequence[Sight]
    listed: frozenset[Arch]
    asked: Buildx | None

    def product(self, name: str, body: Mapping[str, Any]) -> Product:
        """What one target is."""
        reach = self.targets.reach(name)
        declared = None if reach is None else frozenset[str]().union(*(one.names for one in reach.values()))
        linked = [self.targets.computed[one] for one in self.targets.linked(name) if one in self.targets.computed]
        defaults = list(self._defaults(linked, reach))
        own = {
            key: buildx.unescape(str(value))
            for one in reversed(linked)
            for key, value in (one.get("args") or {}).items()
            if value
        }
        if declared is not None:
            bases = [declared_by(image, self.asked) for image in unknown_bases(self.targets, name, own)]
            declared = declared.union(*(names for names in bases if names is not None))
        written = {sight.name: sight for sight in defaults if sight.locator.is_dockerfile_arg}
        args: dict[str, str] = {}
        given: list[str] = []
        versions: list[str] = []
        archs: frozenset[Arch] = frozenset()
        for arg in dict.fromkeys([*own, *written, *sorted(declared or ())]):
            value = own.get(arg) or (written[arg].whole if arg in written else "")
            text = self._placeholder(arg, value, written.get(arg))
            if not text or (declared is not None and arg not in declared):
                continue
            args[arg] = text
            if "{cuda" in text and value:
                said = given if arg in own else versions
                said += filter(None, [cuda_version(arg, value) or version_of_tag(value)])
            elif value and "{archs" in text:
                archs = _archs(arg, value)
        contexts: dict[str, str] = {}
        for key, value in (body.get("contexts") or {}).items():
            if text := _image(str(value)):
                contexts[str(key)] = text
                given.append(cuda_version("", str(value)))
        carried = any("{cuda" in text for text in (*args.values(), *contexts.values()))
        versions = given or versions  # what the target gives counts more than a default of its Dockerfile
        if not versions:
            versions = [
                sight.value
                for sight in defaults
                if sight.subject.kind is Kind.CUDA and (sight.locator.image or _CUDA_NAME.match(sight.name))
            ]
        return Product(
            name=name,
            args=args,
            contexts=contexts,
            versions=tuple(versions),
            fixed=not carried and declared is not None and bool(versions),
            archs=archs,
            platforms=_platforms(body),
            image=next(filter(None, (name_of(str(tag)) for tag in body.get("tags") or ())), ""),
            cuda=declared is None or bool(args or contexts or versions),
        )

    def _defaults(self, linked: Sequence[Mapping[str, Any]], reach: Mapping[str, Reach] | None) -> Iterator[Sight]:
        """What was found in the Dockerfiles of targets, in the stages that they run as far as that is known."""
        files = {_shown(self.root, one) for one in linked}
        for sight in self.sights:
            at = sight.locator
            if sight.file not in files or not (at.is_dockerfile_arg or at.env or at.image):
                continue
            if reach is None or (sight.file in reach and reach[sight.file].holds(sight.line, sight.name)):
                yield sight

    def _placeholder(self, name: str, value: str, default: Sight | None) -> str:
        """What the matrix writes for an argument, "" where it carries nothing of a matrix.

        Args:
            name: The argument.
            value: What it is today, "" where no file says it.
            default: Its default in the Dockerfile, where that was found.
        """
        dialect = list_dialect(name, value, "") if value else ""
        if dialect != "flashinfer" and (
            name.lower() in ARCH_ARGS or (dialect and len(self.listed) > 1 and _archs(name, value) == self.listed)
        ):
            cmake = dialect == "cmake" or (not dialect and name.lower() in _CMAKE)
            return "{archs.cmake}" if cmake else "{archs.torch}"
        if text := _image(value):
            return text
        if value and cuda_version(name, value) == value and _CUDA_NAME.match(name):
            return "{cuda.version}" if value.count(".") > 1 else "{cuda}"
        tag = version_of_tag(value)
        if default is not None and default.subject.kind is Kind.CUDA and tag.count(".") > 1:
            return value.replace(tag, "{cuda.version}", 1)  # FROM nvidia/cuda:${NAME}
        return "{cuda.version}" if name == _CUDA_ARG and not value else ""


def _archs(name: str, value: str) -> frozenset[Arch]:
    try:
        return frozenset(parse_cmake(value) if list_dialect(name, value, "") == "cmake" else parse_list(value))
    except ValueError:
        return frozenset()


def _shown(root: Path, target: Mapping[str, Any]) -> str:
    """The Dockerfile of a target below the root, "" where it is not there."""
    path = buildx.dockerfile_path(root, target)
    return "" if path is None or not path.is_relative_to(root) else PurePosixPath(path.relative_to(root)).as_posix()


def _platforms(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The platforms of a target as a matrix names them; `local` and those of other systems are none."""
    named = (platform_named(str(one)) for one in body.get("platforms") or ())
    return tuple(dict.fromkeys(canonical_platform(one) for one in named if one))


def _image(text: str) -> str:
    """NVIDIA's image of CUDA with the matrix's version in its tag, "" for any other text."""
    image = cuda_image(text)
    full = image is not None and image.official and image.version.count(".") > 1
    return f"{image.before}{{cuda.version}}{image.after}" if image is not None and full else ""


def main_product(every: Iterable[Product]) -> Product:
    """The target that stands for the repository: the first that takes an arch list, else a CUDA release, else any."""
    ordered = list(every)
    return min(ordered, key=lambda one: (not one.takes_archs, not one.args, ordered.index(one)))


def shared(values: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The entries that all of several mappings have."""
    first, *rest = values
    return {key: value for key, value in first.items() if all(one.get(key) == value for one in rest)}


def built_for(every: Sequence[Product]) -> dict[str, str]:
    """The targets that are built for one CUDA release alone, with that release.

    Those that nothing of the matrix can change, and those that name another release than another target does.
    """
    named = Counter(one.release for one in every if one.release)
    return {one.name: one.release for one in every if one.release and (one.fixed or len(named) > 1)}


def left_out(
    every: Sequence[Product], releases: Sequence[str], platforms: Sequence[str], file: str
) -> Iterator[tuple[dict[str, list[str]], str]]:
    """The rows that cannot exist: what `when` of an `exclude:` says, and why.

    Args:
        every: The targets.
        releases: The CUDA releases of the matrix.
        platforms: Its platforms.
        file: The bake file, for the reason.
    """
    groups: dict[str, list[str]] = {}
    for name, release in built_for(every).items():
        groups.setdefault(release, []).append(name)
    for release, names in groups.items():
        if others := [one for one in releases if one != release]:
            yield {"target": names, "cuda": others}, f"{file} builds it for CUDA {release}"
    lacking: dict[tuple[str, ...], list[str]] = {}
    for one in every:
        if one.platforms and (missing := tuple(other for other in platforms if other not in one.platforms)):
            lacking.setdefault(missing, []).append(one.name)
    for missing, names in lacking.items():
        yield {"target": names, "platform": list(missing)}, f"{file} does not build it for {' and '.join(missing)}"


def uncompiled(
    lists: Mapping[str, str], every: Sequence[Product], releases: Sequence[str]
) -> Iterator[tuple[dict[str, list[str]], str]]:
    """The rows in which a release compiles nothing of the arch list, in the same form.

    Args:
        lists: Target -> its arch list.
        every: The targets.
        releases: The CUDA releases of the matrix.
    """
    only = built_for(every)
    for release in releases:
        toolkit = toolkit_for(release)
        names = [
            one.name
            for one in every
            if only.get(one.name, release) == release
            and not any(toolkit.supports(arch.without_ptx()) for arch in _archs("", lists[one.name]))
        ]
        if names:
            found = sorted({lists[name] for name in names})
            yield {"target": names, "cuda": [release]}, f"CUDA {release} compiles none of {', '.join(found)}"
