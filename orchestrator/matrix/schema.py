"""The sections of matrix.yaml: names, types and documentation of every key, and the facts that they hold.

`convert` validates a file against them, `json_schema` describes them to editors, `rules` checks what the values mean
together. Scalars reach the sections as the text that the file has, so `3.10` stays 3.10 and `no` stays no.

Annotations are evaluated here (no `from __future__ import annotations`): the sections are read from them.
"""

import math
from typing import Annotated, Literal

from orchestrator.flashinfer import LOCK_NAME
from orchestrator.matrix.output_schema import OutputSpec
from orchestrator.matrix.schema_builders import FleetBuilder
from orchestrator.matrix.schema_cache import CacheSpec, CompileCacheSpec
from orchestrator.matrix.schema_limits import LimitsSpec
from orchestrator.matrix.schema_resources import ResourcesSpec
from orchestrator.matrix.section import ONE, AnyScalar, Content, Range, Section, Short, Text, TextList, key
from orchestrator.matrix.template import PLACEHOLDERS

MOST_CELLS = 100_000  # a few lines of axes multiply without bound; no run of so many builds ends


def _names_to_mapping(value: object) -> object:
    """Let a plain list of names stand for a mapping whose values are all empty."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value) and len(set(value)) == len(value):
        return {item: {} for item in value}
    return value


def _empty_to_mapping(value: object) -> object:
    """Let `"3.12":` (nothing after the colon) stand for `"3.12": {}`."""
    return {} if value is None else value


def _text_to_arch_list(value: object) -> object:
    """Let `release: 7.5 8.0` stand for `release: {archs: 7.5 8.0}`."""
    return {"archs": value} if isinstance(value, str) else value


Share = Annotated[float, Range(0, 1)]

_EMPTY = Short(_empty_to_mapping, {"type": "null"})


class ArchRule(Section):
    """An architecture that a list must, or must never, hold."""

    arch: Text = key("Compute capability, as in 8.6.")
    why: str = key("The reason, shown when the rule is broken.")


class ArchList(Section):
    """A named list of compute capabilities; a plain string is enough."""

    archs: Content = key("Compute capabilities separated by spaces: 7.5 8.0 9.0a 12.0+PTX.")
    require: list[ArchRule] = key("Architectures that must stay in the list.", default=[])
    forbid: list[ArchRule] = key("Architectures that must never enter the list.", default=[])


class Target(Section):
    """One of the project's own bake targets."""

    tag_suffix: Text = key("Available as {target.tag_suffix}.", default="")
    arch_list: str | None = key("Arch list of this target.", default=None)


class Bake(Section):
    """The project's own bake files and the targets in them that are shipped."""

    files: TextList = key(
        "Bake files, relative to matrix.yaml (default: those that bake reads by itself, with their override files).",
        default=[],
    )
    targets: Annotated[
        dict[str, Annotated[Target, _EMPTY]],
        Short(_names_to_mapping, {"type": "array", "items": {"type": "string"}}),
    ] = key("Bake targets, a list of names or a mapping.")
    allow: TextList = key(
        "Privileges that the targets may use: network.host, device, device=NAME; all others come from --allow alone.",
        default=[],
    )


ALLOWED_IN_MATRIX = ("network.host", "device")
"""What `bake.allow` may hold: the matrix lies in the same checkout as the bake files that it would guard."""


class Cuda(Section):
    """One CUDA release."""

    version: Text = key("Full version of the release that is the key, as in 13.0.2: available as {cuda.version}.")
    tag_suffix: Text = key("Available as {cuda.tag_suffix}.", default="")
    arch_list: str | None = key("Arch list of this CUDA release.", default=None)


class Platform(Section):
    """One platform, keyed by its OCI name (linux/amd64)."""

    runner: TextList = key("GitHub Actions runner: a label or a list, available as {platform.runner}.", default=[])
    tag_suffix: Text = key("Available as {platform.tag_suffix}.", default="")
    arch_list: str | None = key("Arch list of this platform.", default=None)


class Attest(Section):
    """Attestations that BuildKit adds to the pushed image."""

    provenance: Literal["min", "max", "off"] | None = key(
        "SLSA provenance; absent, as the bake target says (min where it does not).", default=None
    )
    sbom: bool | None = key("Software bill of materials; absent, as the bake target says.", default=None)
    generator: Text | None = key("Image that writes the bill; absent, as the bake target says.", default=None)

    def broken_rule(self) -> str:
        """A generator of nothing."""
        return "generator goes with sbom: true" if self.generator and not self.sbom else ""


class Variants(Section):
    """What every variant gets."""

    arch_list: str = key("Name of an entry of arch_lists.")
    args: dict[str, Content | None] = key("Build arguments; values may hold placeholders.", default={})
    tags: list[Text] = key("Tags that build pushes, each unique to its variant.", default=[])
    labels: dict[str, Content] = key("Labels beside those that every variant gets.", default={})
    contexts: dict[str, Text] = key("Named contexts: a directory, an image, a git URL.", default={})
    secrets: list[Text] = key("BuildKit secrets, as in id=ca,src=/etc/ssl/ca.crt.", default=[])
    attest: Attest = key("Attestations.", default=Attest())
    not_secret: TextList = key("Arguments with the name of a credential that hold none.", default=[])


When = dict[str, TextList]

_WHEN = "cuda, platform, target or an axis: one value or a list."


class Override(Section):
    """Changes for the variants that `when` selects; a later override wins."""

    when: When = key(_WHEN)
    why: str = key("Shown by plan --explain.", default="")
    arch_list: str | None = key("Replaces the arch list.", default=None)
    args: dict[str, Content | None] = key("Added to the arguments; null removes one.", default={})
    tags: list[Text] | None = key("Replaces the tags.", default=None)
    labels: dict[str, Content] = key("Added to the labels.", default={})
    contexts: dict[str, Text] = key("Added to the named contexts.", default={})
    secrets: list[Text] | None = key("Replaces the secrets.", default=None)
    runner: Annotated[list[Text] | None, ONE] = key("Replaces the platform's runner.", default=None)


class Exclude(Section):
    """Variants that are not shipped, and why."""

    when: When = key(_WHEN)
    why: str = key("The reason, shown by plan.")


class Sign(Section):
    """How cosign signs what is published."""

    private_key: Text | None = key(
        "Private key: a file, env://NAME, or the URI of a key management service.", default=None
    )
    public_key: Text | None = key("Public key that verifies: a file, or the same URI.", default=None)
    keyless: bool = key("Sign with the identity of the CI job instead of a key.", default=False)
    identity: Text | None = key("Keyless: whose signature is valid, as the certificate names it.", default=None)
    issuer: Text | None = key("Keyless: who vouches for that identity, a URL.", default=None)
    transparency_log: bool = key(
        "Record signatures in the public log; false reaches nothing but the registry.", default=True
    )

    def broken_rule(self) -> str:
        """What is missing for the chosen way."""
        if self.keyless:
            ready = self.identity and self.issuer and not (self.private_key or self.public_key)
            return "" if ready else "keyless goes with identity and issuer, and without keys"
        return "" if self.private_key and self.public_key else "sign needs private_key and public_key, or keyless: true"


class Publish(Section):
    """The multi-platform index over the variants that differ in platform alone."""

    tags: list[Text] = key("Version tags of the index, moved by publish alone and before the floating ones.")
    floating: list[Text] = key(
        "Tags that follow the newest version, as in {image}:nightly; latest moves last.", default=[]
    )
    to: list[Text] = key("Repositories that get the tags; absent, the one that each tag names.", default=[])
    require_platforms: TextList = key("Platforms without which no index is published.", default=[])
    immutable: bool = key("Refuse to move a version tag that names something else.", default=False)
    same_commit: bool = key("Refuse images of different commits in one index.", default=False)
    sign: Sign | None = key("Sign each digest with cosign before any tag names it.", default=None)
    verified: bool | None = key("Publish verified images alone; absent, as verify.after_build.", default=None)


class HeadersSpec(Section):
    """FlashInfer's TRTLLM headers, carried into the image."""

    policy: Literal["required", "optional", "off"] = key(
        "required fails a build whose bundle is missing.", default="required"
    )
    version: Text | None = key("FlashInfer version that the build installs.", default=None)
    version_from: Text | None = key(
        "Where to read the version: FILE#NAME (Dockerfile ARG, versions.json, requirements).", default=None
    )
    lock: Text = key("Lock file, relative to matrix.yaml.", default=LOCK_NAME)
    tier: Literal["headers", "cubins"] = key("headers, or cubins for the kernels too.", default="headers")
    mirrors: list[Text] = key("Sources in order: URL, directory, flashinfer-cubin wheel.", default=[])
    context: str = key("Name of the named context and of its fallback.", default="flashinfer-headers")
    digest_arg: str = key("Argument of the proving step.", default="FLASHINFER_BUNDLE_DIGEST")
    targets: list[str] | None = key("Bake targets that carry the bundle; all if absent.", default=None)


class WheelsSpec(Section):
    """The Python packages of the images, carried as a wheelhouse into builds without a network."""

    policy: Literal["required", "optional", "off"] = key(
        "required fails a build whose wheelhouse is missing.", default="required"
    )
    python: Text = key("CPython release of the images, as in 3.12; may hold placeholders.")
    requirements: TextList = key("Requirement files, relative to matrix.yaml; may hold placeholders.", default=[])
    packages: TextList = key("Further requirements, as in setuptools>=77; may hold placeholders.", default=[])
    find_links: TextList = key("Directories with wheels of your own, relative to matrix.yaml.", default=[])
    extra_index_urls: TextList = key("Indexes beside pip's own; may hold placeholders; never in the lock.", default=[])
    glibc: Text = key("Oldest C library of the images: newer wheels are not taken.", default="2.28")
    lock: Text = key("Lock file, relative to matrix.yaml.", default="wheels.lock.json")
    context: str = key("Name of the named context and of its fallback.", default="wheelhouse")
    digest_arg: str = key("Argument of the proving steps.", default="WHEELHOUSE_DIGEST")
    targets: list[str] | None = key("Bake targets that carry the wheelhouse; all if absent.", default=None)

    def broken_rule(self) -> str:
        """What is wrong with the combination of keys."""
        if not (self.requirements or self.packages):
            return "nothing is asked for: expected requirements (files) or packages"
        return ""


class RequireSpec(Section):
    """A library that must serve the promised architectures."""

    glob: str = key("Path glob inside the image.")
    archs: Text | None = key("Only these compute capabilities; all promised if absent.", default=None)
    ptx: bool = key("PTX alone is enough.", default=False)
    why: str = key("Shown in the report.", default="")


class ExceptionSpec(Section):
    """A hole that is known and accepted."""

    glob: str = key("Path glob inside the image.")
    archs: Text = key("Compute capabilities that may be missing.")
    why: str = key("The reason, shown in the report.")


class VerifySpec(Section):
    """What a built image must hold."""

    after_build: bool = key("Verify each variant as soon as it is built.", default=False)
    require: list[RequireSpec] = key("Libraries that must serve every promised arch.", default=[])
    allow_ptx: bool = key("Count PTX (JIT at first use) as served.", default=False)
    fail_below: Share = key("Fail below this share of the best arch.", default=0.25)
    warn_below: Share = key("Warn below this share of the best arch.", default=0.5)
    exceptions: list[ExceptionSpec] = key("Known holes, each with its reason.", default=[])
    strict_tegra: bool = key("Desktop code does not serve Jetson, nor the reverse.", default=True)


CLAIM_LOCATORS = ("arg", "env", "image", "variable", "pointer", "name", "build_arg", "build_args", "package", "regex")
"""The keys that say where in a file a claim looks."""

_CLAIM_COMPANIONS = {
    "stage": ("arg", "env", "image"),
    "target": ("arg",),
    "branch": ("name",),
    "where": ("build_arg", "build_args"),
}


class ClaimSpec(Section):
    """One place (or several alike) of the repository that says something the matrix owns."""

    file: Text = key("Path below the matrix's directory; may be a glob: docker/**/Dockerfile*.")
    reader: (
        Literal["dockerfile", "bake", "json", "yaml", "toml", "shell", "env", "make", "cmake", "requirements", "text"]
        | None
    ) = key("How to read the file; by default derived from the locator and the file's name.", default=None)
    arg: Text | None = key("Dockerfile ARG; with target, an argument of that bake target.", default=None)
    env: Text | None = key("Dockerfile ENV.", default=None)
    image: Text | None = key("Tag of the image that stages of a Dockerfile are FROM: nvidia/cuda.", default=None)
    variable: Text | None = key("Default of a bake variable (HCL or JSON).", default=None)
    pointer: Text | None = key(
        "Pointer into JSON, YAML, TOML or HCL: /env/X, /steps/0/name; * is any member, key=value the "
        "members whose key has that value (glob). Beside build_arg or name it narrows the search.",
        default=None,
    )
    name: Text | None = key(
        "Variable of a script, env file, Makefile or CMake file, or of a list of NAME=value: NAME=….", default=None
    )
    build_arg: Text | None = key("--build-arg NAME=… of docker build lines.", default=None)
    build_args: Literal["declared"] | None = key(
        "Every --build-arg is an ARG that the Dockerfile named by its -f declares.", default=None
    )
    package: Text | None = key("Requirements pin: the version after package==.", default=None)
    regex: Text | None = key("Last resort: a regular expression with exactly one group.", default=None)
    stage: Text | None = key("Only in this stage; global is before the first FROM.", default=None)
    target: Text | None = key("Bake target (with arg).", default=None)
    branch: Text | None = key("Shell branch (with name): its pattern, or else.", default=None)
    where: Text | None = key("Regular expression that the whole command must match.", default=None)
    says: Content | None = key(
        "What the place must say: {arch_lists.NAME}, {cuda[13.0].version}, {args.NAME} …", default=None
    )
    dialect: Literal["torch", "flashinfer", "cmake"] | None = key(
        "How an arch list is written there; torch if absent.", default=None
    )
    cuda: Text | None = key(
        "CUDA release (13.0) or range (>=12.8,<13.0): the list is cut to what it compiles.", default=None
    )
    when: When | None = key("The variants that {args.…}, {archs.…} are taken from.", default=None)
    all: bool = key("Every occurrence must say it; false: the first alone.", default=True)
    places: Annotated[int, Range(1)] | None = key("How many occurrences there must be.", default=None)
    fix: bool = key("Whether check --fix may edit this place.", default=True)
    why: str = key("Why this place matters, for the reader of a report.", default="")

    def broken_rule(self) -> str:
        """What is wrong with the combination of keys."""
        given = [name for name in CLAIM_LOCATORS if getattr(self, name) is not None]
        if "pointer" in given and ({"build_arg", "build_args", "name"} & set(given)):
            given.remove("pointer")  # there it narrows the search
        if len(given) != 1:
            found = f", found {', '.join(given)}" if given else ""
            return f"a claim names exactly one place: one of {', '.join(CLAIM_LOCATORS)}{found}"
        (locator,) = given
        for companion, locators in _CLAIM_COMPANIONS.items():
            if getattr(self, companion) is not None and locator not in locators:
                return f"{companion} goes with {' or '.join(locators)}, not with {locator}"
        if self.stage is not None and self.target is not None:
            return "stage is of a Dockerfile, target of a bake file"
        if locator == "build_args" and self.says is not None:
            return "build_args: declared takes no says"
        if locator != "build_args" and self.says is None:
            return "says is missing: what the place must say"
        return ""


class MatrixFile(Section):
    """matrix.yaml: the only place where CUDA versions, platforms and architecture lists are written."""

    version: Annotated[Literal["1"], AnyScalar()] = key("Version of this format.")
    image: Text = key("Image repository without a tag: available as {image}.")
    bake: Bake
    arch_lists: dict[str, Annotated[ArchList, Short(_text_to_arch_list, {"type": "string"})]]
    cuda: dict[str, Cuda]
    platforms: dict[str, Annotated[Platform, _EMPTY]]
    axes: dict[str, dict[str, Annotated[dict[str, Content], _EMPTY]]] = key(
        "More dimensions: axis, value, fields for placeholders.", default={}
    )
    variants: Variants
    overrides: list[Override] = key("Changes for some variants; later wins.", default=[])
    exclude: list[Exclude] = key("Variants that are not shipped.", default=[])
    publish: Publish | None = key("The multi-platform index.", default=None)
    cache: CacheSpec = key("Where layers live between builds.", default=CacheSpec())
    compile_cache: CompileCacheSpec | None = key("A cache of compiled device code.", default=None)
    output: OutputSpec = key("How layers are written.", default=OutputSpec())
    limits: LimitsSpec = key("How long builds may take.", default=LimitsSpec())
    resources: ResourcesSpec = key("How much of a builder builds may take.", default=ResourcesSpec())
    builders: dict[str, Annotated[FleetBuilder, _EMPTY]] = key(
        "Builders that share the variants, by buildx's name; the current one alone if absent.", default={}
    )
    headers: HeadersSpec | None = key("FlashInfer headers for air-gapped images.", default=None)
    wheels: WheelsSpec | None = key("Python packages for air-gapped builds.", default=None)
    verify: VerifySpec = key("What a built image must hold.", default=VerifySpec())
    claims: list[ClaimSpec] = key("What the repository's other files must say.", default=[])
    filter: Literal["vllm-0.20", "vllm-0.29", "vllm-0.33", "none"] = key(
        "Which release's CMake decides the architectures of each kernel.", default="none"
    )

    def dimensions(self) -> dict[str, list[str]]:
        """Every dimension with its values, in the order of variants: target, cuda, platform, axes."""
        return {
            "target": list(self.bake.targets),
            "cuda": list(self.cuda),
            "platform": list(self.platforms),
            **{name: list(values) for name, values in self.axes.items()},
        }

    def cells(self) -> int:
        """How many combinations the dimensions have, excluded ones counted."""
        return math.prod(len(values) for values in self.dimensions().values())

    def placeholders(self) -> set[str]:
        """The placeholders that values of this matrix may hold."""
        names = {*PLACEHOLDERS, *self.axes}
        for axis, values in self.axes.items():
            names |= {f"{axis}.{field}" for fields in values.values() for field in fields}
        return names
