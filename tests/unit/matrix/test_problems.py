"""Every kind of mistake in matrix.yaml: its words, and the line and column that they point at."""

from __future__ import annotations

import pytest

from orchestrator.errors import MatrixError
from tests.unit.matrix.support import EXAMPLE, SMALL, changed, parse, planned, problems


def spot(text: str, needle: str, nth: int = 0) -> str:
    """`matrix.yaml:LINE:COLUMN` of a piece of a text."""
    at = -1
    for _ in range(nth + 1):
        at = text.index(needle, at + 1)
    before = text[:at]
    return f"matrix.yaml:{before.count(chr(10)) + 1}:{at - before.rfind(chr(10))}"


def test_the_example_is_right() -> None:
    assert problems(EXAMPLE) == []
    assert problems(SMALL) == []


GOLDEN: dict[str, tuple[str, str, str, str]] = {
    # name: text to replace, its replacement, what is pointed at, the message after the place
    "unknown key": (
        "  arch_list: release\n",
        "  arch_list: release\n  argss: {A: 1}\n",
        "argss:",
        "unknown key argss; did you mean args?",
    ),
    "unknown key at the top": (
        "image: g",
        "variant: {}\nimage: g",
        "variant:",
        "unknown key variant; did you mean variants?",
    ),
    "unknown key in a flow": (
        "{version: 13.0.2}",
        "{version: 13.0.2, tag_sufix: x}",
        "tag_sufix",
        "unknown key tag_sufix; did you mean tag_suffix?",
    ),
    "missing key": ("  arch_list: release\n", "", "variants:", "variants.arch_list is missing"),
    "wrong version": ("version: 1\n", "version: 2\n", "2", "version is invalid, expected 1, found 2"),
    "text for a list": (
        'overrides:\n  - when: {cuda: "13.0", platform: linux/arm64}\n    args: {max_jobs: 8}\n',
        "overrides: nothing\n",
        "nothing",
        "overrides is invalid, expected a list, found nothing",
    ),
    "list for text": (
        "image: ghcr.io/acme/vllm-openai",
        "image: [a]",
        "[a]",
        "image is invalid, expected text, found a list",
    ),
    "a tier that no bundle has": (
        "headers: {policy: optional, version",
        "headers: {policy: optional, tier: everything, version",
        "everything",
        "headers.tier is invalid, expected headers or cubins, found everything",
    ),
    "two keys alike": (
        '  "13.0": {version: 13.0.2}',
        '  "13.0": {version: 13.0.2}\n  "13.0": {version: 13.0.1}',
        '"13.0": {version: 13.0.1}',
        "duplicate key 13.0 (first: line 13)",
    ),
    "image with a tag": (
        "image: ghcr.io/acme/vllm-openai",
        "image: ghcr.io/acme/vllm:1",
        "ghcr.io/acme/vllm:1",
        "image is invalid, expected a repository such as ghcr.io/acme/app, without a tag, found ghcr.io/acme",
    ),
    "unused override": (
        "overrides:\n",
        'overrides:\n  - when: {cuda: "12.9", platform: linux/arm64}\n    args: {max_jobs: 4}\n',
        '{cuda: "12.9", platform: linux/arm64}',
        "overrides[0] matches no variant; remove it, or correct its when",
    ),
    "a library must serve what no list holds": (
        "archs: 9.0}",
        'archs: "9.0 10.3"}',
        '"9.0 10.3"',
        "verify.require[0]: no variant promises 10.3, so no image is verified for it; add it to an arch",
    ),
    "an exception for what no list holds": (
        "archs: 9.0}]}",
        'archs: 9.0}], exceptions: [{glob: x.so, archs: "9.0 10.3", why: y}]}',
        '"9.0 10.3"',
        "verify.exceptions[0]: no variant promises 10.3, so it excuses nothing; add it to an arch",
    ),
    "a library must serve what nobody can read": (
        "archs: 9.0}",
        'archs: "9.0 zzz"}',
        '"9.0 zzz"',
        "'zzz': write an architecture like 9.0, 9.0a, 10.0f or 12.0+PTX",
    ),
    "override for nothing that exists": (
        '  - when: {cuda: "13.0", platform',
        '  - when: {cuda: "13.1", platform',
        '"13.1"',
        "cuda 13.1 does not exist; did you mean 13.0?",
    ),
    "one of several values does not exist": (
        '  - when: {cuda: "13.0", platform',
        '  - when: {cuda: ["13.0", "13.1"], platform',
        '"13.1"',
        "cuda 13.1 does not exist; did you mean 13.0?",
    ),
    "override of an unknown dimension": (
        '  - when: {cuda: "13.0", platform',
        '  - when: {cuda: "13.0", pltform',
        "pltform",
        "unknown dimension pltform; did you mean platform?",
    ),
    "empty condition": (
        '  - when: {cuda: "13.0", platform: linux/arm64}',
        "  - when: {}",
        "{}\n    args",
        "when is empty: it selects everything, expected target, cuda, platform, python",
    ),
    "exclude of nothing": (
        "exclude:\n",
        "exclude:\n  - {when: {python: []}, why: no}\n",
        "{python: []}",
        "exclude[0] matches no variant; remove it, or correct its when",
    ),
    "exclude that does not exist": (
        "exclude:\n",
        "exclude:\n  - {when: {python: 3.14}, why: no}\n",
        "3.14",
        "python 3.14 does not exist; did you mean 3.13?",
    ),
    "unknown placeholder": (
        '"{archs.torch}"',
        '"{archs.torhc}"',
        "{archs.torhc}",
        "unknown placeholder {archs.torhc}; did you mean archs.torch? (literal braces: {{archs.torhc}})",
    ),
    "unknown placeholder, unquoted, later in the line": (
        '"{archs.torch}"',
        "x {archs.torch} {archs.torhc}",
        "{archs.torhc}",
        "unknown placeholder {archs.torhc}; did you mean archs.torch? (literal braces: {{archs.torhc}})",
    ),
    "unknown placeholder after its own escape": (
        '"{archs.torch}"',
        "'{{zz}} {zz}'",
        "{zz}'",
        "unknown placeholder {zz}; known: ",
    ),
    "unknown placeholder on a later line": (
        '"{archs.torch}"',
        "|\n      {archs.torch}\n      é {zz}\n",
        "{zz}",
        "unknown placeholder {zz}; known: ",
    ),
    "unknown placeholder after escapes": (
        '"{archs.torch}"',
        '"\\t\\"\\u00e9 {zz}"',
        "{zz}",
        "unknown placeholder {zz}; known: ",
    ),
    "placeholder of another axis": (
        '"{python}"',
        '"{pyhton}"',
        "{pyhton}",
        "unknown placeholder {pyhton}; did you mean python? (literal braces: {{pyhton}})",
    ),
    "unknown arch list": (
        "arch_list: release",
        "arch_list: relase",
        "relase",
        "unknown arch list relase; did you mean release?",
    ),
    "unknown arch list of a platform": (
        "arch_list: thor",
        "arch_list: tohr",
        "tohr",
        "unknown arch list tohr; did you mean thor?",
    ),
    "unknown arch list of a CUDA release": (
        "{version: 13.0.2}",
        "{version: 13.0.2, arch_list: tohr}",
        "tohr",
        "unknown arch list tohr; did you mean thor?",
    ),
    "unknown arch list of a target": (
        "{openai: {}, ",
        "{openai: {arch_list: tohr}, ",
        "tohr",
        "unknown arch list tohr; did you mean thor?",
    ),
    "unknown arch list of an override": (
        "    args: {max_jobs: 8}",
        "    arch_list: tohr",
        "tohr",
        "unknown arch list tohr; did you mean thor?",
    ),
    "unknown target of the headers": (
        "headers: {policy: optional,",
        "headers: {targets: [opneai], policy: optional,",
        "opneai",
        "unknown target opneai; did you mean openai?",
    ),
    "unknown dimension of a claim": (
        'arg: CUDA_VERSION, says: "{cuda[13.0].version}"',
        'arg: CUDA_VERSION, says: "{args.A}", when: {coda: "13.0"}',
        "coda",
        "unknown dimension coda; did you mean cuda?",
    ),
    "bad arch, unquoted": (
        "thor: 8.0 8.7",
        "thor: 8.0 sm_87",
        "sm_87",
        "arch list thor: 'sm_87': write the compute capability, 8.7, not nvcc's name of it",
    ),
    "bad arch, quoted": (
        "thor: 8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX",
        "thor: '8.0, 9.0'",
        "8.0, 9.0",
        "arch list thor: '8.0,': separate architectures with spaces, not commas",
    ),
    "bad arch, repeated": (
        "thor: 8.0 8.7",
        "thor: 9.0 9",
        "9 8.9",
        "arch list thor: '9': the minor number is missing; write 9.0",
    ),
    "empty arch list": (
        "thor: 8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX",
        'thor: ""',
        '""',
        "arch list thor: the list names no architecture",
    ),
    "unknown CUDA": (
        "version: 12.9.1",
        "version: 12.99.1",
        "12.99.1",
        "CUDA '12.99.1': it is not known what this release compiles",
    ),
    "bad target name": (
        "{openai: {}, ",
        "{open.ai: {}, ",
        "open.ai",
        "'open.ai' is not a valid bake target name (letters, digits, _ and -)",
    ),
    "bad platform": (
        "linux/amd64: {runner",
        "linux-amd64: {runner",
        "linux-amd64",
        "platform 'linux-amd64' is invalid, expected linux/ARCHITECTURE of the OCI image specification; did you mean",
    ),
    "axis name taken": (
        "  python: {",
        "  git: {a: {}}\n  python: {",
        "git:",
        "the axis name git is taken by the placeholders {git.…}",
    ),
    "index tag of one platform": (
        '  tags: ["{image}:{git.sha}-py{python}{cuda',
        '  tags: ["{image}:{platform.arch}-{git.sha}-py{python}{cuda',
        '"{image}:{platform',
        "{platform.arch} differs between the platforms of one index; leave it out: one index holds all platforms",
    ),
    "tag without a tag": (
        'tags: ["{image}:{git.sha}-py{python}-{platform',
        'tags: ["{image}-{git.sha}-py{python}-{platform',
        '"{image}-{git',
        f'ghcr.io/acme/vllm-openai-{"0" * 40}-py3.12-x86_64-cu129 has no tag; write it as "{{image}}:…"',
    ),
    "tag with a character that docker refuses": (
        'tags: ["{image}:{git.sha}-py{python}-{platform',
        'tags: ["{image}:{git.sha}+py{python}-{platform',
        '"{image}:{git.sha}+',
        (
            f"ghcr.io/acme/vllm-openai:{'0' * 40}+py3.12-x86_64-cu129: tag '{'0' * 40}+py3.12-x86_64-cu129' is "
            "invalid: expected up to 128 of A-Z a-z 0-9 _ . -, not . or - first"
        ),
    ),
    "tag of a repository that docker refuses": (
        'tags: ["{image}:{git.sha}-py{python}-{platform',
        'tags: ["{image}/Upper:{git.sha}-py{python}-{platform',
        '"{image}/Upper',
        (
            f"ghcr.io/acme/vllm-openai/Upper:{'0' * 40}-py3.12-x86_64-cu129: image 'ghcr.io/acme/vllm-openai/Upper' is "
            "invalid: expected lower-case names, digits and single . _ - between slashes; "
            "did you mean acme/vllm-openai/upper?"
        ),
    ),
    "tag with a digest": (
        'tags: ["{image}:{git.sha}-py{python}-{platform.machine}{cuda.tag_suffix}{target.tag_suffix}"]',
        f'tags: ["{{image}}:{{variant.id}}@sha256:{"0" * 64}"]',
        '"{image}:{variant.id}@',
        (
            f"ghcr.io/acme/vllm-openai:openai-cu129-amd64-python3-12@sha256:{'0' * 64} names a digest, "
            "which no build can push to"
        ),
    ),
    "nothing is left to build": (
        "exclude:\n",
        "exclude:\n  - {when: {target: [openai, openai-ubuntu2404]}, why: no}\n",
        "- {when: {target",
        "every variant is excluded: there is nothing to build",
    ),
    "unknown required platform": (
        "publish:\n",
        "publish:\n  require_platforms: [linux/amd46]\n",
        "linux/amd46",
        "unknown platform linux/amd46; did you mean linux/amd64?",
    ),
    "claim without a place": (
        "arg: CUDA_VERSION, says:",
        "says:",
        "{file: docker/Dockerfile",
        "claims.0: a claim names exactly one place",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_mistake_is_told_where_it_stands(name: str) -> None:
    old, new, needle, message = GOLDEN[name]
    text = changed(old, new)
    found = problems(text)
    assert any(problem.startswith(f"{spot(text, needle)}: {message}") for problem in found), found
    if name != "nothing is left to build":  # the override has nothing to match then
        assert len(found) == 1, found


def test_an_arch_that_no_toolkit_of_the_list_compiles() -> None:
    text = changed("arch_list: thor", "arch_list: old").replace("  thor:", "  old: 8.0 10.1\n  thor:")
    thor = "10.1 is the name CUDA 12.8/12.9 give Jetson Thor; CUDA 13.0 and later call it 11.0"
    assert problems(text) == [
        f"{spot(text, '8.0 10.1')}: arch list old: no CUDA release that uses it (13.0) compiles 10.1: " + thor
    ]


def test_an_effective_list_that_is_empty() -> None:
    text = SMALL.replace("8.0 9.0", "5.0")
    assert problems(text)[-1] == (
        f"{spot(text, 'all', 1)}: app-cu130-amd64: no architecture is left for CUDA 13.0 "
        "(5.0: sm_50 was dropped by CUDA 13.0; the last toolkit that compiles it is 12.9)"
    )


def test_require_and_forbid() -> None:
    forbid = "[{arch: 8.0, why: A100 left}, {arch: x, why: y}]"
    rules = f"{{archs: 8.0 9.0, require: [{{arch: '11.0', why: Thor}}], forbid: {forbid}}}"
    text = SMALL.replace("{all: 8.0 9.0}", f"\n  all: {rules}")
    assert problems(text) == [
        f"{spot(text, '8.0 9.0')}: arch list all must hold 11.0 (line 5: Thor)",
        f"{spot(text, '8.0 9.0')}: arch list all must never hold 8.0 (line 5: A100 left)",
        f"{spot(text, 'x, why')}: 'x': write an architecture like 9.0, 9.0a, 10.0f or 12.0+PTX",
    ]


def test_a_tag_that_variants_share() -> None:
    text = changed("-{platform.machine}{cuda.tag_suffix}{target", "{cuda.tag_suffix}{target")
    found = problems(text)
    assert found[0] == (
        f"{spot(text, chr(34) + '{image}')}: openai-cu130-amd64-python3-12 and openai-cu130-arm64-python3-12 both push "
        f"ghcr.io/acme/vllm-openai:{'0' * 40}-py3.12; add a placeholder that differs between them"
    )
    assert len(found) == 1


@pytest.mark.parametrize(
    ("tag", "to", "named"),
    [
        ("{image}:v1", "", "acme/app:v1"),
        ("ghcr.io/acme/{target}:v1", "to: [ghcr.io/acme/all, docker.io/acme/all], ", "ghcr.io/acme/all:v1"),
    ],
)
def test_a_tag_that_two_indexes_get(tag: str, to: str, named: str) -> None:
    text = SMALL.replace("targets: [app]", "targets: [app, web]") + f'publish: {{{to}tags: ["{tag}"]}}\n'
    place = spot(text, f'"{tag}"')
    what = f"the indexes of app-cu130-amd64 and web-cu130-amd64 both get {named}"
    assert problems(text) == [f"{place}: {what}; add a placeholder that differs between them"]
    assert problems(text.replace(":v1", ":v1-{target}")) == []


def test_a_variant_id_that_two_share() -> None:
    text = SMALL.replace("variants:", 'axes: {python: {"3.1": {}, "3-1": {}}}\nvariants:')
    assert (
        f"{spot(text, '{python')}: two variants are named app-cu130-amd64-python3-1; rename one axis value"
        in problems(text)
    )


def test_a_cache_that_variants_share() -> None:
    text = changed("cache: {backend: registry}", "cache: {backend: registry, ref: '{image}-cache:{target}'}")
    assert problems(text)[0] == (
        f"{spot(text, chr(39) + '{image}-cache')}: openai-cu129-amd64-python3-12 and openai-cu129-amd64-python3-13 "
        "both write the cache ghcr.io/acme/vllm-openai-cache:openai: the last one wins; add {variant.id}"
    )
    assert problems(text.replace("{backend: registry, ref", "{backend: inline, ref")) == []
    assert problems(text.replace("{backend: registry, ref", "{write: false, ref")) == []


def test_all_problems_of_a_file_in_one_run() -> None:
    text = changed("arch_list: thor", "arch_list: tohr")
    text = changed("version: 12.9.1", "version: 12.99", text)
    text = changed('"{python}"', '"{pyhton}"', text)
    text = changed(
        "overrides:\n", "overrides:\n  - {when: {cuda: '12.9', platform: linux/arm64}, args: {A: '{nope}'}}\n", text
    )
    text = changed("8.0 8.6", "8.0 8.66", text)
    found = problems(text)
    assert [problem.split(" ", 1)[0].rstrip(":") for problem in found] == sorted(
        (spot(text, needle) for needle in ("8.66", "12.99", "tohr", "{pyhton}", "{cuda: '12.9', platform", "{nope}")),
        key=lambda place: [int(part) for part in place.split(":")[1:]],
    )


def test_a_wrong_section_hides_nothing_of_the_others() -> None:
    text = changed("claims:\n", "claims:\n  - nonsense\n")
    text = changed("version: 13.0.2", "version: 13.0.2, colour: red", text)
    text = changed("arch_list: release", "arch_list: relase", text)
    text = changed(
        "overrides:\n", "overrides:\n  - {when: {cuda: '12.9', platform: linux/arm64}, args: {A: 1}}\n", text
    )
    assert [problem.split(": ", 1)[1] for problem in problems(text)] == [
        "unknown key colour; known: arch_list, tag_suffix, version",
        "unknown arch list relase; did you mean release?",
        "overrides[0] matches no variant; remove it, or correct its when",
        "claims.0 is invalid, expected a mapping, found nonsense",
    ]


def test_what_follows_from_a_mistake_is_none_of_its_own() -> None:
    """A misspelt tag_suffix makes tags collide; that is not told beside it."""
    text = changed("{version: 12.9.1, tag_suffix: -cu129}", "{version: 12.9.1, tag_sufix: -cu129}")
    assert problems(text) == [f"{spot(text, 'tag_sufix')}: unknown key tag_sufix; did you mean tag_suffix?"]


def test_the_error_counts() -> None:
    with pytest.raises(MatrixError, match=r"^matrix\.yaml: 2 problems\n"):
        parse(changed("version: 1\n", "version: 2\nx: 1\n"))
    with pytest.raises(MatrixError, match=r"^matrix\.yaml: 1 problem\n"):
        planned(changed("version: 1\n", "version: 2\n"))


@pytest.mark.parametrize("other", ["docker.io/acme/app:1", "index.docker.io/acme/app:1"])
def test_a_tag_that_variants_share_in_another_spelling(other: str) -> None:
    text = f"{SMALL}overrides: [{{when: {{platform: linux/arm64}}, tags: [{other}]}}]\n"
    text = text.replace("linux/amd64:\n", "linux/amd64:\n  linux/arm64:\n")
    text = text.replace('["{image}:{variant.id}"]', "[acme/app:1]")
    (found,) = problems(text)
    assert f"app-cu130-amd64 and app-cu130-arm64 both push {other}; add a placeholder" in found
