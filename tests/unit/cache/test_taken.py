"""Which changes of the inputs an image can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.cache.contents import Entry, Kind, Listing
from orchestrator.cache.keys import Inputs, Member
from orchestrator.cache.taken import taken

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = (Entry("src/a.cu", Kind.FILE, 0o644, "1"), Entry("log", Kind.FILE, 0o644, "1"))


def inputs(steps: Sequence[str], entries: Sequence[Entry], *, name: str = "", **fields: object) -> Inputs:
    listing = Listing(entries=tuple(entries))
    member = Member(
        args={"DIR": "src"}, settings={}, contexts={name: listing.digest}, path="Dockerfile",
        dockerfile=tuple(enumerate(("FROM scratch", *steps))),
    )  # fmt: skip
    return Inputs(members={"": replace(member, **fields)}, listings={("", name): listing})


def edited(path: str) -> list[Entry]:
    return [Entry(one.path, one.kind, one.mode, "2") if one.path == path else one for one in FILES]


@pytest.mark.parametrize(
    ("step", "reached"),
    [
        ("COPY src /src", True),
        ("COPY src/ /src", True),
        ("COPY ./src/../src/a.cu /", True),
        ("COPY ../src /", True),
        ("COPY /src/a.cu /", True),
        ('COPY ["src/a.cu", "/b c/"]', True),
        ("COPY s*/a.cu /", True),
        ("COPY [s]rc /", True),
        ("COPY $DIR /", True),
        ("COPY ${DIR}/a.cu /", True),
        ("ADD . /", True),
        ("COPY --chown=0:0 src/a.cu /", True),
        ("RUN --mount=type=bind,target=/x make", True),
        ("RUN --mount=source=src,target=/x make", True),
        ("ONBUILD COPY other /x", True),
        ("COPY log /", False),
        ("COPY lib src2 /", False),
        ("COPY src/b* /", False),
        ("COPY --from=base src /", False),
        ("RUN --mount=type=bind,from=base,target=/x make src/a.cu", False),
        ("RUN --mount=type=bind,source=lib,target=/x make", False),
        ("RUN --mount=type=cache,target=/x make", False),
        ("COPY <<EOF /x\nsrc\nEOF", False),
    ],
)
def test_a_file_counts_where_a_step_can_take_it(step: str, *, reached: bool) -> None:
    before = inputs([step], FILES)
    assert taken(before, inputs([step], edited("src/a.cu"))) is reached
    assert taken(before, inputs([step], FILES[1:])) is reached
    assert not taken(before, inputs([step], FILES))


@pytest.mark.parametrize("link", ["now", "src", "lib/x"])
def test_a_source_that_may_be_a_link_leads_anywhere(link: str) -> None:
    files = [Entry(link, Kind.LINK, 0o777, "log")]
    before, after = ([*files, *entries] for entries in (FILES, edited("log")))
    assert taken(inputs(["COPY now src lib /x"], before), inputs(["COPY now src lib /x"], after))
    assert not taken(inputs(["COPY other /x"], before), inputs(["COPY other /x"], after))


def test_what_is_no_file_of_the_main_context_counts() -> None:
    before = inputs(["COPY lib /x"], FILES)
    assert taken(before, inputs(["COPY lib /y"], FILES))
    assert taken(before, inputs(["COPY lib /x"], FILES, args={"DIR": "x"}))
    assert taken(before, Inputs(unknown="a file was not found"))
    assert taken(before, replace(before, members={**before.members, "base": before.members[""]}))
    named = [inputs(["COPY --from=x lib /x"], entries, name="x") for entries in (FILES, edited("log"))]
    assert taken(*named)
