"""Resolves Kafka's jars anew and pins them: `python -m deploy.local.lock`, after a change of ROOTS."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from jgo.maven import MavenContext, PythonResolver

from deploy.local.artifacts import LOCK_FILE

ROOTS = (
    "org.apache.kafka:kafka_2.13:4.3.1",  # the broker
    "org.apache.kafka:kafka-tools:4.3.1",  # StorageTool, which formats its folder
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!",  # binds its logging; "!": its managed versions are not for us
)


def resolve(cache: Path) -> dict[str, str]:
    """`group:artifact:version` → SHA-256 of the jar, of the roots and all that they need at run time."""
    context = MavenContext(repo_cache=cache, resolver=PythonResolver())
    roots = [context.create_dependency(root) for root in ROOTS]
    resolved, transitive = context.resolver.resolve(roots)
    pins = {}
    for found in [*resolved, *transitive]:
        if found.scope in {None, "compile", "runtime"}:
            jar = Path(found.artifact.resolve()).read_bytes()
            pins[f"{found.groupId}:{found.artifactId}:{found.version}"] = hashlib.sha256(jar).hexdigest()
    return dict(sorted(pins.items()))


def main() -> None:
    with TemporaryDirectory() as cache:
        pins = resolve(Path(cache))
    LOCK_FILE.write_text(json.dumps(pins, indent=1) + "\n", encoding="utf-8")
    print(f"{len(pins)} jars pinned in {LOCK_FILE}")


if __name__ == "__main__":
    main()
