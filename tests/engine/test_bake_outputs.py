"""What a target says of its output is read, and no file that it names is opened: beside real buildx."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.drift.evaluate import Buildx
from orchestrator.drift.readers.bake import parse
from orchestrator.engine.buildx import BakeCall, resolve
from orchestrator.entries import read_entry

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).write_text(text)


WRITTEN = "type=oci,dest=kept.tar,compression=zstd"
OUTPUTS = {
    "text": f'target "app" {{\n  output = ["{WRITTEN}"]\n}}\n',
    "object": 'target "app" {\n  output = [{ type = "docker", dest = "kept.tar", compression = "zstd" }]\n}\n',
    "several": 'target "app" {\n  output = ["type=tar,dest=kept.tar", "type=image,compression=zstd,name=theirs"]\n}\n',
    "environment": 'variable "OUTPUT" { default = "" }\n'
    'target "app" {\n  output = ["type=local,dest=kept", OUTPUT]\n}\n',
    "pieces": 'target "app" {\n  output = [join("", ["ty", "pe=o", "ci,de", "st=ke", "pt.tar,compression=zstd"])]\n}\n',
    "function": 'function "f" {\n  params = [output]\n'
    '  result = ["type=o${output},de${"st"}=kept.tar,compression=zstd"]\n}\n'
    'target "app" {\n  output=f("ci")\n}\n',
    "spaces": f'target "app" {{\n  output\t = [\n    "{WRITTEN}",\n  ]\n  cache-to = ["type=inline"]\n}}\n',
    "inherited": f'target "base" {{\n  output = ["{WRITTEN}"]\n}}\ntarget "app" {{\n  inherits = ["base"]\n}}\n',
    "other": f'target "base" {{\n  output = ["{WRITTEN}"]\n}}\ntarget "app" {{\n  output = target.base.output\n}}\n',
    "variable": 'variable "output" { default = "oci" }\n'
    f'target "app" {{\n  output = ["type=${{output}},{WRITTEN[9:]}"]\n}}\n',
    "one line": f'target "app" {{ output = ["{WRITTEN}"] }}\n',
    "json": json.dumps({"target": {"app": {"output": [WRITTEN], "cache-to": ["type=inline"]}}}),
    "json escaped": json.dumps({"target": {"app": {"output": [WRITTEN]}}}).replace('"output"', '"outp\\u0075t"'),
    "json list": json.dumps({"target": [{"app": [{"output": [WRITTEN]}]}], "variable": {"output": {"default": "x"}}}),
}


@pytest.mark.parametrize("text", OUTPUTS.values(), ids=OUTPUTS)
def test_resolving_reads_outputs_and_opens_no_file(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPUT", WRITTEN)
    name = "docker-bake.json" if text.startswith("{") else "docker-bake.hcl"
    write(tmp_path, {"kept.tar": "kept", name: text})
    args = 'target "app" {\n  args = { dest = "type=oci", A = "$${x}", output = "output = [1]" }\n}\n'
    write(tmp_path, {"more.hcl": args})
    found = resolve(BakeCall(docker=("docker",), files=(name, "more.hcl"), root=tmp_path), {"app": None})["app"]
    assert any(read_entry(one).get("compression") == "zstd" for one in found["output"])
    assert found["args"] == {"dest": "type=oci", "A": "${x}", "output": "output = [1]"}
    assert (tmp_path / "kept.tar").read_text() == "kept"
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "said",
    [
        f"x-bake:\n        output: ['{WRITTEN}']\n        cache-to: ['type=inline']",
        f"x-bake: {{output: ['{WRITTEN}']}}",
        f'cache_to: ["type=registry,ref=a/b"]\n      "x-bake":\n\n        "output":\n          - {WRITTEN}',
    ],
)
def test_outputs_of_compose_files(tmp_path: Path, said: str) -> None:
    text = f"services:\n  app:\n    build:\n      context: .\n      {said}\n  output:\n    build: {{context: .}}\n"
    write(tmp_path, {"kept.tar": "kept", "compose.yaml": text})
    found = resolve(BakeCall(docker=("docker",), files=("compose.yaml",), root=tmp_path), {"app": None, "output": None})
    assert [read_entry(one).get("compression") for one in found["app"]["output"]] == ["zstd"]
    assert "output" not in found["output"]
    assert (tmp_path / "kept.tar").read_text() == "kept"


def test_an_output_that_is_not_found_is_not_opened(tmp_path: Path) -> None:
    """In YAML there are more ways to write a key than are renamed."""
    said = f'x-{{bake}}: &b\n  "outp\\x75t": ["{WRITTEN}"]\nservices:\n  app:\n    build: {{context: ., x-bake: *b}}\n'
    write(tmp_path, {"kept.tar": "kept", "compose.yaml": said.replace("x-{bake}", "x-fragment")})
    bake = BakeCall(docker=("docker",), files=("compose.yaml",), root=tmp_path)
    assert "output" not in resolve(bake, {"app": None})["app"]
    assert (tmp_path / "kept.tar").read_text() == "kept"
    argv = ["docker", "buildx", "bake", "-f", "compose.yaml", "--print", "app"]
    subprocess.run(argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert (tmp_path / "kept.tar").read_text() == "", "buildx reads the key, and opens the file"


def test_a_claim_is_evaluated_and_no_file_opened(tmp_path: Path) -> None:
    text = f'target "app" {{\n  args = {{ A = upper("a") }}\n  output = ["{WRITTEN}"]\n}}\n'
    write(tmp_path, {"kept.tar": "kept"})
    assert Buildx(tmp_path).arg(parse(text, json=False), "app", "A") == "A"
    assert (tmp_path / "kept.tar").read_text() == "kept"
