"""Packs and files of an edition: the one-file verifier accepts them as they were made, and refuses every change."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.reporter.formats import FORMATS, Extras, render, write_pack
from services.reporter.formats.manifest import recorded
from tests.chain_rows import ChainRows
from tests.report_document import document, sealed
from tests.sealed_log import SealedLog
from tests.service_process import ROOT
from tests.unit.test_standalone_verifier import standalone

LOG, PROOFS, POLICY = sealed()
EXTRAS = Extras(PROOFS, {"seal-1": b"a note\n"}, POLICY)
EDITION = document()
PACK = render(EDITION, "pack", EXTRAS)
FILES = {FORMATS[name].file: render(EDITION, name, EXTRAS) for name in ("html", "md", "json")} | {
    "evidence.zip": PACK
}


def edition_proof(files, **changes):
    """The proof of an own event that records an edition, under a seal of the key of POLICY."""
    chain = ChainRows(chain_no=9, seed=8, topic="audit.system")
    data = {
        "edition": "monthly/2026-10/2",
        "sha256": recorded("", FILES["report.json"])["sha256"],
        "files": files,
    }
    event = {
        "specversion": "1.0",
        "id": "e",
        "source": "piperoll/report",
        "type": "piperoll.report.files",
        "data": data,
    }
    chain.own_event(**(event | changes))
    log = SealedLog(chain)
    log.seal()
    return log.proof(chain, len(chain.rows) - 1).encode()


PROOF = edition_proof([recorded(name, data) for name, data in FILES.items()])


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "policy").write_bytes(POLICY)
    (tmp_path / "edition.piperoll-proof").write_bytes(PROOF)
    return tmp_path


def run(folder, *arguments):
    command = [
        sys.executable,
        "schemas/standalone/piperoll_verify.py",
        *arguments,
        "--policy",
        folder / "policy",
        "--json",
    ]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not made.stderr
    return made.returncode, json.loads(made.stdout)


def test_a_pack_is_proved_with_the_number_of_its_records(folder):
    status, found = run(folder, folder / "evidence.zip", "--edition", folder / "edition.piperoll-proof")
    assert (status, found["result"]) == (0, "proved")
    assert found["pack"] == {"files": 21, "cited": 12, "proved": 12, "other": False}
    assert found["edition"]["edition"] == "monthly/2026-10/2"
    assert found["edition"]["edition_sha256"] == recorded("", FILES["report.json"])["sha256"]
    assert "12 of the 12 records" in found["proved"][2]


def test_without_the_edition_a_pack_says_what_is_not_proved(folder):
    status, found = run(folder, folder / "evidence.zip")
    assert status == 0
    assert found["not_proved"][0].startswith("Whether this is the pack that was recorded")


@pytest.mark.parametrize("name", ["report.html", "report.md", "report.json"])
def test_a_file_of_an_edition_is_proved_byte_for_byte(folder, name):
    proof = ("--edition", folder / "edition.piperoll-proof")
    assert run(folder, folder / name, *proof)[0] == 0
    data = bytearray(FILES[name])
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    status, found = run(folder, folder / name, *proof)
    assert (status, found["result"]) == (1, "refused")
    assert "not as it was recorded" in found["why"]


def test_the_record_of_the_edition_itself_proves_its_json(folder):
    (folder / "edition.piperoll-proof").write_bytes(edition_proof([], type="piperoll.report.edition"))
    proof = ("--edition", folder / "edition.piperoll-proof")
    assert run(folder, folder / "report.json", *proof)[0] == 0
    assert run(folder, folder / "report.html", *proof)[0] == 1


def test_a_record_whose_document_is_not_its_edition_proves_nothing(folder):
    """As one that was made of a rebuild that is other: in full detail report.json is the edition."""
    other = {"edition": "monthly/2026-10/2", "sha256": "ab" * 32, "detail": "full"}
    every = [recorded(name, data) for name, data in FILES.items()]
    for files, name in ((every, "report.html"), (every[-1:], "evidence.zip")):
        proof = edition_proof([], data=other | {"files": files})
        (folder / "edition.piperoll-proof").write_bytes(proof)
        status, found = run(folder, folder / name, "--edition", folder / "edition.piperoll-proof")
        assert (status, found["result"]) == (1, "refused")
        assert "is not the edition" in found["why"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(PACK) - 1), st.integers(1, 255))
def test_a_pack_with_one_byte_changed_anywhere_is_refused(tmp_path_factory, at, change):
    path = tmp_path_factory.getbasetemp() / "changed.zip"
    data = bytearray(PACK)
    data[at] ^= change
    path.write_bytes(data)
    with pytest.raises(standalone.Refused):
        standalone.check_pack(str(path), POLICY)


def test_a_pack_made_anew_around_another_record_is_refused(tmp_path):
    proofs = PROOFS | {"1:3": PROOFS["1:4"]}
    path = tmp_path / "anew.zip"
    with path.open("wb") as file:
        write_pack(EDITION, Extras(proofs, {}, POLICY), file)
    with pytest.raises(standalone.Refused, match="record 1:3"):
        standalone.check_pack(str(path), POLICY)


def test_a_pack_made_anew_is_not_the_one_that_was_recorded(folder):
    with (folder / "evidence.zip").open("wb") as file:
        write_pack(document(made="2026-11-02T05:00:00Z"), EXTRAS, file)
    assert run(folder, folder / "evidence.zip")[0] == 0
    status, found = run(folder, folder / "evidence.zip", "--edition", folder / "edition.piperoll-proof")
    assert (status, "not as it was recorded" in found["why"]) == (1, True)


@pytest.mark.parametrize(
    "proof",
    [
        edition_proof([], type="piperoll.drill"),
        edition_proof([], data={"edition": 1}),
        edition_proof([], data=None),
        PROOFS["1:3"],
    ],
    ids=["another event", "no hash", "no data", "an event of an app"],
)
def test_what_is_not_the_proof_of_an_edition_is_refused(folder, proof):
    (folder / "edition.piperoll-proof").write_bytes(proof)
    assert run(folder, folder / "report.html", "--edition", folder / "edition.piperoll-proof")[0] == 1


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(18), PACK[:-1], PACK + b"\n", PACK[100:]])
def test_what_is_no_pack_is_refused(folder, data):
    (folder / "evidence.zip").write_bytes(data)
    status, found = run(folder, folder / "evidence.zip")
    assert (status, found["result"]) == (1, "refused")


def test_a_missing_file_is_no_verdict(folder):
    assert run(folder, folder / "none.zip")[0] == 2
    assert run(folder, folder / "none.html", "--edition", folder / "edition.piperoll-proof")[0] == 2


def test_the_same_input_gives_the_same_bytes_in_every_format():
    for name in FORMATS:
        assert render(document(), name, EXTRAS) == render(document(), name, EXTRAS)


def test_another_process_makes_the_same_bytes():
    """Whatever its hash seed, its time zone and its clock."""
    program = (
        "from hashlib import sha256; from tests.unit.test_standalone_files import EDITION, EXTRAS, render;"
        "print(*(sha256(render(EDITION, name, EXTRAS)).hexdigest() for name in ('html', 'md', 'pdf', 'pack')))"
    )
    found = set()
    for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        variables = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone}
        command = [sys.executable, "-c", program]
        found.add(subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, check=True).stdout)
    assert len(found) == 1
