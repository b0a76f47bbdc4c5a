"""What reads a build argument and what takes its value away; tests/differential compares it with real builds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.lives import Loss, doubtful, lost
from tests.support.generated import examples


def found(text: str, **more: object) -> list[tuple[Loss, int, bool]]:
    return [(one.loss, one.line, one.certain) for one in lost(text, {"X": "1"}, **more)]  # type: ignore[arg-type]  # keywords of the tests


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nARG X\nRUN build $X\n",
        "FROM a\nARG X\nRUN python setup.py\n",  # reads its environment, perhaps
        "FROM a\nARG X\nENV X=$X\nRUN build $X\n",
        "FROM a\nARG X\nENV X=${X:-9}\n",
        "FROM a\nARG X\nENV X=\"'$X'\" Y='z'\n",  # quotes in quotes are characters
        "FROM a\nARG X\nENV X=${X#v}\nENV Z=${Z:-${X}}\n",
        "FROM a\nARG X\nLABEL v=${X:+on}\n",
        "FROM a\nARG X\nCOPY <<E /x\n'$X'\nE\n",
        "# escape=`\nFROM a\nARG X\nLABEL v=\\$X `\n  w=1\n",
        "FROM a\nARG X\nENV Y=$X\nENV X=7\nRUN build $Y\n",  # it has been read before
        "FROM a\nARG X\nENV X=1\nRUN build $X\n",  # the same value
        "FROM a\nENV X=7\nARG X\nRUN build $X\n",  # of both the later one counts
        "FROM a\nARG X\nENV X=7\nARG X\nRUN build $X\n",
        "FROM a AS b\nARG X\nFROM b\nRUN build $X\n",  # a stage inherits the arguments of the one it is FROM
        "FROM a\nARG X\nARG Y=$X\n",
        "FROM a\nARG X\nLABEL v=$X\n",
        "FROM a\nARG X\nCOPY --from=0 --chown=$X a b\n",
        "FROM a\nARG X\nCOPY <<E /x\nv=$X\nE\n",
        "FROM a\nARG X\nRUN <<E\nprintenv X\nE\n",
        'FROM a AS h\nCOPY <<"E" /x\nv=$X\nE\nFROM a\nARG X\nCOPY --from=h /x /x\nRUN sh /x\n',  # goes in as it stands
        "ARG X\nFROM a:$X\n",
        "ARG X\nARG B=a:${X}\nFROM $B\n",
        "ARG X\nFROM a\nARG X\nRUN build $X\n",
        "FROM a AS dead\nARG X\nENV X=7\nRUN build $X\nFROM a\nARG X\nRUN build $X\n",  # a stage nobody needs
        "FROM a\nARG X\nONBUILD RUN build $X\n",  # cannot be told
        "FROM a\nRUN X=3; echo $X\nARG X\nRUN build $X\n",  # a variable of the shell's own
        "FROM a\nARG X\nRUN X=3 build\nRUN build $X\n",  # another step reads it
        "FROM a\nARG X\nRUN X=${X:-3} build\n",
        "FROM a\nARG X\nRUN X=1 build\n",  # the same value
        "FROM a\nARG X\nRUN echo X=3; make -DX=3 --env X=3\n",  # words of another command
        "FROM a\nARG X\nRUN python3 <<E\nX=3\nE\n",  # of another language
        "FROM a\nARG X\nRUN f() { X=3; }; build\n",  # a function that nothing calls
        "FROM a\nRUN for X in 1 2; do echo $X; done\nARG X\nRUN y\n",
        "FROM a\n",
    ],
)
def test_a_value_that_arrives(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nARG X\nENV X=7\nRUN build $X\n", [(Loss.ENV, 3, True)]),
        ('FROM a\nARG X\nCOPY <<"E" /x\nv=$X\nE\n', [(Loss.UNREAD, 2, False)]),
        ("FROM a\nARG X\nADD <<'E' /x\nv=$X\nE\n", [(Loss.UNREAD, 2, False)]),
        ("FROM a\nCOPY <<E /x\nv=$X\nE\n", [(Loss.UNDECLARED, 2, True)]),
        ("FROM a\nARG X\nENV X='$X'\nRUN build\n", [(Loss.ENV, 3, True)]),  # the text $X, and not its value
        ("FROM a\nARG X\nENV X=\\$X\nRUN build\n", [(Loss.ENV, 3, True)]),
        ("FROM a\nARG X\nENV X=${X:+7}\nRUN build\n", [(Loss.ENV, 3, True)]),
        ("FROM a\nARG X\nENV Y='${X}'\n", [(Loss.UNREAD, 2, False)]),
        ("FROM a\nARG X\nLABEL v='$X' w=\\$X\n", [(Loss.UNREAD, 2, False)]),
        ("# escape=`\nFROM a\nARG X\nLABEL v=`$X\n", [(Loss.UNREAD, 3, False)]),
        ("FROM a\nARG X\nENV X 7 8\nRUN build\n", [(Loss.ENV, 3, True)]),
        ("FROM a\nARG X\nENV X=$Y\nRUN build\n", [(Loss.ENV, 3, True)]),
        ('FROM a\nARG X\nENV A=1 X="7"\nLABEL v=$X\n', [(Loss.ENV, 3, True)]),
        ("FROM a\nARG X\nRUN apt\nENV X=7\nRUN build $X\n", [(Loss.ENV, 4, False)]),
        ("FROM a AS b\nENV X=7\nARG X\nFROM b\nRUN build $X\n", [(Loss.ENV, 2, True)]),
        ("FROM a AS b\nARG X\nRUN build $X\nFROM b\nARG X\nENV X=7\nRUN $X\n", [(Loss.ENV, 6, False)]),
        ("FROM a\nARG X\nENV Y=$X\nENV X=7\nRUN build $X $Y\n", [(Loss.ENV, 4, False)]),
        ("FROM a\nRUN build $X\nARG X\n", [(Loss.ABOVE, 2, True)]),
        ("FROM a\nRUN <<E\nbuild $X\nE\nARG X\nENTRYPOINT x\n", [(Loss.ABOVE, 2, True)]),
        ("FROM a\nRUN build $X\nARG X\nRUN rm x\n", [(Loss.ABOVE, 2, False)]),
        ("FROM a\nENV X=7\nRUN build $X\nARG X\n", [(Loss.ABOVE, 3, True)]),
        ("FROM a\nLABEL v=$X\nARG X\n", [(Loss.ABOVE, 2, True)]),
        ("ARG X\nFROM a\nRUN build $X\n", [(Loss.UNDECLARED, 3, True)]),
        ("ARG X\nFROM a:$X\nRUN build $X\n", [(Loss.UNDECLARED, 3, False)]),
        ("FROM a AS b\nARG X\nRUN x\nFROM a\nCOPY --from=b / /\nRUN build $X\n", [(Loss.UNDECLARED, 6, False)]),
        ("FROM a\nARG X\nCOPY a b\n", [(Loss.UNREAD, 2, False)]),
        ("FROM a\nARG X=3\n", [(Loss.UNREAD, 2, False)]),
        ("FROM a\nARG X\nRUN X=7 build\n", [(Loss.OWN, 3, False)]),
        ('FROM a\nARG X\nRUN set -e; export Y=1 X="7 8" && build\n', [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN env X=7 build\nRUN other\n", [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN unset X; build\n", [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN <<E\nexport X=7\nbuild\nE\n", [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN bash <<E\nX=7\nE\n", [(Loss.OWN, 3, False)]),
        ('FROM a\nARG X\nRUN ["sh", "-c", "X=7 build"]\n', [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN X=7 && build $X\n", [(Loss.OWN, 3, False)]),  # read, but behind the other value
        ("FROM a\nARG X\nRUN set -eu; export Y=1 X=7; build ${X}\n", [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN unset X && build ${X:-7}\n", [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN <<E\nX=7\nbuild $X\nE\n", [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN env -u X build\n", [(Loss.OWN, 3, False)]),
        ("FROM a\nARG X\nRUN X=7 && build $X\nRUN build $X\n", []),
        ("FROM a\nARG X\nRUN X=${X:-7} && build $X\n", []),
        ("FROM a\nARG X\nRUN X=7 build $X\n", []),  # the shell puts it in before it sets the other one
        ("FROM a\nARG X\nRUN if build; then X=7; fi; build $X\n", []),
        ("FROM a\nARG X\nRUN build || X=7; build $X\n", []),
        ("FROM a\nARG X\nRUN build | X=7; build $X\n", []),
        ("FROM a\nARG X\nRUN cat <<E >f && X=7\n$X\nE\n", []),
        ("FROM a\nARG X\nENV Z=1\nRUN X=7 build\nENV X=8\n", [(Loss.ENV, 5, False)]),  # one finding for each
    ],
)
def test_a_value_that_is_lost(text: str, expected: list[tuple[Loss, int, bool]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nARG X\nRUN build $X\n", []),  # the ARG is the later one
        ("FROM a AS b\nARG X\nFROM b\nRUN build $X\n", [(Loss.BASE, 1, True)]),
        ("FROM a AS b\nARG X\nRUN x\nFROM b\nRUN build $X\n", [(Loss.BASE, 1, False)]),
        ("FROM z AS c\nFROM a AS b\nARG X\nFROM b AS d\nFROM d\nRUN build $X\n", [(Loss.BASE, 2, True)]),
        ("FROM a AS b\nARG X\nFROM b\nARG X\nRUN build $X\n", []),
        ("FROM a AS b\nARG X\nENV X=$X\nFROM b\nRUN build $X\n", []),
        ("FROM a AS b\nARG X\nENV X=7\nFROM b\nRUN build $X\n", [(Loss.ENV, 3, True)]),
        ("FROM a AS b\nARG X\nENV Y=$X\nFROM b\nRUN build $Y\n", []),
        ("FROM a AS b\nARG X\nFROM b\nRUN y\nFROM scratch\nARG X\nRUN $X\n", []),  # a stage nobody needs
        ("FROM a AS b\nARG X\nFROM b\nRUN make\n", [(Loss.UNREAD, 2, False)]),
    ],
)
def test_an_env_of_a_base_image(text: str, expected: list[tuple[Loss, int, bool]]) -> None:
    bases = {number: {"X": "old", "Y": "1"} for number, line in enumerate(text.split("FROM ")[1:]) if line[0] == "a"}
    assert found(text, bases=bases) == expected
    same = {number: {"X": "1"} for number in bases}
    assert Loss.BASE not in [loss for loss, *_ in found(text, bases=same)]
    # It is asked for where it counts, and there alone.
    assert doubtful(text, {"X": "1"}) == ({"X"} if Loss.BASE in [loss for loss, *_ in expected] else set())


def test_the_env_of_scratch_is_known_and_that_of_a_named_context_is_not() -> None:
    text = "FROM {} AS b\nARG X\nFROM b\nRUN build $X\n"
    assert doubtful(text.format("scratch"), {"X": "1"}) == set()
    assert doubtful(text.format("image"), {"X": "1"}, contexts=["ctx"], known=True) == set()
    assert doubtful(text.format("ctx"), {"X": "1"}, contexts=["CTX"], known=True) == {"X"}
    assert doubtful("ARG B=i\n" + text.format("$B"), {"X": "1"}, contexts=["i"], known=True) == {"X"}


def test_what_is_said() -> None:
    (one,) = lost("FROM a\nARG X\nENV X=7\nRUN build $X\n", {"X": "1"})
    assert one.text == "ENV X at line 3 replaces the value of its ARG at line 2"
    assert one.hint == "write ENV X=${X}, or remove the ENV"
    (one,) = lost("FROM a AS b\nARG X\nFROM b\nRUN $X\n", {"X": "1"}, bases={0: {"X": "7"}})
    env = "ENV X of the image of FROM at line 1"
    assert one.text == f"{env} replaces the value of its ARG at line 2 in a later stage"
    assert one.hint == "write ARG X again in the stage that reads it"
    (one,) = lost("FROM a\nARG X\nRUN X=7 build\n", {"X": "1"})
    assert (one.text, one.hint) == (
        "RUN at line 3 sets X itself",
        "remove the value from the RUN, or write X=${X}",
    )
    (one,) = lost("FROM a\nRUN build $X\nARG X\n", {"X": "1"})
    assert (one.text, one.hint) == ("line 2 reads X above its ARG at line 3", "move ARG X above line 2")
    (one,) = lost("ARG X\nFROM a\nRUN build $X\n", {"X": "1"})
    assert one.text == "line 3 reads X, which its stage does not declare with ARG"
    (one,) = lost("FROM a\nARG X\n", {"X": "1"})
    assert one.text == "nothing reads X below its ARG at line 2"


def test_a_predefined_argument_and_a_named_context_are_left_alone() -> None:
    assert lost("FROM a\nARG HTTP_PROXY\nENV HTTP_PROXY=\n", {"HTTP_PROXY": "x"}) == ()
    text = "FROM a AS b\nARG X\nENV X=7\nRUN $X\nFROM b\n"
    assert found(text) == [(Loss.ENV, 3, True)]
    assert found(text, contexts=["B"]) == []
    assert found(text + "ARG X\nRUN $X\n", target="b") == [(Loss.ENV, 3, True)]


PIECES = (
    "FROM a| AS b\n|FROM b\n|ARG X|=$X|ENV X|=7| 8|RUN |$X|\n|\\\n|<<E|E\n|ONBUILD |'|\"|COPY --from=0 |`|# escape=`\n"
)


@given(st.lists(st.sampled_from(PIECES.split("|")), max_size=40).map("".join))
@examples(200)
def test_any_text_ends(text: str) -> None:
    assert len(lost(text, {"X": "1", "b": ""})) <= 2
