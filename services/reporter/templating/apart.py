"""Renders a user's template in a child process: what goes wrong in there ends the child, never a report."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Limits:
    """What one rendering may take: seconds of processor and of the clock, bytes of memory and of output."""

    cpu_seconds: int = 20
    seconds: float = 60.0
    memory_bytes: int = 1024 * 1024 * 1024
    output_bytes: int = 16 * 1024 * 1024


async def render_template(path: Path, variables: Mapping[str, Any], limits: Limits = Limits()) -> str:
    """The template of a file, filled. Raises ConfigurationError that says file, line and what is wrong."""
    try:
        source = await asyncio.to_thread(path.read_text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the template {path} cannot be read: {error}") from error
    question = {
        "name": str(path),
        "template": source,
        "variables": dict(variables),
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_bytes,
    }
    said = await _ask(path, json.dumps(question, default=str).encode(), limits)
    if "error" in said:
        line = f", line {said['line']}" if said["line"] else ""
        raise ConfigurationError(f"{path}{line}: {said['error']}")
    return str(said["text"])


async def _ask(path: Path, question: bytes, limits: Limits) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.reporter.templating.child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.seconds):
            answer = await _bounded(process, question, limits.output_bytes)
    except TimeoutError:
        raise ConfigurationError(f"{path}: not rendered within {limits.seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    if answer is None:
        size = limits.output_bytes // 1024 // 1024
        raise ConfigurationError(f"{path}: gives more than {size} MiB of text")
    try:
        said = json.loads(answer)
    except ValueError:
        raise ConfigurationError(
            f"{path}: not rendered: it took more than {limits.cpu_seconds} s of processor time or "
            f"{limits.memory_bytes // 1024 // 1024} MiB of memory"
        ) from None
    return dict(said)


async def _bounded(process: asyncio.subprocess.Process, question: bytes, most: int) -> bytes | None:
    """What the child answers; None where that is more than `most` bytes."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(question)
    process.stdin.close()
    answer = bytearray()
    while part := await process.stdout.read(65536):
        answer += part
        if len(answer) > most:
            return None
    return bytes(answer)
