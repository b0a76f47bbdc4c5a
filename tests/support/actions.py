"""GitHub Actions, run locally as a runner would: expressions, `env:`, `if:`, `needs`, outputs, matrices, composites.

Everything is read from the YAML. An expression, a key or an action that this does not know fails the test: what is not
evaluated cannot be said to work. The rules are those of docs.github.com (workflow syntax, contexts, expressions).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Values = Mapping[str, Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][\w-]*)"
    r"|(?P<sign>&&|\|\||==|!=|[!().,\[\]*<>]))"
)
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_STEP_KEYS = {"id", "name", "uses", "with", "run", "shell", "env", "if", "working-directory", "continue-on-error"}
_JOB_KEYS = {
    "name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "outputs", "env", "strategy", "steps",
    "concurrency", "environment",
}  # fmt: skip
_WORKFLOW_KEYS = {"name", "on", True, "permissions", "concurrency", "jobs"}  # YAML 1.1 reads `on` as true
_MACHINE = (
    "PATH", "HOME", "LANG", "DOCKER_", "PIP_", "ORCHESTRATE_", "XDG_", "SSL_", "REQUESTS_", "http", "HTTP", "no_proxy",
    "NO_PROXY", "COVERAGE",
)  # fmt: skip
"""How variables begin that lead a step to this machine's programs, engine and package index."""
_FROM_CONTEXT = ("GITHUB_REPOSITORY", "GITHUB_REF_NAME", "GITHUB_REF_TYPE", "GITHUB_BASE_REF", "GITHUB_EVENT_PATH")
"""Variables that say what the `github` context says."""


class UnknownError(AssertionError):
    """The YAML holds something that this runner does not evaluate."""


class ActionError(Exception):
    """An action of another repository fails its step."""


def truthy(value: Any) -> bool:
    """Whether an expression's value counts as true."""
    return bool(value) and value != 0


def text(value: Any) -> str:
    """A value as an expression writes it into text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: Any) -> float | None:
    """A value as GitHub makes it a number before it compares: null is 0, a text that is none is not a number."""
    if value is None or value == "":
        return 0
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def equal(left: Any, right: Any) -> bool:
    """`==`: texts without regard to case; what differs in type is compared as numbers."""
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if type(left) is type(right):
        return bool(left == right)
    numbers = _number(left), _number(right)
    return None not in numbers and numbers[0] == numbers[1]


_COMPLETE = ("inputs", "github", "secrets", "runner", "needs", "matrix", "job")
"""Contexts whose keys are all known here: another one is a mistake, and not null as it is for GitHub."""


@dataclass
class Expression:
    """One expression over contexts and the state of its job."""

    source: str
    contexts: Values
    failed: bool = False
    uses_status: bool = False
    tokens: list[tuple[str, str]] = field(default_factory=list)

    def value(self) -> Any:
        """Its value."""
        at = 0
        source = self.source.strip()
        while at < len(source):
            match = _TOKEN.match(source, at)
            if match is None:
                raise UnknownError(f"expression {self.source!r}: cannot read {source[at:]!r}")
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind]))
            at = match.end()
        found = self._or()
        if self.tokens:
            raise UnknownError(f"expression {self.source!r}: unexpected {self.tokens[0][1]!r}")
        return found

    def _next(self, sign: str) -> bool:
        if self.tokens and self.tokens[0] == ("sign", sign):
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._next(sign):
            raise UnknownError(f"expression {self.source!r}: expected {sign!r}")

    def _or(self) -> Any:
        value = self._and()
        while self._next("||"):
            other = self._and()
            value = value if truthy(value) else other
        return value

    def _and(self) -> Any:
        value = self._compared()
        while self._next("&&"):
            other = self._compared()
            value = other if truthy(value) else value
        return value

    def _compared(self) -> Any:
        value = self._not()
        if self._next("=="):
            return equal(value, self._not())
        if self._next("!="):
            return not equal(value, self._not())
        return value

    def _not(self) -> Any:
        if self._next("!"):
            return not truthy(self._not())
        return self._primary()

    def _primary(self) -> Any:
        if self._next("("):
            value = self._or()
            self._expect(")")
            return value
        if not self.tokens:
            raise UnknownError(f"expression {self.source!r}: ends too early")
        kind, word = self.tokens.pop(0)
        if kind == "string":
            return word[1:-1].replace("''", "'")
        if kind == "number":
            return float(word)
        if kind != "word":
            raise UnknownError(f"expression {self.source!r}: unexpected {word!r}")
        if self._next("("):
            return self._members(self._call(word), word, known=False)
        if word in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[word]
        if word not in self.contexts:
            raise UnknownError(f"expression {self.source!r}: unknown context {word}")
        return self._members(self.contexts[word], word, known=word in _COMPLETE)

    def _members(self, value: Any, word: str, *, known: bool) -> Any:
        """What `.name` and `[…]` lead to; in a context that is complete the first name must be there."""
        while self.tokens:
            if self._next("."):
                key = self.tokens.pop(0)[1]
            elif self._next("["):
                key = self._or()
                self._expect("]")
            else:
                break
            if known and key not in value:
                raise UnknownError(f"expression {self.source!r}: {word} has no {key!r}")
            known = False
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def _call(self, name: str) -> Any:
        given = []
        while not self._next(")"):
            given.append(self._or())
            self._next(",")
        if name in ("success", "failure", "always", "cancelled"):
            self.uses_status = True
        functions: dict[str, Callable[..., Any]] = {
            "success": lambda: not self.failed,
            "failure": lambda: self.failed,
            "always": lambda: True,
            "cancelled": lambda: False,
            "fromJSON": json.loads,
            "toJSON": lambda value: json.dumps(value, indent=2),
            "format": lambda form, *values: re.sub(r"\{(\d+)\}", lambda match: text(values[int(match[1])]), form),
            "contains": lambda where, what: what in where if isinstance(where, list) else text(what) in text(where),
            "startsWith": lambda value, start: text(value).lower().startswith(text(start).lower()),
        }
        if name not in functions:
            raise UnknownError(f"expression {self.source!r}: unknown function {name}")
        return functions[name](*given)


def filled(value: Any, contexts: Values) -> Any:
    """A value of the YAML with its expressions evaluated; one that is a single expression keeps its type."""
    if isinstance(value, Mapping):
        return {key: filled(one, contexts) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, contexts) for one in value]
    if not isinstance(value, str):
        return value
    if (match := _EXPRESSION.fullmatch(value.strip())) and match[1].count("${{") == 0:
        return Expression(match[1], contexts).value()
    return _EXPRESSION.sub(lambda match: text(Expression(match[1], contexts).value()), value)


def condition(given: Any, contexts: Values, *, failed: bool) -> bool:
    """Whether an `if:` lets a step or job run; without a status function it asks for success."""
    if given is None:
        return not failed
    source = text(given).strip()
    whole = _EXPRESSION.fullmatch(source)
    expression = Expression(whole[1] if whole else source, contexts, failed=failed)
    value = truthy(expression.value())
    return value and (expression.uses_status or not failed)


_TYPES: dict[str, Any] = {"boolean": bool, "string": str, "number": (int, float)}


def _inputs(declared: Values, given: Values) -> dict[str, Any]:
    """The `inputs` context; a value of another type than declared is refused, as GitHub refuses it."""
    if unknown := set(given) - set(declared):
        raise UnknownError(f"unexpected inputs {sorted(unknown)}")
    found = {name: given.get(name, one.get("default", "")) for name, one in declared.items()}
    for name, value in found.items():
        kind = declared[name].get("type", "string")
        if not isinstance(value, _TYPES[kind]) or (kind == "number" and isinstance(value, bool)):
            raise UnknownError(f"input {name}: {value!r} is no {kind}")
    return found


@dataclass
class Result:
    """How a job or a composite action ended.

    Attributes:
        outputs: Its outputs.
        failed: Whether a step failed.
        log: What its steps printed.
        ran: The steps that ran.
        name: The job's name.
        runner: What a job asks for in `runs-on`.
        job: The job's key.
        group: Its concurrency group.
    """

    outputs: dict[str, str]
    failed: bool
    log: str
    ran: list[str]
    name: str = ""
    runner: str = ""
    job: str = ""
    group: str = ""


@dataclass
class Runner:
    """A runner: a checkout, an environment, and files that its actions share.

    Attributes:
        workspace: Where `run:` steps run.
        temporary: RUNNER_TEMP.
        github: The `github` context; `event` holds the event's payload.
        secrets: The `secrets` context.
        env: Environment of every step, beside what GitHub and this machine give.
        artifacts: Where upload-artifact puts files.
        actions: Stand-ins for actions of other repositories, by name without the commit.
        job: What the `job` context says of the workflow's own repository.
        token: The token that a job gets, by its permissions.
        cleaned: Called before each job: every job has a machine of its own.
        only: The one job that runs, with what `given_needs` says of those before it; "" for all.
        outputs: The outputs of the workflow that ran last.
    """

    workspace: Path
    temporary: Path
    github: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    artifacts: Path = Path()
    actions: dict[str, Callable[[Runner, Values], dict[str, str]]] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)
    token: Callable[[Values], str] = lambda _permissions: ""
    cleaned: Callable[[Runner], None] = lambda _runner: None
    only: str = ""
    given_needs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def workflow(self, read: Mapping[Any, Any], given: Values, *, event: str = "workflow_dispatch") -> list[Result]:
        """Run every job of a workflow in the order of `needs`, one for each row of its matrix.

        Args:
            read: The workflow's YAML.
            given: Its inputs, as a caller's `with:` or the button gives them.
            event: workflow_dispatch or workflow_call.
        """
        if unknown := set(read) - _WORKFLOW_KEYS:
            raise UnknownError(f"unknown keys {sorted(map(str, unknown))}")
        inputs = _inputs(read[True][event].get("inputs", {}), given)
        declared = (read[True].get("workflow_call") or {}).get("secrets", self.secrets)
        if unknown := set(self.secrets) - set(declared) - {"GITHUB_TOKEN"}:
            raise UnknownError(f"unexpected secrets {sorted(unknown)}")
        secrets = {**dict.fromkeys(declared, ""), **self.secrets}  # one that is not given is empty
        base = {"inputs": inputs, "secrets": secrets, "job": self.job}
        filled(read.get("concurrency"), {**base, "github": self.github})
        results: list[Result] = []
        needs: dict[str, Any] = dict(self.given_needs)
        before: dict[str, set[str]] = {}
        for identity, job in read["jobs"].items():  # in the file's order, which `needs` must allow
            names = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            if self.only not in ("", identity):
                continue
            permissions = job.get("permissions", read.get("permissions", {}))
            github = {**self.github, "token": self.token(permissions)}
            here = {**base, "github": github, "needs": {name: needs[name] for name in names}}
            # success() asks every job on the way to this one, and one that was skipped has not succeeded
            before[identity] = {other for name in names for other in (name, *before.get(name, ()))}
            failed = any(needs[name]["result"] != "success" for name in before[identity])
            if not condition(job.get("if"), here, failed=failed):
                needs[identity] = {"outputs": {}, "result": "skipped"}
                continue
            strategy = filled(job.get("strategy", {}), here)
            rows = strategy["matrix"]["include"] if strategy else [{}]
            ran = [self._job(identity, job, {**here, "matrix": row} if strategy else here) for row in rows]
            result = "failure" if any(one.failed for one in ran) else "success"
            needs[identity] = {"outputs": ran[-1].outputs if ran else {}, "result": result}
            results += ran
        if not self.only:
            jobs = {"jobs": {name: {"outputs": one["outputs"]} for name, one in needs.items()}}
            declared = (read[True].get("workflow_call") or {}).get("outputs", {})
            self.outputs = {name: text(filled(one["value"], jobs)) for name, one in declared.items()}
        return results

    def _job(self, identity: str, job: Values, contexts: Values) -> Result:
        if unknown := set(job) - _JOB_KEYS:
            raise UnknownError(f"job {identity}: unknown keys {sorted(unknown)}")
        contexts = {**contexts, "runner": self._runner()}
        limit = filled(job["timeout-minutes"], contexts)
        assert isinstance(limit, (int, float)), f"job {identity}: timeout-minutes is {limit!r}"
        self.cleaned(self)
        group = filled(job.get("concurrency"), contexts)
        ran = self._steps(job["steps"], {**contexts, "env": filled(job.get("env") or {}, contexts)}, {})
        outputs = filled(job.get("outputs", {}), {**contexts, "steps": ran.steps})
        return Result(
            outputs={name: text(value) for name, value in outputs.items()}, failed=ran.failed, log=ran.log, ran=ran.ran,
            name=text(filled(job.get("name", identity), contexts)), runner=text(filled(job["runs-on"], contexts)),
            job=identity, group=text(group["group"]) if group else "",
        )  # fmt: skip

    def composite(self, folder: Path, given: Values) -> Result:
        """Run a composite action.

        Args:
            folder: The directory of its action.yml.
            given: Its inputs, as the caller's `with:`.
        """
        action = yaml.safe_load((folder / "action.yml").read_text(encoding="utf-8"))
        assert action["runs"]["using"] == "composite"
        unknown = set(given) - set(action["inputs"])
        if unknown:
            raise UnknownError(f"unexpected inputs {sorted(unknown)}")
        inputs = {name: text(given.get(name, one.get("default", ""))) for name, one in action["inputs"].items()}
        contexts = {"inputs": inputs, "github": {**self.github, "action_path": str(folder)}, "runner": self._runner()}
        result = self._steps(action["runs"]["steps"], contexts, {"GITHUB_ACTION_PATH": str(folder)})
        steps = {"steps": result.steps}
        values = {name: text(filled(one["value"], steps)) for name, one in action.get("outputs", {}).items()}
        return Result(outputs=values, failed=result.failed, log=result.log, ran=result.ran)

    def _runner(self) -> dict[str, str]:
        return {"os": "Linux", "arch": "X64", "temp": str(self.temporary)}

    def _steps(self, steps: list[dict[str, Any]], contexts: Values, extra: Values) -> _Ran:
        ran = _Ran()
        for index, step in enumerate(steps):
            if unknown := set(step) - _STEP_KEYS:
                raise UnknownError(f"step {index}: unknown keys {sorted(unknown)}")
            here = {**contexts, "steps": ran.steps, "env": contexts.get("env", {})}
            if not condition(step.get("if"), here, failed=ran.failed):
                continue
            ran.ran.append(str(step.get("name") or step.get("id") or step.get("uses") or step["run"]))
            if "uses" in step:
                try:
                    outputs = self._uses(step, filled(step.get("with", {}), here))
                except ActionError as error:
                    outputs, ran.failed, ran.log = {}, True, f"{ran.log}{error}\n"
            else:
                outputs, done = self._run(step, here, extra)
                ran.log += done.stdout
                if done.returncode and not step.get("continue-on-error"):
                    ran.failed = True
            if "id" in step:
                ran.steps[step["id"]] = {"outputs": outputs}
        return ran

    def _uses(self, step: Mapping[str, Any], given: Values) -> dict[str, str]:
        name = step["uses"].partition("@")[0]
        if name == "actions/setup-python":
            return {"python-path": sys.executable}
        if name not in self.actions:
            raise UnknownError(f"unknown action {step['uses']}")
        return self.actions[name](self, given)

    def _run(
        self, step: Mapping[str, Any], contexts: Values, extra: Values
    ) -> tuple[dict[str, str], subprocess.CompletedProcess[str]]:
        files = {name: self.temporary / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        files["GITHUB_OUTPUT"].write_text("")
        for path in files.values():
            path.touch()
        base = {name: value for name, value in os.environ.items() if name.startswith(_MACHINE)}
        given = {**contexts.get("env", {}), **filled(step.get("env") or {}, contexts)}
        own = {name: text(value) for name, value in given.items()}
        environment = {
            **base, **self.env, "CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.temporary), "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_EVENT_NAME": str(self.github.get("event_name", "")), "GITHUB_REF": str(self.github.get("ref", "")),
            "GITHUB_SHA": str(self.github.get("sha", "")), "RUNNER_ENVIRONMENT": "self-hosted",
            **{name: str(self.github[name.removeprefix("GITHUB_").lower()]) for name in _FROM_CONTEXT
               if name.removeprefix("GITHUB_").lower() in self.github},
            **{name: str(path) for name, path in files.items()}, **extra, **own,
        }  # fmt: skip
        assert step.get("shell", "bash") == "bash"
        folder = self.workspace / filled(step.get("working-directory", "."), contexts)
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", filled(step["run"], contexts)],
            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return _written(files["GITHUB_OUTPUT"]), done


@dataclass
class _Ran:
    steps: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    log: str = ""
    ran: list[str] = field(default_factory=list)


def _written(path: Path) -> dict[str, str]:
    """What a step wrote for its outputs: NAME=VALUE, or NAME<<WORD with the lines up to WORD."""
    found: dict[str, str] = {}
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if match := re.fullmatch(r"([\w-]+)<<(\S+)", line):
            block = []
            for inner in lines:
                if inner == match[2]:
                    break
                block.append(inner)
            found[match[1]] = "\n".join(block)
        else:
            name, sign, value = line.partition("=")
            assert sign, f"GITHUB_OUTPUT: {line!r}"
            found[name] = value
    return found


def upload(runner: Runner, given: Values) -> dict[str, str]:
    """actions/upload-artifact: copies files, hidden ones only where `include-hidden-files` says so."""
    folder = runner.artifacts / given["name"]
    if text(given.get("overwrite", "false")) == "true":
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    hidden = text(given.get("include-hidden-files", "false")) == "true"
    for line in given["path"].split():
        path = runner.workspace / line
        for file in [path] if path.is_file() else path.rglob("*"):
            below = file.relative_to(runner.workspace)
            if file.is_file() and (hidden or not any(part.startswith(".") for part in below.parts)):
                (folder / below).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / below)
    return {}


def download(runner: Runner, given: Values) -> dict[str, str]:
    """actions/download-artifact: one by name into a directory, those of a pattern into one each below it."""
    target = runner.workspace / given["path"]
    if "name" in given:
        if not (runner.artifacts / given["name"]).is_dir():
            raise ActionError(f"artifact {given['name']} was not found")
        shutil.copytree(runner.artifacts / given["name"], target, dirs_exist_ok=True)
        return {}
    for folder in sorted(runner.artifacts.glob(given["pattern"])):
        shutil.copytree(folder, target / folder.name)
    return {}


def nothing(_runner: Runner, _given: Values) -> dict[str, str]:
    """An action whose work is done already: the checkout is there, the engine answers."""
    return {}
