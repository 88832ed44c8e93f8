"""Formats: pure functions from an edition document to the bytes of a file. What is anybody's text passes one escape each."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from services.reporter.document import canonical
from services.reporter.formats.detail import Detail, with_detail
from services.reporter.formats.html import render_html
from services.reporter.formats.markdown import render_markdown
from services.reporter.formats.other import OTHER, warning_line
from services.reporter.formats.pack import Pack, open_pack
from services.reporter.formats.page import page_of
from services.reporter.formats.pdf import Attached, render_pdf
from services.reporter.formats.proofs import bundle, without_contents

_STANDALONE = Path(__file__).parents[3] / "schemas" / "standalone" / "piperoll_verify.py"
_README = Path(__file__).parent / "templates" / "pack_readme.md"


class Format(NamedTuple):
    """Name and media type of the file."""

    file: str
    media_type: str


FORMATS: dict[str, Format] = {
    "html": Format("report.html", "text/html; charset=utf-8"),
    "pdf": Format("report.pdf", "application/pdf"),
    "md": Format("report.md", "text/markdown; charset=utf-8"),
    "json": Format("report.json", "application/json"),
    "pack": Format("evidence.zip", "application/zip"),
}


@dataclass(frozen=True)
class Extras:
    """What formats hold beside the document. `proofs`: proof files of cited records, by record (`3:17`); `checkpoints`:
    signed notes by name; `policy`: whose signatures count; `attachments`: files that the document lists, for the pack."""

    proofs: Mapping[str, bytes] = field(default_factory=dict)
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    policy: bytes = b""
    attachments: Sequence[Path] = ()
    detail: Detail = "full"

    def allowed(self) -> Extras:
        """What this detail lets through: below full, proofs show that records exist and not what they say, and no events go
        along."""
        if self.detail == "full":
            return self
        proofs = {record: without_contents(file) for record, file in self.proofs.items()}
        return Extras(proofs, self.checkpoints, self.policy, (), self.detail)


def render(document: Mapping[str, Any], name: str, extras: Extras | None = None) -> bytes:
    """The file of a format. Raises KeyError for a format that is not in FORMATS."""
    given = (extras or Extras()).allowed()
    seen = with_detail(document, given.detail)
    if name != "pack":
        return _RENDERERS[name](seen, given)
    whole = io.BytesIO()
    _write_pack(seen, given, whole)
    return whole.getvalue()


def write_pack(document: Mapping[str, Any], extras: Extras, file: BinaryIO) -> None:
    """The same as render(…, "pack"), in constant memory."""
    given = extras.allowed()
    _write_pack(with_detail(document, given.detail), given, file)


def _html(document: Mapping[str, Any], extras: Extras) -> bytes:
    return render_html(document, page_of(document), extras.proofs, extras.policy)


def _markdown(document: Mapping[str, Any], _extras: Extras) -> bytes:
    return render_markdown(page_of(document))


def _json(document: Mapping[str, Any], _extras: Extras) -> bytes:
    return canonical(document)


def _pdf(document: Mapping[str, Any], extras: Extras) -> bytes:
    attached = [Attached("report.json", canonical(document), "application/json", _about(document), "source")]
    if extras.proofs:
        data = json.dumps(bundle(extras.proofs), separators=(",", ":")).encode() + b"\n"
        attached.append(Attached("proofs.json", data, "application/json", "Proofs of the cited records"))
    if extras.policy:
        attached.append(Attached("policy.txt", extras.policy, "text/plain", "Whose signatures count"))
    return render_pdf(page_of(document), str(document["made"]), attached)


def _about(document: Mapping[str, Any]) -> str:
    if document.get("edition_sha256"):
        return f"A copy of the edition ({document['detail']}), byte for byte"
    return warning_line(document).strip() or "The edition, byte for byte"


_RENDERERS: dict[str, Callable[[Mapping[str, Any], Extras], bytes]] = {
    "html": _html,
    "pdf": _pdf,
    "md": _markdown,
    "json": _json,
}


def _write_pack(document: Mapping[str, Any], extras: Extras, file: BinaryIO) -> None:
    edition = ("other than " if document.get(OTHER) else "") + str(
        (document.get("edition") or {}).get("id", "")
    )
    with open_pack(file, str(document["made"])) as pack:
        pack.add("README.md", warning_line(document).encode() + _README.read_bytes())
        for name, renderer in _RENDERERS.items():
            pack.add(f"report/{FORMATS[name].file}", renderer(document, extras))
        _add_evidence(pack, extras)
        pack.add("piperoll_verify.py", _STANDALONE.read_bytes())
        pack.close(edition, sha256(canonical(document)).hexdigest())


def _add_evidence(pack: Pack, extras: Extras) -> None:
    for path in extras.attachments:
        pack.add_file(f"events/{path.name}", path)
    for record, proof in extras.proofs.items():
        pack.add(f"proofs/{record.replace(':', '-')}.piperoll-proof", proof)
    for name, note in extras.checkpoints.items():
        pack.add(f"checkpoints/{name}", note)
    if extras.policy:
        pack.add("policy.txt", extras.policy)


__all__ = ["FORMATS", "Detail", "Extras", "Format", "render", "with_detail", "write_pack"]
