"""Which variants need no build: by the key that an image carries, whoever built it."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.file import Output
from orchestrator.engine import beyond
from orchestrator.errors import InterruptedRunError, NetworkError
from orchestrator.labels import KEY, PROMISE
from orchestrator.process import Completed
from orchestrator.registry.errors import NotFoundError
from orchestrator.registry.manifests import ATTESTATION, OCI_INDEX, Manifest, read
from orchestrator.registry.referrers import artifact
from orchestrator.runs import freshness, proof
from orchestrator.runs.freshness import Freshness
from orchestrator.runs.journal import Entry, Journal, bases
from orchestrator.runs.outcome import Outcome, Status, Steps
from orchestrator.runs.resume import Result, Resume, Wanted, key_of, key_tag
from tests.unit.runs.support import DIGEST

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.reference import Digest, Repository, Tag

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
REPO = "registry.lan/app"
PUSH = Output(push=True)


def image(key: str, *, salt: str = "", indexed: bool = True) -> Manifest:
    carried = {"annotations": {KEY: key}} if key else {}
    if not indexed:
        return read(json.dumps({"layers": [], "salt": salt, **carried}).encode())
    attestation = {"annotations": {ATTESTATION: "attestation-manifest"}, "salt": salt}
    return read(json.dumps({"mediaType": OCI_INDEX, "manifests": [carried, attestation]}).encode())


class Held:
    """A repository in memory."""

    def __init__(self, tags: dict[str, Manifest]) -> None:
        self.tags = tags
        self.asked: list[str] = []
        self.error: Exception | None = None

    def manifest(self, selector: Tag | Digest) -> Manifest:
        self.asked.append(str(selector))
        if self.error is not None:
            raise self.error
        for tag, manifest in self.tags.items():
            if str(selector) in {tag, str(manifest.digest)}:
                return manifest
        raise NotFoundError("none")

    def head(self, selector: Tag) -> Any:
        found = self.tags.get(str(selector))
        return found and found.descriptor

    def put_manifest(self, manifest: Manifest, selector: Tag) -> None:
        self.tags[str(selector)] = manifest

    def referrers(self, digest: Digest) -> tuple[Any, ...]:
        attached = [
            one for one in self.tags.values() if (one.content.get("subject") or {}).get("digest") == str(digest)
        ]
        return tuple(one.descriptor for one in attached)

    def prove(self, top: Manifest, promised: str) -> None:
        """Attach the statement that the image of a manifest was verified."""
        subject = proof.pushed_image(top)
        said = artifact(proof.KIND, annotations={PROMISE: promised}, subject=subject)
        self.tags[f"said-{len(self.tags)}"] = said

    def close(self) -> None:
        """Nothing is open."""


def wanted(*tags: str, key: str = A, **fields: Any) -> Wanted:
    names = tuple(f"{REPO}:{tag}" for tag in tags)
    return Wanted(id="v", key=key, tags=names, repositories={REPO: names}, **fields)


def decide(of: Wanted, held: Held, tmp_path: Path, *, output: Output = PUSH, changed: bool = False) -> tuple[str, Any]:
    def connect(_: Repository) -> Any:
        return held

    with Resume(output, changed=changed, connect=connect) as resume:
        found = resume.decide(of, Journal(tmp_path / "journal.jsonl"))
    return found.why, found.outcome


@pytest.mark.parametrize("indexed", [True, False])
def test_a_tag_that_carries_the_key_needs_no_journal(tmp_path: Path, indexed: bool) -> None:
    one = image(A, indexed=indexed)
    held = Held({"x": one, "y": one})
    why, outcome = decide(wanted("x", "y"), held, tmp_path)
    assert (why, outcome.status, outcome.digest) == ("", Status.SKIPPED, str(one.digest))
    assert held.asked == ["x", "y"]  # one request each


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, "registry.lan/app:x was not found in the registry"),
        ({"x": image(A)}, "registry.lan/app:y was not found in the registry"),
        ({"x": image(B), "y": image(A)}, "registry.lan/app:x was built from other inputs"),
        ({"x": image(""), "y": image(A)}, "registry.lan/app:x carries no content key"),
        ({"x": image(A), "y": image(A, salt="1")}, "its tags name 2 different digests"),
    ],
)
def test_what_is_built_again_says_why(tmp_path: Path, tags: dict[str, Manifest], said: str) -> None:
    assert decide(wanted("x", "y"), Held(tags), tmp_path) == (said, None)


def test_what_there_is_of_a_variant(tmp_path: Path) -> None:
    def result(held: Held, of: Wanted) -> Result:
        with Resume(PUSH, connect=lambda _: held) as resume:  # type: ignore[arg-type, return-value] # a repository in memory
            return resume.decide(of, Journal(tmp_path / "journal.jsonl")).result

    both = wanted("x", "y")
    assert result(Held({"x": image(A), "y": image(A)}), both) is Result.THERE
    assert result(Held({"x": image(A)}), both) is Result.OTHER
    assert result(Held({"y": image(B)}), both) is Result.OTHER
    assert result(Held({}), both) is Result.NONE
    assert result(Held({"x": image(A)}), wanted("x", stale=lambda _: "its base moved")) is Result.OTHER
    assert result(Held({"x": image(A)}), wanted("x", key="")) is Result.UNKNOWN


def test_what_cannot_be_decided_is_built(tmp_path: Path) -> None:
    held = Held({"x": image(A)})
    unknown = wanted("x", key="", unknown="the context is remote")
    assert decide(unknown, held, tmp_path)[0] == "its inputs are not known: the context is remote"
    held.error = NetworkError("no answer")
    assert decide(wanted("x"), held, tmp_path) == ("no answer", None)
    held.error = InterruptedRunError("stopped")
    with pytest.raises(InterruptedRunError):
        decide(wanted("x"), held, tmp_path)


def test_what_is_too_old_is_built(tmp_path: Path) -> None:
    of = wanted("x", stale=lambda entry: "its base moved" if entry is None else "")
    assert decide(of, Held({"x": image(A)}), tmp_path) == ("its base moved", None)


def test_changed_moves_the_tags_to_what_was_built_from_the_key(tmp_path: Path) -> None:
    old, new = image(A), image(B)
    held = Held({key_tag(A): old, "x": new, "z": old})
    why, outcome = decide(wanted("x", "z", unseen="not seen: curl"), held, tmp_path, changed=True)
    assert outcome.notes[-1] == "not seen: curl"
    assert (why, outcome.digest) == ("", str(old.digest))
    assert held.tags["x"] == old
    assert [note for note in outcome.notes if "names it" in note] == ["registry.lan/app:x now names it"]
    why, outcome = decide(wanted("x", key=B), held, tmp_path, changed=True)
    assert (why, outcome) == ("no image in registry.lan/app was built from these inputs", None)
    held.tags[key_tag(B)] = old
    assert "other inputs" in decide(wanted("x", key=B), held, tmp_path, changed=True)[0]


def test_changed_remembers_what_was_built(tmp_path: Path) -> None:
    assert not list(tmp_path.iterdir())
    held = Held({"x": image(A)})

    def connect(_: Repository) -> Any:
        return held

    digest = str(held.tags["x"].digest)
    assert Resume(PUSH, connect=connect).remember(wanted("x"), digest) == ""
    assert list(held.tags) == ["x"]
    assert Resume(PUSH, changed=True, connect=connect).remember(wanted("x"), digest) == ""
    assert held.tags[key_tag(A)] == held.tags["x"]
    held.error = NetworkError("no answer")
    assert "no answer" in Resume(PUSH, changed=True, connect=connect).remember(wanted("x"), digest)


def test_an_index_of_several_images_is_not_a_variant(tmp_path: Path) -> None:
    both = read(
        json.dumps({"mediaType": OCI_INDEX, "manifests": [{"annotations": {KEY: key}} for key in (A, A)]}).encode()
    )
    why, outcome = decide(wanted("x"), Held({"x": both}), tmp_path)
    assert (why, outcome) == ("registry.lan/app:x carries no content key", None)


def test_a_key_is_read_from_nothing_else() -> None:
    assert key_of(read(b'{"manifests": [1, {"annotations": []}], "annotations": 1}')) == ""


def archived(tmp_path: Path) -> tuple[Path, Output]:
    path = tmp_path / "v.tar"
    path.write_text("whole")
    found = path.stat()
    sha = hashlib.sha256(b"whole").hexdigest()
    outcome = Outcome(
        id="v", status=Status.BUILT, digest=DIGEST, size=5, mtime_ns=found.st_mtime_ns, sha256=sha, key=A, attempts=1
    )
    Journal(tmp_path / "journal.jsonl").add(outcome, key=A)
    return path, Output(directory=tmp_path)


def test_an_archive_is_known_by_its_time_and_else_by_its_content(tmp_path: Path) -> None:
    path, output = archived(tmp_path)
    held = Held({})
    assert decide(wanted(), held, tmp_path, output=output)[1].digest == DIGEST
    os.utime(path, ns=(1, 1))
    assert decide(wanted(), held, tmp_path, output=output)[1].digest == DIGEST
    path.write_text("other")
    assert "its content changed" in decide(wanted(), held, tmp_path, output=output)[0]
    path.write_text("cut")
    assert "expected 5 bytes, found 3" in decide(wanted(), held, tmp_path, output=output)[0]
    path.unlink()
    assert "was not found" in decide(wanted(), held, tmp_path, output=output)[0]
    path.write_text("whole")
    assert "not in the journal" in decide(wanted(key=B), held, tmp_path, output=output)[0]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([{"Id": DIGEST, "Descriptor": {"digest": DIGEST}, "Config": {"Labels": {KEY: A}}}], ""),
        ([{"Id": DIGEST, "Config": {"Labels": {KEY: A}}}], ""),  # the classic image store knows no manifest
        ([{"Id": DIGEST, "Config": {"Labels": {KEY: B}}}], "registry.lan/app:x was built from other inputs"),
        ([{"Id": DIGEST, "Config": {"Labels": None}}], "registry.lan/app:x carries no content key"),
        ([], "the engine does not have all of its tags"),
        (None, "the engine's answer is not readable"),
        (3, "the engine's answer is not readable"),
    ],
)
def test_what_the_engine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Any, said: str) -> None:
    def answer(names: list[str]) -> Completed:
        assert list(names) == [f"{REPO}:x"]
        return Completed(argv=("docker",), returncode=0, stdout=json.dumps(images), stderr="")

    monkeypatch.setattr(beyond, "inspect_images", answer)
    why, outcome = decide(wanted("x"), Held({}), tmp_path, output=Output(load=True))
    assert why == said
    assert (outcome is None) == bool(said)
    assert decide(wanted(), Held({}), tmp_path, output=Output(load=True))[0].startswith("has no tags")


def test_an_image_that_was_made_from_the_one_that_was_built_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"Id": DIGEST, "Config": {"Labels": {KEY: A}}}
    monkeypatch.setattr(
        beyond,
        "inspect_images",
        lambda _: Completed(argv=("docker",), returncode=0, stdout=json.dumps([held]), stderr=""),
    )
    journal = Journal(tmp_path / "journal.jsonl")
    said = []
    for digest in (B, DIGEST, B):  # one of the builds is enough: another output of the same inputs has another digest
        journal.add(Outcome(id="v", status=Status.BUILT, digest=digest, key=A, attempts=1), key=A)
        said.append(decide(wanted("x"), Held({}), tmp_path, output=Output(load=True))[0])
    assert said == ["registry.lan/app:x is another image than the one that was built here", "", ""]


def entry(at: str = "2026-01-01T00:00:00+00:00", **fields: Any) -> Entry:
    return Entry(
        id="v", key=A, status=Status.BUILT, digest=DIGEST, tags=(), attempts=1, seconds=1, steps=Steps(), peak=0, at=at,
        **fields,
    )  # fmt: skip


def test_a_base_that_moved_makes_a_result_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    live = {"base": A}
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return live.get(name, "")

    monkeypatch.setattr(freshness, "_registry", ask)
    built = entry(bases={"docker.io/library/base:latest": A})
    question = Freshness()
    assert [question.stale(["base"], built) for _ in "ab"] == ["", ""]
    assert asked == ["base"]
    live["base"] = B
    assert Freshness().stale(["base"], built) == "its base base moved from sha256:aaaaaaaaaaaa to sha256:bbbbbbbbbbbb"
    assert Freshness(offline=True).stale(["base"], built) == ""
    live.clear()
    assert Freshness().stale(["base"], built) == ""  # a registry that does not answer moves nothing


def test_an_age_is_a_limit_where_it_is_known() -> None:
    old = entry()
    assert Freshness().stale([], old) == ""
    assert Freshness(max_age_s=1e12).stale([], old) == ""
    assert "--max-age" in Freshness(max_age_s=60).stale([], old)
    assert "--max-age" in Freshness(max_age_s=60).stale([], None)


def test_a_base_that_could_not_be_compared_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    live = {"base": A}
    monkeypatch.setattr(freshness, "_registry", lambda name: live.get(name, ""))
    built = entry(bases={"docker.io/library/base:latest": A})
    assert Freshness().uncompared(["base"], built) == ""
    said = "not known whether these moved since it was built: base, other"
    assert Freshness().uncompared(["base", "other"], None) == said  # a machine that did not build it
    assert Freshness(offline=True).uncompared(["base"], built).endswith(": base")
    live.clear()
    assert Freshness().uncompared(["base"], built).endswith(": base")
    assert Freshness().uncompared([], None) == ""


def test_a_result_is_as_old_as_the_build_that_made_it(tmp_path: Path) -> None:
    """The last build of the same inputs may have gone elsewhere, or have made another image."""
    one, two = image(A), image(A, salt="2")
    journal = Journal(tmp_path / "journal.jsonl")
    for made in (one, two):
        journal.add(Outcome(id="v", status=Status.BUILT, digest=str(made.digest), key=A, attempts=1), key=A)
    asked: list[str | None] = []

    def stale(entry: Entry | None) -> str:
        asked.append(entry.digest if entry is not None else None)
        return ""

    of = wanted("x", stale=stale, uncompared=lambda entry: "" if entry is not None else "not known")
    notes = [decide(of, Held({"x": found}), tmp_path)[1].notes for found in (one, two, image(A, salt="3"))]
    assert asked == [str(one.digest), str(two.digest), None]
    assert [found[-1] for found in notes if found[-1] == "not known"] == ["not known"]
    assert " at " not in notes[2][0]


def test_an_age_that_is_yet_to_come_is_none() -> None:
    ahead = entry(at="2999-01-01T00:00:00+00:00")
    assert "its age is not known" in Freshness(max_age_s=60).stale([], ahead)
    assert Freshness().stale([], ahead) == ""


def test_bases_are_read_from_provenance() -> None:
    found = bases(
        {
            "buildx.build.provenance": {
                "materials": [
                    {
                        "uri": "pkg:docker/127.0.0.1%3A5000/base@1?platform=linux%2Famd64",
                        "digest": {"sha256": "a" * 64},
                    },
                    {"uri": "https://github.com/a/b", "digest": {"sha1": "b"}},
                ]
            }
        }
    )
    assert found == {"127.0.0.1:5000/base:1": A}
    for odd in (None, {}, {"buildx.build.provenance": None}, {"buildx.build.provenance": {"materials": 3}}):
        assert bases(odd) == {}


UNPROVEN = f"nothing in {REPO} says that it was verified for what is promised now"


@pytest.mark.parametrize("changed", [False, True])
def test_what_was_not_verified_for_this_promise_is_built_again(tmp_path: Path, changed: bool) -> None:
    one = image(A, indexed=False)
    held = Held({"x": one, key_tag(A): one})
    of = wanted("x", promised="sha256:p")
    assert decide(of, held, tmp_path, changed=changed) == (UNPROVEN, None)
    held.prove(one, "sha256:other")
    held.prove(image(A, indexed=False, salt="1"), "sha256:p")
    assert decide(of, held, tmp_path, changed=changed) == (UNPROVEN, None)
    held.prove(one, "sha256:p")
    assert decide(of, held, tmp_path, changed=changed)[1].digest == str(one.digest)


def test_the_tags_of_an_image_that_was_not_verified_stay_where_they_are(tmp_path: Path) -> None:
    held = Held({"x": image(B, indexed=False), key_tag(A): image(A, indexed=False)})
    before = dict(held.tags)
    assert decide(wanted("x", promised="sha256:p"), held, tmp_path, changed=True)[1] is None
    assert held.tags == before


@pytest.mark.parametrize("output", [Output(load=True), Output(directory=None), Output()])
def test_only_a_registry_says_that_something_was_verified(tmp_path: Path, output: Output) -> None:
    said = ("whether what is there was verified is not known", None)
    assert decide(wanted("x", promised="sha256:p"), Held({}), tmp_path, output=output) == said


def test_a_variant_without_tags_is_found_by_the_digest_of_the_journal(tmp_path: Path) -> None:
    one = image(A, indexed=False)
    held = Held({"any": one})
    of = wanted(promised="")
    assert decide(of, held, tmp_path) == ("has no tags, and its digest is not in the journal", None)
    built = Outcome(id="v", status=Status.BUILT, digest=str(one.digest), key=A, attempts=1)
    Journal(tmp_path / "journal.jsonl").add(built, key=A)
    assert decide(of, held, tmp_path)[1].digest == str(one.digest)
    assert decide(wanted(promised="sha256:p"), held, tmp_path) == (UNPROVEN, None)
    held.prove(one, "sha256:p")
    assert decide(wanted(promised="sha256:p"), held, tmp_path)[1].digest == str(one.digest)
    assert decide(of, Held({}), tmp_path) == (f"{one.digest} was not found in the registry", None)


def test_a_result_that_goes_nowhere_is_known_from_the_journal(tmp_path: Path) -> None:
    nowhere = Output()
    assert decide(wanted("x"), Held({}), tmp_path, output=nowhere) == ("was not built from these inputs here", None)
    built = Outcome(id="v", status=Status.BUILT, digest=DIGEST, key=A, attempts=1, size=7)
    Journal(tmp_path / "journal.jsonl").add(built, key=A)
    found = decide(wanted("x"), Held({}), tmp_path, output=nowhere)[1]
    assert (found.status, found.digest, found.key, found.tags, found.size) == (Status.SKIPPED, DIGEST, A, (), 7)
    (note,) = found.notes
    assert note.startswith("built from the same inputs at 20")
    assert note.endswith("; not built again (--resume)")


def test_repositories_that_hold_different_images_of_a_key(tmp_path: Path) -> None:
    other = "registry.lan/other"
    stores = {REPO: Held({key_tag(A): image(A)}), other: Held({key_tag(A): image(A, salt="1")})}
    of = Wanted(id="v", key=A, tags=(), repositories={REPO: (), other: ()})
    with Resume(PUSH, changed=True, connect=lambda one: stores[str(one)]) as resume:  # type: ignore[arg-type, return-value] # repositories in memory
        assert (
            resume.decide(of, Journal(tmp_path / "j")).why == "its repositories hold different images of these inputs"
        )
        stores[other].tags = dict(stores[REPO].tags)
        found = resume.decide(of, Journal(tmp_path / "j")).outcome
    assert found is not None
    assert found.notes == ("built from the same inputs; not built again (--changed)",)


def test_what_changed_is_told_where_nothing_was_built_from_these_inputs(tmp_path: Path) -> None:
    of = wanted("x", since=lambda _: "since then https://u:hunter2@h changed")
    why = decide(of, Held({}), tmp_path)[0]
    assert why.startswith("registry.lan/app:x was not found in the registry; since then ")
    assert "hunter2" not in why
    Journal(tmp_path / "journal.jsonl").add(Outcome(id="v", status=Status.BUILT, key=A, attempts=1), key=A)
    assert decide(of, Held({}), tmp_path)[0] == "registry.lan/app:x was not found in the registry"
