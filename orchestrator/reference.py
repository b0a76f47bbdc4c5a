"""References of images, as docker reads them: `host/path:tag@sha256:…`, with distinct types for each part.

Source of the grammar: distribution/reference (`ParseNormalizedNamed`), the parser of docker, buildx and containerd. The
host is the first part if it has a dot, a colon or a capital, or is `localhost`; without one the image is Docker Hub's.
"""

from __future__ import annotations

import re

from msgspec import Struct

from orchestrator.errors import UsageError

DOCKER_HUB = "docker.io"
"""The registry of a reference that names none."""

MAX_TAG = 128
"""Characters of a tag."""

_MAX_NAME = 255
_LABEL = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?", re.ASCII)
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(rf"\w[\w.-]{{0,{MAX_TAG - 1}}}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")  # the engine's form of an image id, no name
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.[0-9]+){3}|\[::1\])(?::[0-9]+)?", re.ASCII)


class InvalidReferenceError(UsageError):
    """A text is not a valid image reference."""


class Tag(Struct, frozen=True, order=True):
    """A tag: letters, digits, `_`, `.` and `-`, at most 128."""

    text: str

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.text):
            raise InvalidReferenceError(
                f"tag {self.text!r} is invalid: expected up to {MAX_TAG} of A-Z a-z 0-9 _ . -, not . or - first"
            )

    def __str__(self) -> str:
        return self.text


class Digest(Struct, frozen=True, order=True):
    """The digest of a manifest or blob: `sha256:` and 64 hexadecimal digits."""

    text: str

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.text):
            raise InvalidReferenceError(f"digest {self.text[:80]!r} is invalid: expected sha256: and 64 hex digits")

    def __str__(self) -> str:
        return self.text


class Repository(Struct, frozen=True, kw_only=True, order=True):
    """A repository of a registry.

    Attributes:
        host: The registry with its port, `docker.io` where the reference names none.
        path: The name below it, `library/` filled in for Docker Hub's own.
    """

    host: str
    path: str

    @property
    def loopback(self) -> bool:
        """Whether the registry is on this machine, where docker too speaks plain HTTP and asks no proxy."""
        return is_loopback(self.host)

    @property
    def api(self) -> str:
        """The address of the repository's API: `https://ghcr.io/v2/acme/app`."""
        host = f"registry-1.{DOCKER_HUB}" if self.host == DOCKER_HUB else self.host
        return f"{'http' if self.loopback else 'https'}://{host}/v2/{self.path}"

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


class Reference(Struct, frozen=True, kw_only=True):
    """A repository with what was named in it.

    Attributes:
        repository: Where.
        tag: The tag, None where there is none.
        digest: The digest, None where there is none.
    """

    repository: Repository
    tag: Tag | None = None
    digest: Digest | None = None

    @property
    def pinned(self) -> bool:
        """Whether it names a digest, which cannot move."""
        return self.digest is not None

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest, else the tag, else `latest`."""
        return str(self.digest or self.tag or "latest")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse(text: str) -> Reference:
    """An image reference, as docker reads it.

    Raises:
        InvalidReferenceError: It is not one; the message says which part.
    """
    rest, at, digest = text.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon of a port, or none
        head, tag = rest, ""
        colon = ""
    found = repository(head)
    return Reference(
        repository=found,
        tag=Tag(tag) if colon else None,
        digest=Digest(digest) if at else None,
    )


def repository(text: str) -> Repository:
    """The name of a repository: `ghcr.io/acme/app`, without tag and digest.

    Raises:
        InvalidReferenceError: It is not one.
    """
    first, slash, rest = text.partition("/")
    if slash and (set(first) & set(".:[") or first == "localhost" or first != first.lower()):
        host, path = first, rest
    else:
        host, path = DOCKER_HUB, text
    if not _HOST.fullmatch(host):
        raise InvalidReferenceError(f"image {text[:300]!r} is invalid: {host!r} is not a registry's host")
    if not _PATH.fullmatch(path) or _IDENTIFIER.fullmatch(path):
        capitals = path.lower() if path != path.lower() and _PATH.fullmatch(path.lower()) else ""
        raise InvalidReferenceError(
            f"image {text[:300]!r} is invalid: expected lower-case names, digits and single . _ - between slashes",
            hint=f"did you mean {capitals}?" if capitals else "",
        )
    if len(path) > _MAX_NAME:
        raise InvalidReferenceError(f"image {text[:60]!r}… is invalid: its name has more than {_MAX_NAME} characters")
    if host in (f"index.{DOCKER_HUB}", f"registry-1.{DOCKER_HUB}"):
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Repository(host=host, path=path)


def name_of(text: str) -> str:
    """The name of a reference as it is written, without tag and digest; "" where the text is not a valid one."""
    try:
        tag = parse(text).tag
    except InvalidReferenceError:
        return ""
    name = text.partition("@")[0]
    return name.removesuffix(f":{tag}") if tag else name


def same_repository(one: str, other: str) -> bool:
    """Whether two names mean one repository: `docker.io/nvidia/cuda` is `nvidia/cuda`."""
    try:
        return one == other or repository(one) == repository(other)
    except InvalidReferenceError:
        return False


def layout_directory(text: str) -> str:
    """The directory of `oci-layout://DIR:tag@sha256:…`, tag and digest left out as buildx leaves them out."""
    place = text.removeprefix("oci-layout://")
    place, _, _ = place.partition("@sha256:")
    head, colon, tag = place.rpartition(":")
    return head if colon and _TAG.fullmatch(tag) else place


def short_tag(text: str, *, most: int = MAX_TAG) -> str:
    """A text as it is, or cut to `most` characters with a digest of the whole at its end, so that two stay different.

    Args:
        text: Characters of a tag.
        most: Characters of the result at most; at least 20.
    """
    if len(text) <= most:
        return text
    return f"{text[: most - 13]}-{_digest(text)}"


def tag_slug(text: str, *, most: int = 63) -> str:
    """A text as a part of a tag, valid whatever the text is: every other character than A-Z a-z 0-9 _ . - becomes -.

    Args:
        text: Any text, such as the name of a branch.
        most: Characters of the result at most; a longer one is cut, with a digest at its end.
    """
    slug = re.sub(r"[^A-Za-z0-9_.-]", "-", text).lstrip(".-")
    return short_tag(slug, most=most) or _digest(text)


def _digest(text: str) -> str:
    import hashlib  # 2 ms, for which most runs have no use

    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]


def digests_in(text: str) -> list[str]:
    """Return every sha256 digest that stands in a text, whatever the text is."""
    return re.findall(r"sha256:[0-9a-f]{64}", text)


def host_of(text: str) -> str:
    """The registry of a reference, "" where the text is not a valid one."""
    try:
        return parse(text).repository.host
    except InvalidReferenceError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a registry's `host:port` is on this machine."""
    return bool(_LOOPBACK.fullmatch(host))
