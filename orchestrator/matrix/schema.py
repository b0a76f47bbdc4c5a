"""The shape of matrix.yaml: the one place where pydantic is used.

It knows names, types and documentation of every key, and prints the JSON Schema that editors use. It must not know
positions (load.py), what the values mean together (rules.py) or what they expand to (variants.py). Scalars reach these
models as the text that stands in the file, so `3.10` stays 3.10 and `no` stays no.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

Text = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""A scalar, taken as it is written."""


def _names_to_mapping(value: object) -> object:
    """Let a plain list of names stand for a mapping whose values are all empty."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {item: {} for item in value}
    return value


def _empty_to_mapping(value: object) -> object:
    """Let `"3.12":` (nothing after the colon) stand for `"3.12": {}`."""
    return {} if value is None else value


def _text_to_list(value: object) -> object:
    """Let one word stand for a list of one."""
    return [value] if isinstance(value, str) else value


def _text_to_arch_list(value: object) -> object:
    """Let `release: 7.5 8.0` stand for `release: {archs: 7.5 8.0}`."""
    return {"archs": value} if isinstance(value, str) else value


def _or_text(schema: dict[str, Any]) -> None:
    """Say in the JSON Schema that a plain string will do."""
    schema["anyOf"] = [{"type": "string"}, {"type": "object"}]
    schema.pop("type", None)


TextList = Annotated[
    list[Text], BeforeValidator(_text_to_list), WithJsonSchema({"type": ["string", "number", "array"]})
]


class Section(BaseModel):
    """Base of every section: strict about keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ArchRule(Section):
    """An architecture that a list must, or must never, hold."""

    arch: Text = Field(description="Compute capability, as in 8.6.")
    why: str = Field(description="The reason, shown when the rule is broken.")


class ArchList(Section):
    """A named list of compute capabilities; a plain string is enough."""

    archs: Text = Field(description="Compute capabilities separated by blanks: 7.5 8.0 9.0a 12.0+PTX.")
    require: list[ArchRule] = Field(default=[], description="Architectures that must stay in the list.")
    forbid: list[ArchRule] = Field(default=[], description="Architectures that must never enter the list.")


class Target(Section):
    """One of the project's own bake targets."""

    tag_suffix: Text = Field(default="", description="Available as {target.tag_suffix}.")
    arch_list: str | None = Field(default=None, description="Arch list of this target.")


class Bake(Section):
    """The project's own bake files and the targets in them that are shipped."""

    files: TextList = Field(description="Bake files, relative to matrix.yaml.")
    targets: Annotated[
        dict[str, Annotated[Target, BeforeValidator(_empty_to_mapping)]], BeforeValidator(_names_to_mapping)
    ] = Field(description="Bake targets, a list of names or a mapping.")


class Cuda(Section):
    """One CUDA release."""

    version: Text = Field(description="Full version, as in 13.0.2: available as {cuda.version}.")
    tag_suffix: Text = Field(default="", description="Available as {cuda.tag_suffix}.")
    arch_list: str | None = Field(default=None, description="Arch list of this CUDA release.")


class Platform(Section):
    """One platform, keyed by its OCI name (linux/amd64)."""

    runner: Text = Field(default="", description="GitHub Actions runner label: available as {platform.runner}.")
    tag_suffix: Text = Field(default="", description="Available as {platform.tag_suffix}.")
    arch_list: str | None = Field(default=None, description="Arch list of this platform.")


class Attest(Section):
    """Attestations that BuildKit adds to the pushed image."""

    provenance: Literal["min", "max", "off"] = Field(default="min", description="SLSA provenance.")
    sbom: bool = Field(default=False, description="Software bill of materials.")


class Variants(Section):
    """What every variant gets."""

    arch_list: str = Field(description="Name of an entry of arch_lists.")
    args: dict[str, Text | None] = Field(default={}, description="Build arguments; values may hold placeholders.")
    tags: list[Text] = Field(default=[], description="Tags that build pushes, each unique to its variant.")
    labels: dict[str, Text] = Field(default={}, description="Labels beside those that every variant gets.")
    contexts: dict[str, Text] = Field(default={}, description="Named contexts: a directory, an image, a git URL.")
    secrets: list[Text] = Field(default=[], description="BuildKit secrets, as in id=ca,src=/etc/ssl/ca.crt.")
    attest: Attest = Field(default=Attest(), description="Attestations.")


When = Annotated[dict[str, TextList], Field(description="cuda, platform, target or an axis: one value or a list.")]


class Override(Section):
    """Changes for the variants that `when` selects; a later override wins."""

    when: When
    why: str = Field(default="", description="Shown by plan --explain.")
    arch_list: str | None = Field(default=None, description="Replaces the arch list.")
    args: dict[str, Text | None] = Field(default={}, description="Added to the arguments; null removes one.")
    tags: list[Text] | None = Field(default=None, description="Replaces the tags.")
    labels: dict[str, Text] = Field(default={}, description="Added to the labels.")
    contexts: dict[str, Text] = Field(default={}, description="Added to the named contexts.")
    secrets: list[Text] | None = Field(default=None, description="Replaces the secrets.")
    runner: Text | None = Field(default=None, description="Replaces the platform's runner.")


class Exclude(Section):
    """Variants that are not shipped, and why."""

    when: When
    why: str = Field(description="The reason, shown by plan.")


class Publish(Section):
    """The multi-platform index over the variants that differ in platform alone."""

    tags: list[Text] = Field(description="Tags of the index, moved by publish alone.")
    require_platforms: TextList = Field(default=[], description="Platforms without which no index is published.")


class CacheSpec(Section):
    """Where layers live between builds."""

    backend: Literal["registry", "local", "gha", "inline", "off"] = Field(
        default="registry", description="BuildKit cache backend."
    )
    ref: Text = Field(
        default="{image}-cache:{variant.id}",
        description="One reference (registry), scope (gha) or directory name (local) for each variant.",
    )
    dir: Text = Field(default=".orchestrate/cache", description="Where the local backend keeps its directories.")
    read: list[Text] = Field(default=[], description="More references to read from, in order.")
    mode: Literal["max", "min"] = Field(default="max", description="max caches the layers of all stages.")
    write: bool = Field(default=True, description="false reads the cache and never writes it (pull requests).")


class HeadersSpec(Section):
    """FlashInfer's TRTLLM headers, carried into the image."""

    policy: Literal["required", "optional", "off"] = Field(
        default="required", description="required fails a build whose bundle is missing."
    )
    version: Text | None = Field(default=None, description="FlashInfer version that the build installs.")
    version_from: Text | None = Field(
        default=None, description="Where to read the version: FILE#NAME (Dockerfile ARG, versions.json, requirements)."
    )
    lock: Text = Field(default="flashinfer.lock.json", description="Lock file, relative to matrix.yaml.")
    tier: Text = Field(default="headers", description="headers, or cubins with an SM filter.")
    mirrors: list[Text] = Field(default=[], description="Sources in order: URL, directory, flashinfer-cubin wheel.")
    context: str = Field(default="flashinfer-headers", description="Name of the named context and of its fallback.")
    digest_arg: str = Field(default="FLASHINFER_BUNDLE_DIGEST", description="Argument of the proving step.")
    targets: list[str] | None = Field(default=None, description="Bake targets that carry the bundle; all if absent.")


class RequireSpec(Section):
    """A library that must serve the promised architectures."""

    glob: str = Field(description="Path glob inside the image.")
    archs: Text | None = Field(default=None, description="Only these compute capabilities; all promised if absent.")
    ptx: bool = Field(default=False, description="PTX alone is enough.")
    why: str = Field(default="", description="Shown in the report.")


class ExceptionSpec(Section):
    """A hole that is known and accepted."""

    glob: str = Field(description="Path glob inside the image.")
    archs: Text = Field(description="Compute capabilities that may be missing.")
    why: str = Field(description="The reason, shown in the report.")


class VerifySpec(Section):
    """What a built image must hold."""

    after_build: bool = Field(default=False, description="Verify each variant as soon as it is built.")
    require: list[RequireSpec] = Field(default=[], description="Libraries that must serve every promised arch.")
    allow_ptx: bool = Field(default=False, description="Count PTX (JIT at first use) as served.")
    fail_below: float = Field(default=0.25, ge=0, le=1, description="Fail below this share of the best arch.")
    warn_below: float = Field(default=0.5, ge=0, le=1, description="Warn below this share of the best arch.")
    exceptions: list[ExceptionSpec] = Field(default=[], description="Known holes, each with its reason.")
    strict_tegra: bool = Field(default=True, description="Desktop code does not serve Jetson, nor the reverse.")


CLAIM_LOCATORS = ("arg", "env", "variable", "pointer", "name", "build_arg", "build_args", "package", "regex")
"""The keys that say where in a file a claim looks."""

_CLAIM_COMPANIONS = {
    "stage": ("arg", "env"),
    "target": ("arg",),
    "branch": ("name",),
    "where": ("build_arg", "build_args"),
}


class ClaimSpec(Section):
    """One place (or several alike) of the repository that says something the matrix owns."""

    file: Text = Field(description="Path below the matrix's directory; may be a glob: docker/**/Dockerfile*.")
    reader: Literal["dockerfile", "bake", "json", "yaml", "toml", "shell", "requirements", "text"] | None = Field(
        default=None, description="How to read the file; by default told from the locator and the file's name."
    )
    arg: Text | None = Field(default=None, description="Dockerfile ARG; with target, an argument of that bake target.")
    env: Text | None = Field(default=None, description="Dockerfile ENV.")
    variable: Text | None = Field(default=None, description="Default of a bake variable (HCL or JSON).")
    pointer: Text | None = Field(
        default=None,
        description="JSON pointer into JSON, YAML or TOML: /env/X, /steps/0/name; * is any member, key=value the "
        "members whose key has that value (glob). Beside build_arg or name it narrows the search.",
    )
    name: Text | None = Field(default=None, description="Shell variable: NAME=…, export NAME=….")
    build_arg: Text | None = Field(default=None, description="--build-arg NAME=… of docker build lines.")
    build_args: Literal["declared"] | None = Field(
        default=None, description="Every --build-arg is an ARG that the Dockerfile named by its -f declares."
    )
    package: Text | None = Field(default=None, description="Requirements pin: the version after package==.")
    regex: Text | None = Field(default=None, description="Last resort: a regular expression with exactly one group.")
    stage: Text | None = Field(default=None, description="Only in this stage; global is before the first FROM.")
    target: Text | None = Field(default=None, description="Bake target (with arg).")
    branch: Text | None = Field(default=None, description="Shell branch (with name): its pattern, or else.")
    where: Text | None = Field(default=None, description="Regular expression that the whole command must match.")
    says: Text | None = Field(
        default=None, description="What must stand there: {arch_lists.NAME}, {cuda[13.0].version}, {args.NAME} …"
    )
    dialect: Literal["torch", "flashinfer", "cmake"] | None = Field(
        default=None, description="How an arch list is written there; torch if absent."
    )
    cuda: Text | None = Field(
        default=None, description="CUDA release (13.0) or range (>=12.8,<13.0): the list is cut to what it compiles."
    )
    when: When | None = Field(default=None, description="The variants that {args.…}, {archs.…} are taken from.")
    all: bool = Field(default=True, description="Every occurrence must say it; false: the first alone.")
    places: int | None = Field(default=None, ge=1, description="How many occurrences there must be.")
    fix: bool = Field(default=True, description="Whether check --fix may edit this place.")
    why: str = Field(default="", description="Why this place matters, for the reader of a report.")

    @model_validator(mode="after")
    def _one_locator(self) -> Self:
        given = [name for name in CLAIM_LOCATORS if getattr(self, name) is not None]
        if "pointer" in given and ({"build_arg", "build_args", "name"} & set(given)):
            given.remove("pointer")  # there it narrows the search
        if len(given) != 1:
            found = f", found {', '.join(given)}" if given else ""
            raise ValueError(f"a claim names exactly one place: one of {', '.join(CLAIM_LOCATORS)}{found}")
        (locator,) = given
        for companion, locators in _CLAIM_COMPANIONS.items():
            if getattr(self, companion) is not None and locator not in locators:
                raise ValueError(f"{companion} goes with {' or '.join(locators)}, not with {locator}")
        if self.stage is not None and self.target is not None:
            raise ValueError("stage is of a Dockerfile, target of a bake file")
        if locator == "build_args" and self.says is not None:
            raise ValueError("build_args: declared takes no says")
        if locator != "build_args" and self.says is None:
            raise ValueError("says is missing: what must stand there")
        return self


class MatrixFile(Section):
    """matrix.yaml: the only place where CUDA versions, platforms and architecture lists are written."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="matrix.yaml of orchestrate")

    version: Annotated[Literal["1"], WithJsonSchema({"enum": [1, "1"]})] = Field(description="Version of this format.")
    image: Text = Field(description="Image repository without a tag: available as {image}.")
    bake: Bake
    arch_lists: dict[str, Annotated[ArchList, BeforeValidator(_text_to_arch_list), Field(json_schema_extra=_or_text)]]
    cuda: dict[str, Cuda]
    platforms: dict[str, Annotated[Platform, BeforeValidator(_empty_to_mapping)]]
    axes: dict[str, dict[str, Annotated[dict[str, Text], BeforeValidator(_empty_to_mapping)]]] = Field(
        default={}, description="More dimensions: axis, value, fields for placeholders."
    )
    variants: Variants
    overrides: list[Override] = Field(default=[], description="Changes for some variants; later wins.")
    exclude: list[Exclude] = Field(default=[], description="Variants that are not shipped.")
    publish: Publish | None = Field(default=None, description="The multi-platform index.")
    cache: CacheSpec = Field(default=CacheSpec(), description="Where layers live between builds.")
    headers: HeadersSpec | None = Field(default=None, description="FlashInfer headers for air-gapped images.")
    verify: VerifySpec = Field(default=VerifySpec(), description="What a built image must hold.")
    claims: list[ClaimSpec] = Field(default=[], description="What the repository's other files must say.")
    filter: Literal["vllm-0.20", "vllm-0.29", "vllm-0.33", "none"] = Field(
        default="none", description="Which release's CMake decides the architectures of each kernel."
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of matrix.yaml."""
    schema = MatrixFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
