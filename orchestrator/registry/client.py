"""One repository of a registry: manifests, blobs, tags, and what publishing needs, over the OCI distribution API.

Every manifest and blob is hashed as it arrives and must have the digest by which it was asked for. Small answers have a
deadline and a size limit; blobs are streamed, taken up again where a connection broke, and given up where they arrive
too slowly. Source: OCI distribution specification 1.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from orchestrator.errors import NetworkError
from orchestrator.reference import Digest, InvalidReferenceError, Tag
from orchestrator.registry.errors import DamagedAnswerError, NotFoundError, StatusError
from orchestrator.registry.manifests import (
    ACCEPT,
    MAX_MANIFEST,
    OCI_INDEX,
    Descriptor,
    Manifest,
    described,
    digest_of,
    read,
)
from orchestrator.registry.network import held
from orchestrator.registry.session import Call, Limits, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import IO

    from orchestrator.reference import Repository
    from orchestrator.registry.transport import Answer

MAX_BLOB = 16 << 20
"""Bytes of a blob that is read whole: the configuration of an image."""

_MAX_PAGES = 1000
_NO_REFERRERS = (400, 405, 406, 501)  # what registries without the referrers API answer besides 404
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')


class Registry:
    """A repository and the connections to it; a context manager, safe to share between threads.

    Args:
        repository: Which one.
        limits: How long it is waited for.
    """

    def __init__(self, repository: Repository, *, limits: Limits | None = None) -> None:
        self.repository = repository
        self._limits = limits or Limits()
        self._session = Session(repository, self._limits)
        self._lock = threading.Lock()
        self._arriving: dict[Digest, threading.Lock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def manifest(self, selector: Tag | Digest) -> Manifest:
        """A manifest or index.

        Raises:
            NotFoundError: There is none.
            NetworkError: The registry denies access or does not answer.
            DamagedAnswerError: It has another digest, or cannot be read.
        """
        expected = selector if isinstance(selector, Digest) else None

        def use(answer: Answer) -> Manifest:
            return read(answer.whole(MAX_MANIFEST), answer.header("content-type"), expected=expected)

        return self._session.do(_manifest_call("GET", selector), use)

    def head(self, selector: Tag | Digest) -> Descriptor | None:
        """What a tag or digest names, without its content; None where the registry has none.

        Raises:
            NetworkError: The registry denies access or does not answer.
            DamagedAnswerError: The answer names another digest.
        """

        def use(answer: Answer) -> Descriptor | None:
            try:
                digest = Digest(answer.header("docker-content-digest"))
                size = int(answer.header("content-length"))
            except (ValueError, InvalidReferenceError):  # both headers are optional in the specification
                return None
            return Descriptor(media_type=answer.header("content-type"), digest=digest, size=size)

        try:
            found = self._session.do(_manifest_call("HEAD", selector), use) or self.manifest(selector).descriptor
        except NotFoundError:
            return None
        if isinstance(selector, Digest) and found.digest != selector:
            what = f"expected {selector}, found {found.digest}"
            raise DamagedAnswerError(f"{self.repository}: the digest of a manifest does not match: {what}")
        return found

    def blob(self, digest: Digest, *, limit: int = MAX_BLOB) -> bytes:
        """A small blob, whole.

        Raises:
            NetworkError, DamagedAnswerError: As for `manifest`; it has more than `limit` bytes.
        """
        data = self._session.do(_blob_call("GET", digest), lambda answer: answer.whole(limit))
        if (found := digest_of(data, digest)) != digest:
            raise DamagedAnswerError(
                f"{self.repository}: the digest of a blob does not match: expected {digest}, found {found}"
            )
        return data

    def stream(self, digest: Digest, size: int, sink: IO[bytes]) -> None:
        """Write a blob to `sink`; a connection that breaks is taken up again where it broke.

        Args:
            digest: Of the blob.
            size: Its bytes, as its manifest declares them.
            sink: Gets each byte once.

        Raises:
            NetworkError: It could not be fetched.
            DamagedAnswerError: It has another digest or another size; `sink` has its bytes all the same.
        """
        hashed = hashlib.new(str(digest).partition(":")[0])
        done = 0

        def use(answer: Answer) -> None:
            nonlocal done
            skip = 0 if answer.status == 206 else done  # a registry without ranges starts again
            for part in self._session.paced(answer.chunks()):
                fresh = part[skip:] if skip else part
                skip -= min(skip, len(part))
                done += len(fresh)
                if done > size:
                    raise DamagedAnswerError(
                        f"{self.repository}: blob {digest} is too large: expected {size} bytes, found more"
                    )
                hashed.update(fresh)
                sink.write(fresh)

        def call() -> Call:
            return _blob_call("GET", digest, headers={"Range": f"bytes={done}-"} if done else {})

        if size:
            self._session.do(call, use)
        if done != size or hashed.hexdigest() != str(digest).partition(":")[2]:
            raise DamagedAnswerError(
                f"{self.repository}: blob {digest} does not match its digest: {done} of {size} bytes arrived"
            )

    def tags(self) -> tuple[Tag, ...]:
        """The tags of the repository, in the registry's order; () where it does not exist.

        Raises:
            NetworkError, DamagedAnswerError: As for `manifest`.
        """
        found: dict[Tag, None] = {}
        url = "tags/list?n=1000"
        asked: set[str] = set()
        while url and url not in asked and len(asked) < _MAX_PAGES:
            asked.add(url)
            call = Call(what="tags", method="GET", path=url)
            try:
                names, url = self._session.do(call, self._page)
            except NotFoundError:
                break
            found |= dict.fromkeys(names)
        return tuple(found)

    def _page(self, answer: Answer) -> tuple[list[Tag], str]:
        try:
            names = json.loads(answer.whole(MAX_MANIFEST)).get("tags") or []
            tags = [Tag(name) for name in names]
        except (ValueError, AttributeError, TypeError, RecursionError, InvalidReferenceError) as error:
            raise DamagedAnswerError(f"{self.repository}: the list of tags is invalid: {str(error)[:200]}") from error
        link = _NEXT.search(answer.header("link"))
        return tags, self._session.own(answer.url, link[1]) if link else ""

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """What was attached to a manifest: signatures, provenance, software bills.

        Asks the referrers API, and where the registry has none, the tag `sha256-…` that clients write instead.

        Raises:
            NetworkError, DamagedAnswerError: As for `manifest`.
        """
        found: dict[Digest, Descriptor] = {}
        asked: set[str] = set()
        url = f"referrers/{digest}"
        while url and url not in asked and len(asked) < _MAX_PAGES:
            asked.add(url)
            try:
                page = self._session.do(Call(what=f"referrers of {digest}", method="GET", path=url), self._listed)
            except StatusError as error:
                if error.status not in _NO_REFERRERS:
                    raise
                page = None
            except NotFoundError:
                page = None
            listed, url = (self._written(digest), "") if page is None else (tuple(described(page[0])), page[1])
            found |= {one.digest: one for one in listed}
        return tuple(found.values())

    def _listed(self, answer: Answer) -> tuple[Manifest, str] | None:
        """A page of referrers and the address of the next; None where the answer is none (a site's own page)."""
        if answer.header("content-type").partition(";")[0].strip().lower() != OCI_INDEX:
            answer.finish()
            return None
        link = _NEXT.search(answer.header("link"))
        following = self._session.own(answer.url, link[1]) if link else ""
        return read(answer.whole(MAX_MANIFEST), OCI_INDEX), following

    def _written(self, digest: Digest) -> tuple[Descriptor, ...]:
        """The referrers that clients wrote under a tag."""
        try:
            return tuple(described(self.manifest(fallback_tag(digest))))
        except NotFoundError:
            return ()

    # -- writing ----------------------------------------------------------------------------------------------------

    def put_manifest(self, manifest: Manifest, selector: Tag | Digest) -> bool:
        """Store a manifest under a tag, or under its digest alone.

        Returns:
            Whether the registry lists it as a referrer of its `subject`; `referrers.attach` does it where not.

        Raises:
            NetworkError: The registry denies access, refuses the manifest or does not answer.
            DamagedAnswerError: The registry stored it under another digest.
        """

        def use(answer: Answer) -> bool:
            said = answer.header("docker-content-digest")
            if said not in ("", str(manifest.digest)):
                raise DamagedAnswerError(
                    f"{self.repository}: the digest of a stored manifest does not match: expected {manifest.digest}, "
                    f"found {said[:100]!r}"
                )
            return bool(answer.header("oci-subject"))

        headers = {"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.raw))}
        call = Call(
            what=f"manifest {selector}", method="PUT", path=f"manifests/{quote(str(selector), safe=':')}",
            actions="pull,push", headers=headers, body=lambda: [manifest.raw], expected=(201, 200, 202),
        )  # fmt: skip
        return self._session.do(call, use)

    def delete(self, selector: Tag | Digest) -> bool:
        """Delete a manifest (by digest), or a tag alone where the registry can; False where there is none.

        Raises:
            NetworkError: The registry denies access, cannot delete or does not answer.
        """
        call = Call(
            what=f"manifest {selector}", method="DELETE", path=f"manifests/{quote(str(selector), safe=':')}",
            actions="delete", expected=(202, 200, 204),
        )  # fmt: skip
        try:
            self._session.do(call, lambda _: None)
        except NotFoundError:
            return False
        return True

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository holds a blob.

        Raises:
            NetworkError: The registry denies access or does not answer.
        """
        try:
            self._session.do(_blob_call("HEAD", digest), lambda _: None)
        except NotFoundError:
            return False
        return True

    def require_blob(self, digest: Digest, bring: Callable[[], None]) -> None:
        """See to it that the repository holds a blob.

        Args:
            digest: Of the blob.
            bring: Called where it is missing, by one thread at a time for each digest: two would send it twice.

        Raises:
            NetworkError: The registry denies access or does not answer; what `bring` raises.
        """
        with self._lock:
            arriving = self._arriving.setdefault(digest, threading.Lock())
        with held(arriving):
            if not self.has_blob(digest):
                bring()

    def mount(self, digest: Digest, source: Repository) -> bool:
        """Take a blob over from another repository of the same registry; False where the registry cannot.

        Raises:
            NetworkError: The registry denies access or does not answer.
        """
        call = Call(
            what=f"blob {digest}", method="POST",
            path=f"blobs/uploads/?mount={quote(str(digest))}&from={quote(source.path, safe='')}", actions="pull,push",
            headers={"Content-Length": "0"}, expected=(201, 202), more_scopes=(f"repository:{source.path}:pull",),
        )  # fmt: skip
        return self._session.do(call, lambda answer: answer.status == 201)

    def require_push(self) -> None:
        """Require that an image can be pushed: begin an upload of nothing, and end it.

        Raises:
            DeniedError: The registry denies access with these credentials.
            NetworkError: It has no such repository, or does not answer.
        """
        begin = Call(
            what="push access", method="POST", path="blobs/uploads/", actions="pull,push",
            headers={"Content-Length": "0"}, expected=(202,),
        )  # fmt: skip
        place = self._session.do(begin, lambda answer: self._session.own(answer.url, answer.header("location")))
        end = Call(what="end of an upload", method="DELETE", path=place, actions="pull,push", expected=(200, 202, 204))
        with contextlib.suppress(NetworkError):  # a registry without this call forgets the upload after some time
            self._session.do(end, lambda _: None)

    def upload(self, digest: Digest, size: int, data: Callable[[], Iterable[bytes]]) -> None:
        """Store a blob.

        Args:
            digest: Of the bytes; the registry refuses others.
            size: Their number.
            data: Makes the bytes; called once for each attempt.

        Raises:
            NetworkError: The registry denies access, refuses the blob or does not answer.
        """

        def start() -> Call:
            begin = Call(
                what=f"upload of {digest}", method="POST", path="blobs/uploads/", actions="pull,push",
                headers={"Content-Length": "0"}, expected=(202,),
            )  # fmt: skip
            place = self._session.once(begin, lambda answer: self._session.own(answer.url, answer.header("location")))
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            return Call(
                what=f"upload of {digest}", method="PUT",
                path=f"{place}{'&' if '?' in place else '?'}digest={quote(str(digest))}", actions="pull,push",
                headers=headers, body=data, expected=(201,),
                within_s=self._limits.answer_s + size / self._limits.slowest,
            )  # fmt: skip

        self._session.do(start, lambda _: None)


def _manifest_call(method: str, selector: Tag | Digest) -> Call:
    return Call(
        what=f"manifest {selector}", method=method, path=f"manifests/{quote(str(selector), safe=':')}",
        headers={"Accept": ACCEPT},
    )  # fmt: skip


def _blob_call(method: str, digest: Digest, headers: Mapping[str, str] | None = None) -> Call:
    return Call(what=f"blob {digest}", method=method, path=f"blobs/{digest}", headers=headers, expected=(200, 206))


def fallback_tag(digest: Digest) -> Tag:
    """The tag under which clients list the referrers of a digest where a registry has no API for them.

    Of a longer digest (sha512) it has the first 64 digits (OCI distribution specification 1.1, "Referrers Tag Schema").
    """
    algorithm, _, digits = str(digest).partition(":")
    return Tag(f"{algorithm}-{digits[:64]}")
