"""What a build gets of `compile_cache:`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake.file import Extras, render
from orchestrator.cache import compile_tool
from orchestrator.cache.compile_settings import may_write, namespace, settings
from orchestrator.errors import NetworkError, OrchestrateError
from orchestrator.matrix.schema_cache import CompileCacheSpec
from orchestrator.runs import compile_cache
from tests.unit.matrix.support import SMALL, planned, problems

if TYPE_CHECKING:
    from pathlib import Path


def spec(**values: Any) -> CompileCacheSpec:
    return CompileCacheSpec(**values)


def lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_one_namespace_for_each_project_toolkit_and_platform() -> None:
    (variant,) = planned(SMALL).variants
    assert namespace(spec(), "ghcr.io/acme/app", variant) == "app-cuda13.0.2-linux-amd64"
    other = replace(variant, cuda_version="12.9.1", platform="linux/arm64")
    assert namespace(spec(namespace="a b"), "x", other) == "a-b-cuda12.9.1-linux-arm64"


def test_settings_of_each_backend() -> None:
    found = lines(settings(spec(size="5G"), "ns", {"AWS_SECRET_ACCESS_KEY": "not for a mount"}))
    assert found == {
        "COMPILE_CACHE_TOOL": "sccache", "COMPILE_CACHE_BACKEND": "mount", "SCCACHE_CACHE_SIZE": "5G"
    }  # fmt: skip
    env = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "a=b", "HOME": "/root"}
    found = lines(settings(spec(backend="s3", bucket="b", region="r", write="never"), "ns", env))
    assert found["SCCACHE_S3_KEY_PREFIX"] == "ns"
    assert found["AWS_SECRET_ACCESS_KEY"] == "a=b"
    assert found["SCCACHE_S3_RW_MODE"] == "READ_ONLY"
    assert "HOME" not in found
    assert "SCCACHE_ENDPOINT" not in found
    found = lines(settings(spec(backend="redis", endpoint="redis://h:1"), "ns", {}))
    assert found["SCCACHE_REDIS_KEY_PREFIX"] == "ns/"
    assert lines(settings(spec(backend="gha"), "ns", {"ACTIONS_RUNTIME_TOKEN": "t"}))["ACTIONS_RUNTIME_TOKEN"] == "t"
    assert lines(settings(spec(backend="webdav", endpoint="http://h"), "ns", {}))["SCCACHE_WEBDAV_KEY_PREFIX"] == "/ns"
    assert lines(settings(spec(tool="ccache", write="never"), "ns", {}))["CCACHE_READONLY"] == "true"


def test_a_value_with_a_newline_sets_no_second_variable() -> None:
    env = {"SCCACHE_REDIS_PASSWORD": "a\nSCCACHE_DIR=/etc"}
    assert "SCCACHE_DIR" not in settings(spec(backend="redis", endpoint="redis://h"), "ns", env)


def test_who_may_write(tmp_path: Path) -> None:
    def github(name: str, **more: str) -> dict[str, str]:
        return {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": name, **more}

    def event(head: str) -> dict[str, str]:
        path = tmp_path / f"{head}.json"
        content = {"pull_request": {"number": 7, "head": {"repo": {"full_name": f"{head}/app"}}}}
        path.write_text(json.dumps({**content, "repository": {"full_name": "acme/app"}}))
        return github("pull_request", GITHUB_EVENT_PATH=str(path), GITHUB_REPOSITORY="acme/app")

    trusted = spec()
    assert may_write(trusted, {})
    assert may_write(trusted, github("push"))
    assert may_write(trusted, event("acme"))
    assert not may_write(trusted, event("mallory"))
    assert not may_write(trusted, github("pull_request"))
    assert not may_write(trusted, github("issue_comment"))
    assert not may_write(trusted, github("push", ACTIONS_CACHE_MODE="read"))
    assert may_write(spec(write="always"), event("mallory"))
    assert not may_write(spec(write="never"), {})


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{}", ""),
        ("{tool: ccache, backend: s3, bucket: b}", "ccache works with backend: mount alone, found s3"),
        ("{size: 20}", "size is invalid: expected a number with K, M, G or T, as in 20G, found 20"),
        ("{backend: s3}", "bucket is missing: backend s3 needs it"),
        ("{backend: redis}", "endpoint is missing: backend redis needs it"),
        ("{bucket: b}", "bucket goes with backend s3, not with mount"),
        ("{backend: redis, endpoint: 'redis://u:p@h'}", "endpoint holds credentials"),
        ("{backnd: s3}", "did you mean backend?"),
        ("{targets: [ap]}", "unknown target ap"),
    ],
)  # fmt: skip
def test_faults_of_the_section(section: str, said: str) -> None:
    found = problems(f"{SMALL}compile_cache: {section}\n")
    assert len(found) == bool(said), found
    assert all(said in one and one.startswith("matrix.yaml:") for one in found)


def test_a_variant_gets_context_argument_and_secret_and_the_bake_file_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "program"
    tool.write_bytes(b"elf")
    monkeypatch.setattr(compile_tool, "default_root", lambda: tmp_path / "store")
    monkeypatch.setattr(compile_tool, "program", lambda *_, **__: tool)
    monkeypatch.setenv("SCCACHE_REDIS_PASSWORD", "hunter2")
    section = "{backend: redis, endpoint: 'redis://h', fixed_cccl_namespaces: true}"
    plan = planned(f"{SMALL}compile_cache: {section}\n")
    (variant,) = plan.variants
    before = {variant.id: Extras(args={"A": "1"}, contexts={"x": "y"})}
    extras = compile_cache.with_compile_cache(plan, before, fetch=True, warn=pytest.fail)[variant.id]
    file = render(plan, variant, {"app": {"secret": ["id=compile-cache,src=old"]}}, extras=extras)
    assert file.definition["args"] == {
        "A": "1", "COMPILE_CACHE_ID": "app-cuda13.0.2-linux-amd64", "COMPILE_CACHE_FIXED_CCCL": "1"
    }  # fmt: skip
    assert file.definition["secret"] == ["id=compile-cache,env=ORCHESTRATE_COMPILE_CACHE"]
    assert "hunter2" not in file.text + repr(extras)
    assert "hunter2" in extras.env["ORCHESTRATE_COMPILE_CACHE"]
    folder = file.definition["contexts"]["compile-cache"]
    assert {path.name for path in (tmp_path / "store").glob("contexts/*/*")} == {"run", "launcher.sh", "sccache"}
    assert folder.startswith(str(tmp_path / "store"))


@pytest.mark.parametrize("error", [NetworkError("no index"), OSError(28, "No space left on device")])
def test_without_the_program_the_build_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OrchestrateError | OSError
) -> None:
    def fail(*_: object, **__: object) -> Path:
        raise error

    monkeypatch.setattr(compile_tool, "default_root", lambda: tmp_path)
    monkeypatch.setattr(compile_tool, "program", fail)
    told: list[str] = []
    plan = planned(f"{SMALL}compile_cache: {{}}\n")
    extras = compile_cache.with_compile_cache(plan, {}, fetch=True, warn=told.append)
    assert len(told) == 1
    assert "linux/amd64 is built without it" in told[0]
    assert {path.name for path in tmp_path.glob("contexts/*/*")} == {"run", "launcher.sh"}
    assert extras[plan.variants[0].id].args


def test_without_the_section_nothing_is_added() -> None:
    plan = planned(SMALL)
    assert compile_cache.with_compile_cache(plan, {}, fetch=True, warn=pytest.fail) == {}


def test_a_program_of_another_content_is_not_taken(tmp_path: Path) -> None:
    wheel = compile_tool.WHEELS["linux/amd64"]
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / wheel.program).write_bytes(b"something else")
    with pytest.raises(OrchestrateError, match="was not found"):
        compile_tool.program(tmp_path, "linux/amd64", fetch=False)
    with pytest.raises(OrchestrateError, match="no wheel for linux/riscv64"):
        compile_tool.program(tmp_path, "linux/riscv64", fetch=True)
