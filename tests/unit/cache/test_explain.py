"""Why a step ran: what changed between two sets of inputs, and which of it the step would see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.cache.contents import Entry, Kind, Listing
from orchestrator.cache.explain import What, causes, ranked, sentence, told
from orchestrator.cache.keys import Inputs, Member
from orchestrator.cache.records import Records

if TYPE_CHECKING:
    from pathlib import Path

FILES = (Entry("src", Kind.DIRECTORY, 0o755), Entry("src/a", Kind.FILE, 0o644, "1"), Entry("b", Kind.FILE, 0o644, "1"))
MEMBER = Member(
    args={"ARCHS": "8.0", "FLASHINFER_BUNDLE_DIGEST": "sha256:1"},
    settings={"label x": "1"},
    contexts={"": "sha256:1", "tools": "docker-image://tools:1"},
    dockerfile=((1, "FROM base"), (2, "COPY src /src"), (5, "RUN make ${ARCHS}")),
    path="Dockerfile",
)
LISTING = Listing(entries=FILES, git="1", ignored_by=".dockerignore", rules="1")
OLD = Inputs(members={"": MEMBER, "lib": MEMBER}, listings={("", ""): LISTING})
COPY, RUN = "[stage 2/3] COPY src /src", "[stage 3/3] RUN make 8.0 9.0"


def with_member(**fields: Any) -> Inputs:
    return replace(OLD, members={**OLD.members, "": replace(MEMBER, **fields)})


def with_files(**fields: Any) -> Inputs:
    return replace(OLD, listings={("", ""): replace(LISTING, **fields)})


def with_listing(place: tuple[str, str]) -> Inputs:
    """A file of one more context changed since `OLD`, which has it too."""
    return replace(OLD, listings={place: replace(LISTING, entries=changed(Entry("b", Kind.FILE, 0o644, "2")))})


def changed(*entries: Entry) -> tuple[Entry, ...]:
    return tuple({entry.path: entry for entry in (*FILES, *entries)}.values())


@pytest.mark.parametrize(
    ("new", "step", "said"),
    [
        (with_member(args={**MEMBER.args, "ARCHS": "8.0 9.0"}), RUN, "argument ARCHS changed: '8.0' -> '8.0 9.0'"),
        (with_member(args={"ARCHS": "8.0"}), RUN, "the FlashInfer bundle changed: 'sha256:1' -> not given"),
        (with_member(settings={}), RUN, "label x changed: '1' -> not given"),
        (
            with_member(dockerfile=(*MEMBER.dockerfile[:2], (6, "RUN make all"))),
            RUN,
            "Dockerfile:6 changed: RUN make ${ARCHS} -> RUN make all",
        ),
        (
            with_member(dockerfile=(*MEMBER.dockerfile[:2], (4, "ENV A=1"), *MEMBER.dockerfile[2:])),
            RUN,
            "Dockerfile:4 changed: ENV A=1 is new",
        ),
        (
            with_member(contexts={**MEMBER.contexts, "tools": "docker-image://tools:2"}),
            COPY,
            "context tools changed: 'docker-image://tools:1' -> 'docker-image://tools:2'",
        ),
        (with_files(entries=changed(Entry("src/a", Kind.FILE, 0o644, "2"))), COPY, "src/a changed"),
        (
            with_files(entries=changed(Entry("src/a", Kind.FILE, 0o664, "1"))),
            COPY,
            "the mode of src/a changed: 644 -> 664",
        ),
        (with_files(entries=changed(Entry("src/a", Kind.LINK, 0o777, "x"))), COPY, "src/a was a file and is a link"),
        (with_files(entries=changed(Entry("src/e", Kind.DIRECTORY, 0o755))), COPY, "src/e is new"),
        (with_files(entries=changed(Entry("src/e\nerror: \x1b[2J", Kind.FILE, 0o644))), COPY, "src/eerror:  is new"),
        (with_files(entries=FILES[:1]), COPY, "src/a is gone"),
        (with_files(git="2"), COPY, ".git is sent with the context and changed: list it in .dockerignore"),
        (with_files(state=True), COPY, ".orchestrate is sent"),
        (with_files(rules="2", entries=FILES[:1]), COPY, ".dockerignore changed"),
        (
            replace(OLD, members={**OLD.members, "lib": replace(MEMBER, args={})}),
            RUN,
            "linked target lib: argument ARCHS",
        ),
        (replace(OLD, members={"": MEMBER}), RUN, "the linked target lib is gone"),
        (with_listing(("lib", "src")), RUN, "linked target lib: context src: b changed"),
        (with_listing(("lib", "")), RUN, "linked target lib: b changed"),
        (with_listing(("", "src")), RUN, "context src: b changed"),
        (replace(OLD, members={**OLD.members, "more": MEMBER}), RUN, "the linked target more is new"),
    ],
)
def test_each_change_is_named(new: Inputs, step: str, said: str) -> None:
    old = replace(OLD, listings=dict.fromkeys((*OLD.listings, *new.listings), LISTING))
    assert said in sentence(step, causes(old, new), last="2026-01-01")


def test_what_the_step_sees_comes_first() -> None:
    both = replace(
        with_member(args={**MEMBER.args, "ARCHS": "8.0 9.0"}),
        listings={
            ("", ""): replace(LISTING, entries=changed(*(Entry(p, Kind.FILE, 0o644, "2") for p in ("b", "src/a"))))
        },
    )
    found = causes(OLD, both)
    assert next(cause.subject for cause in ranked(COPY, found)) == "src/a"
    assert next(cause.subject for cause in ranked(RUN, found)) == "ARCHS"
    assert sentence(COPY, found, last="x").endswith("COPY src /src ran because src/a changed (and 2 more)")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("[app 1/2] COPY --from=Src b /b", "context src: b changed (and 3 more)"),
        ("[app 1/2] COPY --chown=0:0 b /b", "b changed"),
        ("[app 1/2] COPY --from=tools x /x", "context tools changed: 'docker-image://tools:1' -> 'target:lib'"),
        ("[app 1/2] COPY --from=base x /x", "context tools changed"),
        ("[app 1/2] RUN --mount=type=bind,from=src,target=/x make", "context src: b changed"),
        ("[app 1/2] RUN --mount=target=/x make", "b changed"),
        ("[app 1/2] RUN --mount=type=bind,source=./b,target=/x make", "b changed"),
        ("[app 1/2] RUN --mount=type=bind,source=lib,target=/x make", "argument ARCHS changed"),
        ("[app 1/2] RUN --mount=type=cache,target=/b make", "argument ARCHS changed"),
        ("[app 1/2] ADD other /other", "context tools changed"),
    ],
)
def test_only_files_that_a_step_can_take_come_before_other_changes(step: str, said: str) -> None:
    edited = replace(LISTING, entries=changed(Entry("b", Kind.FILE, 0o644, "2")))
    old = replace(OLD, listings={("", ""): LISTING, ("", "src"): LISTING})
    new = replace(
        with_member(args={**MEMBER.args, "ARCHS": "8.0 9.0"}, contexts={**MEMBER.contexts, "tools": "target:lib"}),
        listings={("", ""): edited, ("", "src"): edited},
    )
    assert f"ran because {said}" in sentence(step, causes(old, new), last="x")


def test_what_a_step_cannot_take_comes_last() -> None:
    new = replace(
        with_member(args={**MEMBER.args, "ARCHS": "8.0 9.0"}),
        listings={("", ""): replace(LISTING, entries=changed(Entry("b", Kind.FILE, 0o644, "2")), git="2", state=True)},
    )
    found = causes(OLD, new)
    places = {what: [cause.what for cause in ranked(what, found)] for what in (COPY, "[app 1/2] COPY . /src")}
    assert places[COPY][0] is What.ARGUMENT
    assert places[COPY][-1] is What.STATE
    assert places["[app 1/2] COPY . /src"] == [What.FILE, What.GIT, What.STATE, What.ARGUMENT]


def test_a_file_of_a_linked_target_explains_a_step_that_copies_from_its_result() -> None:
    edited = replace(LISTING, entries=changed(Entry("f", Kind.FILE, 0o644, "2")))
    old = replace(OLD, listings={("", ""): LISTING, ("lib", ""): LISTING})
    found = causes(old, replace(old, listings={("", ""): replace(edited, state=True), ("lib", ""): edited}))
    for step in ("[app 4/5] COPY --from=tools /f /f", "[lib 1/1] COPY f /f"):
        assert "linked target lib: f is new" in {cause.text for cause in ranked(step, found)[:2]}
    assert ranked("[app 4/5] COPY --from=tools /f /f", found)[0].text == "linked target lib: f is new"


def test_a_directory_that_takes_the_place_of_a_target_is_no_digest() -> None:
    (cause,) = causes(OLD, with_member(contexts={**MEMBER.contexts, "tools": f"sha256:{'1' * 64}"}))
    assert cause.text == "context tools changed: 'docker-image://tools:1' -> a directory"


def test_a_base_that_moved() -> None:
    found = causes(OLD, OLD, ({"base:1": "sha256:a"}, {"base:1": "sha256:b", "new:1": "sha256:c"}))
    assert sentence(RUN, found, last="x").endswith("ran because the base base:1 moved from sha256:a to sha256:b")


def test_without_a_change_or_a_success_nothing_is_made_up() -> None:
    assert causes(OLD, OLD) == []
    assert sentence("", [], last="x") == "every step came from the cache"
    assert "the cache does not hold it any more" in sentence(RUN, [], last="x")
    assert "no earlier success" in sentence(RUN, [], last="")


def test_many_changes_are_cut_and_credentials_taken_out() -> None:
    new = with_files(entries=tuple(Entry(f"f{n}", Kind.FILE, 0o644, "1") for n in range(50)))
    lines = told(COPY, causes(OLD, new))
    assert (len(lines), lines[-1]) == (21, "and 33 more")
    (cause,) = causes(OLD, with_member(args={**MEMBER.args, "U": "https://ghp_SECRETTOKEN@host/x"}))
    assert "SECRET" not in cause.text


def test_records_are_kept_by_content(tmp_path: Path) -> None:
    records = Records(tmp_path / "inputs")
    name = records.keep(OLD)
    assert records.load(name) == OLD
    assert records.keep(with_member(args={})) != name
    assert len(list((tmp_path / "inputs").iterdir())) == 3  # the list is kept once
    records.tidy({name})
    assert len(list((tmp_path / "inputs").iterdir())) == 2
    assert Records(tmp_path / "inputs").load(name) == OLD
    (tmp_path / "inputs" / name).write_bytes(b"x")
    assert records.load(name) is None
    assert records.load("../x") is None
    assert records.keep(Inputs(unknown="remote")) == ""
    (tmp_path / "file").touch()
    assert Records(tmp_path / "file").keep(OLD) == ""


def test_the_reason_in_a_sentence() -> None:
    found = list(causes(OLD, with_member(args={"ARCHS": "9.0"}, settings={})))
    assert sentence("", found, last="x") == "every step came from the cache"
    assert sentence(RUN, found, last="") == (
        f"{RUN} ran: the journal has no earlier success of this variant to compare with"
    )
    assert sentence(RUN, [], last="yesterday") == (
        f"{RUN} ran although nothing changed since yesterday: the cache does not hold it any more"
    )
    assert sentence(RUN, found[:1], last="x") == f"{RUN} ran because {found[0].text}"
    assert sentence(RUN, found[:2], last="x") == f"{RUN} ran because {found[0].text} (and 1 more)"
    assert sentence(RUN, found, last="x").endswith(f" (and {len(found) - 1} more)")
    assert len(found) == 3


@pytest.mark.parametrize(
    ("step", "path", "fits"),
    [
        ("[a 1/2] COPY src /x", "src/a", True), ("[a 1/2] COPY ./src/ /x", "src/a", True),
        ("[a 1/2] COPY . /x", "b", True),
        ("[a 1/2] COPY sr /x", "src/a", False), ("[a 1/2] COPY s* /x", "src/a", True),
        ("[a 1/2] COPY b c /x", "b", True),
        ("[a 1/2] COPY x b", "b", False), ("[a 1/2] COPY --from=tools src /x", "src/a", False),
        ("[a 1/2] COPY --chmod=1 src /x", "src/a", True), ("[a 1/2] ADD src /x", "src/a", True),
        ("[a 1/2] RUN --mount=type=bind,source=src,target=/x make", "src/a", True),
        ("[a 1/2] RUN --mount=src=src,target=/x make", "src/a", True),
        ("[a 1/2] RUN --mount=target=/x make", "b", True),
        ("[a 1/2] RUN --mount=type=cache,source=src make", "src/a", False), ("[a 1/2] RUN make src/a", "src/a", False),
        ("[a 1/2] RUN --mount=type=bind,from=tools,source=src make", "src/a", False),
        ("[a 1/2] WORKDIR src", "src/a", False),
    ],
)  # fmt: skip
def test_a_file_that_a_step_can_take_comes_first(step: str, path: str, fits: bool) -> None:
    new = with_member(settings={"label x": "2"})
    new = replace(new, listings=with_files(entries=changed(Entry(path, Kind.FILE, 0o644, "2"))).listings)
    first = ranked(step, list(causes(OLD, new)))[0]
    assert (first.what is What.FILE) is fits
