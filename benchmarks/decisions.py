"""Speed of the decisions of `build --push --resume` beside as many bare HEADs by the same client, on a local registry.

    python -m benchmarks.decisions [VARIANTS] [RUNS]

Every variant has one tag, which carries its key: the most that a decision can be, as nothing is built after it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import uuid
from pathlib import Path

from benchmarks.timing import best, row
from orchestrator.bake.file import Output
from orchestrator.labels import KEY
from orchestrator.reference import Digest, Tag, repository
from orchestrator.registry.client import Registry
from orchestrator.registry.manifests import OCI_MANIFEST, Manifest, read
from orchestrator.runs.journal import Journal
from orchestrator.runs.resume import Resume, Wanted
from tests.support.engine import RegistryProcess

_EMPTY = b"{}"


def image(number: int) -> tuple[str, Manifest]:
    """A key, and a manifest that carries it."""
    key = f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}"
    blob = {
        "mediaType": "application/vnd.oci.empty.v1+json", "size": len(_EMPTY),
        "digest": f"sha256:{hashlib.sha256(_EMPTY).hexdigest()}",
    }  # fmt: skip
    content = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob, "layers": [blob],
        "annotations": {KEY: key, "nonce": uuid.uuid4().hex},
    }  # fmt: skip
    return key, read(json.dumps(content).encode(), OCI_MANIFEST)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder:
        process = RegistryProcess(Path(folder, "registry"))
        try:
            name = process.registry.repository("app")
            wanted = []
            with Registry(repository(name)) as client:
                client.upload(Digest(f"sha256:{hashlib.sha256(_EMPTY).hexdigest()}"), len(_EMPTY), lambda: [_EMPTY])
                for number in range(count):
                    key, manifest = image(number)
                    client.put_manifest(manifest, Tag(f"v{number}"))
                    tags = (f"{name}:v{number}",)
                    wanted.append(Wanted(id=f"v{number}", key=key, tags=tags, repositories={name: tags}))

            def decisions() -> None:
                journal = Journal(Path(folder, "none.jsonl"))
                with Resume(Output(push=True)) as resume:
                    found = [resume.decide(one, journal) for one in wanted]
                if any(one.outcome is None for one in found):
                    raise SystemExit("a variant that is there was not skipped")

            def heads() -> None:
                with Registry(repository(name)) as client:
                    for number in range(count):
                        client.head(Tag(f"v{number}"))

            ours, theirs = best(runs, decisions, heads)
            row(
                f"--resume: decisions for {count:,} variants",
                ours,
                theirs,
                f"{count:,} HEADs by the same client",
                "1.5x",
            )
        finally:
            process.stop()


if __name__ == "__main__":
    main()
