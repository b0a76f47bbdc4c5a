"""Single values of matrix.yaml that no build can use: empty, twice, with blanks or NUL, of another system, too long."""

from __future__ import annotations

import pytest

from orchestrator.matrix.rules_values import MOST_ARGUMENT
from tests.unit.matrix.support import SMALL, changed, planned, problems

PLATFORM = "  linux/amd64:\n"
EMPTY = "expected text that is not empty and holds no NUL"


@pytest.mark.parametrize(
    ("runner", "told"),
    [
        ("[]", "runner is empty, expected a label or a list of labels"),
        ('""', f'platforms.linux/amd64.runner.0 is invalid, {EMPTY}, found ""'),
        ('" "', f'platforms.linux/amd64.runner.0 is invalid, {EMPTY}, found " "'),
        ('[x, ""]', f'platforms.linux/amd64.runner.1 is invalid, {EMPTY}, found ""'),
        ('["", x]', f'platforms.linux/amd64.runner.0 is invalid, {EMPTY}, found ""'),
        ("[x, null]", "platforms.linux/amd64.runner.1 is invalid, expected text, found nothing"),
        ("[x, [y]]", "platforms.linux/amd64.runner.1 is invalid, expected text, found a list"),
        ("{group: x}", "platforms.linux/amd64.runner is invalid, expected a list, found a mapping"),
        ("[x, y, x]", "platforms.linux/amd64.runner.2 repeats platforms.linux/amd64.runner.0, found x"),
        ("[linux, Linux]", "the label Linux is there twice"),
        ('"x,y"', "a label of the runner is invalid"),
        ('" x"', "a label of the runner is invalid"),
        ('"x\\ny"', "a label of the runner is invalid"),
        ('"x\\e[2Jy"', "a label of the runner is invalid"),
        ('"x\\0"', f"platforms.linux/amd64.runner.0 is invalid, {EMPTY}, found x\\x00"),
        ("x" * 257, "a label of the runner is invalid"),
    ],
)
def test_a_runner_that_no_job_gets(runner: str, told: str) -> None:
    (problem,) = problems(changed(PLATFORM, f"  linux/amd64: {{runner: {runner}}}\n", SMALL))
    assert problem.startswith("matrix.yaml:8:")
    assert told in problem
    (problem,) = problems(SMALL + f"overrides: [{{when: {{target: app}}, runner: {runner}}}]\n")
    assert told.replace("platforms.linux/amd64", "overrides.0") in problem


@pytest.mark.parametrize("runner", ["x" * 256, "[a, b]", "ubuntu-24.04", '["a b", c]'])
def test_a_runner_that_a_job_gets(runner: str) -> None:
    assert problems(changed(PLATFORM, f"  linux/amd64: {{runner: {runner}}}\n", SMALL)) == []


@pytest.mark.parametrize(
    "platform",
    [
        "linux/arm64/v9", "linux/arm64/v8.1", "windows/amd64", "darwin/arm64", "freebsd/amd64", "wasip1/wasm", "linux",
        "linux/", "linux//amd64", "linux/amd64/", "linux/amd64/v5", "Linux/amd64", "linux/AMD64", '" linux/amd64"',
        '"linux/amd64 "', '"linux/amd64\\0"', '"linux/amd64,linux/arm64"', "linux/amd64/v1/x", '"*"', "linux/x86_64",
    ],
)  # fmt: skip
def test_a_platform_that_no_cuda_image_has(platform: str) -> None:
    found = problems(changed(PLATFORM, f"  {platform}:\n", SMALL))
    assert any("is invalid, expected linux/ARCHITECTURE of the OCI image specification" in one for one in found)


@pytest.mark.parametrize(
    ("first", "second"),
    [("linux/arm64", "linux/arm64/v8"), ("linux/amd64/v1", "linux/amd64"), ("linux/arm", "linux/arm/v7")],
)
def test_two_names_of_one_platform(first: str, second: str) -> None:
    (problem,) = problems(changed(PLATFORM, f"  {first}:\n  {second}:\n", SMALL))
    assert problem == f"matrix.yaml:9:3: platforms {first} and {second} are one platform; remove {second}"


@pytest.mark.parametrize(
    "cuda",
    ['"13.00": {version: 13.00.2}', '"13.0": {version: 13.0.02}', '"13.0": {version: 13.0.99999}',
     '"013.0": {version: 13.0.2}', '"13.0": {version: "13.0.2 "}', '"13.0": {version: ""}',
     '"13.0": {version: 13.0.2-rc1}', '"١٣.0": {version: 13.0.2}', '" 13.0": {version: 13.0.2}'],
)  # fmt: skip
def test_a_release_that_nvidia_does_not_name_so(cuda: str) -> None:
    found = problems(changed('"13.0": {version: 13.0.2}', cuda, SMALL))
    assert found
    assert all(one.startswith("matrix.yaml:6:") for one in found)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("overrides: [{when: {target: app}}]", "overrides[0] changes nothing; remove it, or add what it changes"),
        ("overrides: [{when: {target: [app, app]}, args: {A: x}}]", "overrides.0.when.target.1 repeats"),
        ('axes: {python: {"": {}}}', 'axes.python: the name "" is invalid'),
        ('axes: {python: {" 3": {}}}', 'axes.python: the name " 3" is invalid'),
        ('axes: {python: {"a\\0b": {}}}', "axes.python: the name a\\x00b is invalid"),
        ('axes: {python: {a: {"x y": z}}}', "the field 'x y' is invalid: no placeholder can name it"),
        ("publish: {tags: []}", "publish.tags is empty: there is nothing to publish"),
        ('publish: {tags: ["{image}:v", "{image}:v"]}', "publish.tags.1 repeats publish.tags.0"),
        ('publish: {tags: ["{image}:v"], floating: ["{image}:v"]}', "both a version tag and a floating one"),
        ('publish: {tags: ["{image}:v"], to: [a/b, a/b]}', "publish.to.1 repeats publish.to.0"),
        ('cache: {backend: registry, ref: ""}', f'cache.ref is invalid, {EMPTY}, found ""'),
        ('cache: {backend: local, dir: " "}', f'cache.dir is invalid, {EMPTY}, found " "'),
        ('verify: {require: [{glob: ""}]}', "verify.require.0.glob is invalid"),
        ('verify: {exceptions: [{glob: x, archs: "", why: y}]}', "verify.exceptions.0.archs is invalid"),
        ("headers: {version: 0.6.13, digest_arg: a b}", "headers.digest_arg is invalid"),
        ("headers: {version: 0.6.13, context: a b}", "headers.context is invalid"),
        ('headers: {version: ""}', "headers.version is invalid"),
        ("wheels: {python: 3.12, packages: [x, x]}", "wheels.packages.1 repeats wheels.packages.0"),
        ('claims: [{file: "", arg: X, says: y}]', "claims.0.file is invalid"),
    ],
)
def test_a_value_that_means_nothing(section: str, told: str) -> None:
    (problem,) = problems(f"{SMALL}{section}\n")
    assert told in problem


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('args: {A: "x\\0y"}', "variants.args.A is invalid"),
        (f"args: {{A: {'x' * (MOST_ARGUMENT - 1)}}}", "the argument A is too long"),
        ('labels: {"": x}', 'variants.labels: the name "" is invalid'),
        ('labels: {"a\\nb": x}', "variants.labels: the name a\\nb is invalid"),
        ('labels: {a: "\\0"}', "variants.labels.a is invalid"),
        ("labels: {com.orchestrate.archs: '9.0'}", "the label com.orchestrate.archs is written by the build itself"),
        ('contexts: {"": .}', 'variants.contexts: the name "" is invalid'),
        ("contexts: {a b: .}", "named context 'a b' is invalid"),
        ('contexts: {a: ""}', "variants.contexts.a is invalid"),
        ('secrets: [""]', "variants.secrets.0 is invalid"),
        ("secrets: [src=x]", "a secret has no id, expected id=NAME,src=FILE or id=NAME,env=NAME, found src=x"),
        ("secrets: [id=]", "a secret has no id"),
        ('secrets: ["id=a,src=x", "id=a,env=Y"]', "the secret a is there twice"),
        ("""secrets: ['"id=a,b",src=x', '"id=a,b",env=Y']""", "the secret a,b is there twice"),
        ('not_secret: [""]', "variants.not_secret.0 is invalid"),
        ('attest: {sbom: true, generator: ""}', "variants.attest.generator is invalid"),
    ],
)
def test_a_value_that_no_build_takes(value: str, told: str) -> None:
    (problem,) = problems(changed("  arch_list: all\n", f"  arch_list: all\n  {value}\n", SMALL))
    assert told in problem


@pytest.mark.parametrize(
    ("bake", "told"),
    [
        ('{files: [""], targets: [app]}', "bake.files.0 is invalid"),
        ("{files: [bake.hcl, bake.hcl], targets: [app]}", "bake.files.1 repeats bake.files.0"),
        ("{files: bake.hcl, targets: [app, app]}", "bake.targets.1 repeats bake.targets.0"),
        ("{files: bake.hcl, targets: [app], allow: [device, device]}", "bake.allow.1 repeats bake.allow.0"),
    ],
)
def test_a_bake_section_that_names_nothing_or_twice(bake: str, told: str) -> None:
    (problem,) = problems(changed("{files: bake.hcl, targets: [app]}", bake, SMALL))
    assert told in problem


def test_what_may_be_empty_may_be() -> None:
    text = changed("  linux/amd64:\n", '  linux/amd64: {tag_suffix: ""}\n', SMALL)
    text = changed(
        "  arch_list: all\n", '  arch_list: all\n  args: {A: "", B: "two\\nlines"}\n  labels: {l: ""}\n', text
    )
    text += 'axes: {python: {"3.12": {index: ""}}}\noverrides: [{when: {target: app}, why: "", args: {A: ""}}]\n'
    (variant,) = planned(text).variants
    assert {name: value.text for name, value in variant.args.items()} == {"A": "", "B": "two\nlines"}


def test_an_argument_of_the_greatest_length_that_a_process_gets() -> None:
    text = changed("  arch_list: all\n", f"  arch_list: all\n  args: {{A: {'x' * (MOST_ARGUMENT - 2)}}}\n", SMALL)
    assert problems(text) == []
