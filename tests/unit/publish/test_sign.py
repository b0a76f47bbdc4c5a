"""Which key cosign is given, and what of its words is the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.schema import Sign
from orchestrator.process import Completed
from orchestrator.publish.sign import Cosign, _said

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_a_file_of_the_project_or_an_address(tmp_path: Path) -> None:
    (tmp_path / "c.pub").touch()
    cosign = Cosign(spec=Sign(private_key="c.key", public_key="c.pub"), root=tmp_path)
    assert cosign._key("c.pub") == ["--key", f"{tmp_path}/c.pub"]
    assert cosign._key("env://COSIGN_PRIVATE_KEY") == ["--key", "env://COSIGN_PRIVATE_KEY"]
    assert cosign._key(None) == []
    with pytest.raises(UsageError, match=r"publish\.sign: the key c\.key was not found") as caught:
        cosign._key("c.key")
    assert caught.value.hint == "`cosign generate-key-pair` makes one"
    keyless = Cosign(spec=Sign(keyless=True, identity="me", issuer="https://ci"), root=tmp_path)
    assert keyless._key("c.pub") == []


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("WARNING: x\nError: no matching signatures\nmain.go:74: error\n", "no matching signatures"),
        ("Error: first\nError:  second \n\n", "second"),
        ("one\n two \nWARNING: later\n", "two"),
        ("WARNING: alone\n", "no reason"),
        ("", "no reason"),
        (f"Error: {'x' * 400}", "x" * 300),
        ("Error: get https://user:hunter2@r/x\x1b[2J", "get https://r/x"),
    ],
)
def test_the_reason_is_its_last_error(stderr: str, said: str) -> None:
    assert _said(Completed(argv=("cosign",), returncode=1, stdout="", stderr=stderr)) == said
