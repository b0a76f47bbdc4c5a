"""Build arguments are no place for credentials: a value that is one is refused, a name that says so is told."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.matrix.layers import CommandLine
from tests.unit.matrix.support import changed, planned, problems

LINE = '    PYTHON_VERSION: "{python}"\n'
VALUES = {
    "an AWS access key": "AKIA" + "A" * 16,
    "a GitHub token": "ghp_" + "a" * 36,
    "a GitLab token": "glpat-" + "a" * 20,
    "a Hugging Face token": "hf_" + "a" * 34,
    "a token of a package index": "npm_" + "a" * 36,
    "a Slack token": "xoxb-" + "1" * 12,
    "a Google API key": "AIza" + "a" * 35,
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a JSON Web Token": f"eyJ{'a' * 12}.eyJ{'b' * 12}.{'c' * 12}",
    "a password in a URL": "https://me:s3cret@host.example.org/simple",
}


def with_arguments(*lines: str) -> str:
    return changed(LINE, LINE + "".join(f"    {line}\n" for line in lines))


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_is_a_credential_is_refused_where_it_stands(kind: str) -> None:
    (said,) = problems(with_arguments(f'EXTRA: "{VALUES[kind]}"'))
    assert said.startswith("matrix.yaml:28:12: argument EXTRA: the value holds " + kind)
    assert 'hand it in as a BuildKit secret: secrets: ["id=EXTRA,env=EXTRA"]' in said
    assert VALUES[kind] not in said


def test_so_is_one_of_the_command_line() -> None:
    with pytest.raises(UsageError, match="argument EXTRA: the value holds a GitHub token"):
        planned(with_arguments(), CommandLine(args={"EXTRA": VALUES["a GitHub token"]}))


@pytest.mark.parametrize(
    "line",
    [
        "SCCACHE_S3_NO_CREDENTIALS: 1",
        "SCCACHE_S3_NO_CREDENTIALS: yes-there-are-none",
        "USE_TOKEN: 1",
        "NUM_TOKENS: 4096",
        "TOKENIZER: fast",
        'SECRET_TOKEN: ""',
        "AKIAS: 3",
        "REPOSITORY: ssh://git@github.com/acme/app",
        "INDEX: https://host.example.org/simple",
    ],
)
def test_what_is_no_credential(line: str) -> None:
    assert planned(with_arguments(line)).notes == ()


def test_a_name_that_says_so_is_told_once_and_can_be_allowed() -> None:
    text = with_arguments("HF_TOKEN: abc", "AWS_SECRET_ACCESS_KEY: abc")
    notes = planned(text).notes
    assert [note.split(" is named")[0] for note in notes] == ["argument HF_TOKEN", "argument AWS_SECRET_ACCESS_KEY"]
    allowed = text.replace("variants:\n", "variants:\n  not_secret: [HF_TOKEN, AWS_SECRET_ACCESS_KEY]\n", 1)
    assert planned(allowed).notes == ()
