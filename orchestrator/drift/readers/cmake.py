"""Variables of a CMake file: `set(NAME value)`, `list(APPEND NAME value)`, `option`-like cache entries included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.cuda.cmake_words import commands
from orchestrator.dockerfile.spans import Style

if TYPE_CHECKING:
    from orchestrator.cuda.cmake_words import CmakeWord
    from orchestrator.dockerfile.spans import Found, Source

SEVERAL = "it is written in several words, some of them in quotes"
_AFTER = frozenset({"CACHE", "PARENT_SCOPE", "FORCE"})


def read(source: Source) -> list[tuple[str, Found]]:
    """Every value that `set` and `list(APPEND …)` give to a variable, with the variable's name."""
    known: dict[str, str | None] = {}
    places: list[tuple[str, Found]] = []
    for command in commands(source.text):
        texts = command.texts
        appends = command.name == "list" and texts[:1] == ["APPEND"]
        if not (appends or command.name == "set") or len(texts) < 2 + appends:
            continue
        name = texts[appends]
        words = _value(command.words[1 + appends :])
        if not words or "$" in name:
            continue
        value = ";".join(filter(None, (word.text if word.quoted else _unquoted(word.text) for word in words)))
        place = source.found(value, words[0].start, words[-1].end, _style(words), where="")
        via = f"it comes from {value}" if "$" in value else SEVERAL if place.styles[0] is Style.RAW else ""
        if appends:
            before = known.get(name)
            value = value if before is None else f"{before};{value}"
            place, via = replace(place, value=value), f"list(APPEND {name}) extends it"
            places = [one for one in places if one[0] != name or one[1].via]
        places.append((name, replace(place, via=via) if via else place))
        known[name] = None if "$" in value else value
    return places


def _unquoted(text: str) -> str:
    """An unquoted argument: CMake drops the empty items of a list there."""
    return ";".join(filter(None, text.split(";")))


def _value(words: tuple[CmakeWord, ...]) -> list[CmakeWord]:
    """The words of a value: those before CACHE and PARENT_SCOPE."""
    kept = []
    for word in words:
        if not word.quoted and word.text in _AFTER:
            break
        kept.append(word)
    return kept


def _style(words: list[CmakeWord]) -> Style:
    """How a new value is written there; RAW where no single edit can: several words, some of them in quotes."""
    if len(words) > 1:
        return Style.RAW if any(word.quoted for word in words) else Style.CMAKE_WORDS
    return Style.CMAKE_QUOTED if words[0].quoted else Style.CMAKE_BARE
