"""Makes the index of a family: the images of its platforms, each with its attestations, as they were pushed.

The same images give the same index, byte for byte, so a second publish moves nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.labels import KEY
from orchestrator.publish.pushed import REVISION
from orchestrator.registry.manifests import OCI_INDEX, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.publish.pushed import Pushed
    from orchestrator.registry.manifests import Manifest


def compose(images: Iterable[Pushed], *, revision: str = "") -> Manifest:
    """Make the index.

    Args:
        images: The images, in the order of the plan's platforms.
        revision: The commit that it stands for, "" where it is not known.
    """
    entries = []
    for image in images:
        own, *attestations = image.entries
        notes = {**own.get("annotations", {}), **({KEY: image.key} if image.key else {})}
        entries += [{**own, **({"annotations": notes} if notes else {})}, *attestations]
    content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    if revision:
        content["annotations"] = {REVISION: revision}
    return read(json.dumps(content, sort_keys=True).encode(), OCI_INDEX)
