"""The declarative base of the sections of matrix.yaml: keys with a type, a default and a description.

A section is a class whose annotations are its keys. `convert` reads them to validate a tree, `json_schema` to describe
it. Pydantic does the same, but importing it takes longer than the rest of `plan` (95 ms), and msgspec (7 ms) stops at
the first error of a file and names no mapping key in its place. What describes keys here is a named tuple, which takes
a sixth of a dataclass's time to create.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REQUIRED: Any = object()


class Key(NamedTuple):
    """One key of a section.

    Attributes:
        description: What it means, for the JSON Schema.
        default: Its value where the file has none.
        kind: Its type, as annotated.
    """

    description: str = ""
    default: Any = _REQUIRED
    kind: Any = None

    @property
    def required(self) -> bool:
        """Whether the file must have it."""
        return self.default is _REQUIRED


def key(description: str, *, default: Any = _REQUIRED) -> Any:
    """Declare a key of a section.

    Args:
        description: What it means, for the JSON Schema.
        default: Its value where the file has none; without a default the key is required.
    """
    return Key(description, default)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(key,))
class Section:
    """Base of every section: keyword-only, immutable, compared by value.

    Values given to the constructor are taken as they are; `convert.read` validates those of a file.
    """

    section_keys: ClassVar[Mapping[str, Key]] = {}

    def __init_subclass__(cls) -> None:
        keys: dict[str, Key] = {}
        for name, kind in cls.__annotations__.items():
            declared = cls.__dict__.get(name, Key())
            keys[name] = Key(declared.description, declared.default, kind)
            if name in cls.__dict__:
                delattr(cls, name)
        cls.section_keys = keys

    def __init__(self, **values: Any) -> None:
        keys = type(self).section_keys
        if wrong := [name for name in values if name not in keys]:
            raise TypeError(f"{type(self).__name__} has no key {wrong[0]}")
        if missing := [name for name in keys if keys[name].required and name not in values]:
            raise TypeError(f"{type(self).__name__}.{missing[0]} is missing")
        for name, declared in keys.items():
            default = declared.default
            default = default.copy() if isinstance(default, (list, dict)) else default
            self.__dict__[name] = values.get(name, default)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]  # lists and mappings in it have no hash either

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def broken_rule(self) -> str:
        """The rule among its keys that a valid section breaks, in words; "" if none."""
        return ""


class Short(NamedTuple):
    """A short form of a value, in `Annotated[…]`.

    Attributes:
        expand: Turns the short form into the long one, and returns every other value as it is.
        schema: The JSON Schema of the short form.
    """

    expand: Callable[[object], object]
    schema: Mapping[str, Any]


class AnyScalar:
    """Text that may be written as any scalar, in `Annotated[str, …]`: `3.10` and `no` are taken as written."""


class MayBeEmpty:
    """Text that may be empty, in `Annotated[str, …]`; a key whose default is empty needs no such mark."""


Text = Annotated[str, AnyScalar()]
"""A scalar, taken as it is written, and not empty."""

Content = Annotated[str, AnyScalar(), MayBeEmpty()]
"""A scalar, taken as it is written: the value of an argument, a label or a field."""


def _text_to_list(value: object) -> object:
    """Let one word stand for a list of one."""
    return [value] if isinstance(value, str) else value


ONE = Short(_text_to_list, {"type": ["string", "number", "boolean"]})
"""One word for a list of one, in `Annotated[…]`."""

TextList = Annotated[list[Text], ONE]
"""A list of scalars, or one of them."""


class Range(NamedTuple):
    """Bounds of a number, in `Annotated[…]`; both are included."""

    least: int
    most: int | None = None

    def holds(self, number: float) -> bool:
        """Whether a number is within."""
        return number >= self.least and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        return f"from {self.least} to {self.most}" if self.most is not None else f"of {self.least} or more"
