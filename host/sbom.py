"""Software bills of materials: the locked packages as CycloneDX 1.6, the same bytes for the same locks.

A lock has the hashes of all files of a version, one of which is installed. Licences are left out: a lock has none.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

_PINNED = re.compile(
    r"^([\w.-]+)==(\S+)( ; \S+ == 'win32')? \\$((?:\n +--hash=sha256:[0-9a-f]{64}(?: \\)?$)+)", re.MULTILINE
)
# RFC 9562: a UUID of the content, so that another list has another serial number
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "kinesis-lambda-logging")


def of_python(lock: str) -> list[dict[str, Any]]:
    """The components of a requirements file with hashes, without those that only Windows takes."""
    return [
        _component("pypi", name, version, [("SHA-256", each) for each in re.findall(r"sha256:(\w+)", hashes)])
        for name, version, windows, hashes in _PINNED.findall(lock)
        if not windows
    ]


def of_node(lock: str) -> list[dict[str, Any]]:
    """The components of a package-lock.json, without those for development."""
    found = []
    for path, package in json.loads(lock)["packages"].items():
        if path and not package.get("dev"):
            algorithm, _, digest = package["integrity"].partition("-")
            hashes = [(f"SHA-{algorithm.removeprefix('sha')}", base64.b64decode(digest).hex())]
            found.append(_component("npm", path.removeprefix("node_modules/"), package["version"], hashes))
    return found


def bill(name: str, version: str, components: list[dict[str, Any]]) -> bytes:
    """The document for the artefact `name`."""
    main = {"type": "application", "bom-ref": name, "name": name, "version": version}
    found = sorted(components, key=lambda one: str(one["purl"]))
    serial = uuid.uuid5(_NAMESPACE, json.dumps([main, found], sort_keys=True))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": main},
        "components": found,
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _component(kind: str, name: str, version: str, hashes: list[tuple[str, str]]) -> dict[str, Any]:
    purl = f"pkg:{kind}/{name}@{version}"
    digests = [{"alg": algorithm, "content": digest} for algorithm, digest in hashes]
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "hashes": digests}
