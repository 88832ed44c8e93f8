"""Archives and the proofs beside them: what was sealed is shown, and no change of archive, proof or policy is passed over."""

import gzip
import json
from dataclasses import replace

import pytest

from schemas.archive_proof import ArchiveProof, ChainRange, decode_archive_proof
from schemas.seal import decode_seal
from schemas.tlog.merkle import inclusion_proof, leaf_hash
from schemas.tlog.proof import TlogProof
from schemas.tlog.ranges import range_proof
from services.common.errors import ConfigurationError
from services.reporter.archive import read_lines, verify_alone
from services.reporter.archive_proof import check_proof, judge_proof, proof_path
from services.reporter.evidence import TrustedKeys, read_policy
from services.reporter.export import export_line
from services.reporter.parquet import read_parquet, write_parquet
from tests.chain_rows import ChainRows
from tests.sealed_log import WITNESSES, SealedLog, _subtrees
from tests.unit.test_standalone_verifier import standalone

FIRST, END = 3, 12


def build():
    one, other = ChainRows(chain_no=1, seed=1), ChainRows(chain_no=2, seed=2, topic="audit.system")
    log = SealedLog(one, other, witnesses=WITNESSES)
    one.events(9)
    one.skip(2)
    one.duplicate(2)
    other.own_event()
    log.seal()
    one.events(6)
    log.seal()
    log.seal()
    return log


LOG = build()
STRANGER = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"


def lines_of(chain, first, end):
    """As `piperoll export` has them."""
    for row, content in list(zip(chain.rows, chain.contents, strict=True))[first:end]:
        yield json.loads(
            export_line(
                {
                    **chain.info._asdict(),
                    **row._asdict(),
                    "salt": content.salt,
                    "body": content.body,
                    "enrich_salt": content.enrich_salt,
                    "enrich": content.enrich,
                    "original_salt": chain.original_salts.get(row.seq),
                }
            )
        )


def archive_lines():
    return [*lines_of(LOG.chains[0], FIRST, END), *lines_of(LOG.chains[1], 0, 2)]


def archive_proof(seal_no=1):
    seal, seals = decode_seal(LOG.seals[seal_no]), [leaf_hash(leaf) for leaf in LOG.seals]
    ranges = []
    for chain, first, end in ((LOG.chains[0], FIRST, END), (LOG.chains[1], 0, 2)):
        hashes = [row.record_hash for row in chain.rows]
        around = range_proof(first, end, seal.chain(chain.chain_id).size, _subtrees(hashes))
        ranges.append(ChainRange(chain.chain_id, first, end, tuple(around)))
    top = [item for item in LOG.checkpoints if item.tree == 0][-1]
    hashes = inclusion_proof(seal_no, top.size, _subtrees(seals))
    return ArchiveProof(LOG.seals[seal_no], TlogProof(seal_no, tuple(hashes), top.note), tuple(ranges))


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "policy"
    file.write_bytes(LOG.policy("both"))
    return read_policy([], file)


@pytest.fixture(params=["jsonl.gz", "jsonl", "parquet"])
def archive(tmp_path, request):
    path = tmp_path / f"month.{request.param}"
    write(path, archive_lines())
    return path


def write(path, lines):
    if path.suffix == ".parquet":
        with path.open("wb") as file:
            write_parquet(iter(lines), file)
        return
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_what_was_sealed_is_shown_in_every_format(archive, policy):
    assert list(read_lines(archive)) == archive_lines()
    proof = decode_archive_proof(archive_proof().encode())
    assert proof == archive_proof()
    proved = check_proof(archive, proof, policy)
    assert (proved.seal_no, proved.log, proved.by) == (1, LOG.seal_origin, ("W1", "W2"))
    proof_path(archive).write_bytes(proof.encode())
    found = verify_alone(archive)
    judge_proof(archive, policy, found, wanted=True)
    assert (found.good, found.proved) == (True, proved)
    judge_proof(archive, TrustedKeys(), found, wanted=False)
    assert "--vkey" in found.unproved


def changed_archives():
    lines = archive_lines()
    other = next(lines_of(ChainRows(chain_no=1, seed=9).events(5), 2, 3))
    return {
        "first record gone": lines[1:],
        "last record of a chain gone": [*lines[:8], *lines[9:]],
        "a record in the middle gone": [*lines[:4], *lines[5:]],
        "a whole chain gone": lines[:-2],
        "a record of another chain": [*lines, other],
        "a leaf changed": [{**lines[0], "leaf": lines[0]["leaf"][:-2] + "00"}, *lines[1:]],
        "two records in another order": [lines[1], lines[0], *lines[2:]],
        "a record twice": [lines[0], *lines],
    }


@pytest.mark.parametrize("name", changed_archives())
def test_an_archive_that_was_changed_is_not_shown(tmp_path, policy, name):
    path = tmp_path / "month.jsonl"
    write(path, changed_archives()[name])
    with pytest.raises(ValueError):  # noqa: PT011 - in many words
        check_proof(path, archive_proof(), policy)
    proof_path(path).write_bytes(archive_proof().encode())
    found = verify_alone(path)
    judge_proof(path, policy, found, wanted=True)
    assert not found.good
    with pytest.raises(standalone.Refused):
        standalone.check_archive(str(path), LOG.policy("both"))


def is_shown(path, policy):
    found = verify_alone(path)
    try:
        judge_proof(path, policy, found, wanted=True)
    except ConfigurationError:  # no proof file at all
        return False
    return found.good


def test_a_proof_that_was_changed_is_refused_by_both_verifiers(tmp_path, policy):
    path = tmp_path / "month.jsonl"
    write(path, archive_lines())
    document = json.loads(archive_proof().encode())
    first = document["chains"][0]
    tries = [
        {**document, "seal_leaf": json.loads(archive_proof(2).encode())["seal_leaf"]},
        {**document, "chains": document["chains"][:1]},
        {**document, "chains": [*document["chains"], first]},
        {**document, "chains": [{**first, "first": 4}, document["chains"][1]]},
        {**document, "chains": [{**first, "hashes": first["hashes"][:-1]}, document["chains"][1]]},
        {
            **document,
            "chains": [{**first, "hashes": [*first["hashes"], first["hashes"][0]]}, document["chains"][1]],
        },
        {**document, "chains": [{**first, "chain_id": "00" * 16}, document["chains"][1]]},
        {**document, "seal_proof": document["seal_proof"].replace("index 1", "index 2")},
        {**document, "more": 1},
        {**document, "format": "piperoll-archive-proof/v2"},
    ]
    for one in tries:
        proof_path(path).write_text(json.dumps(one))
        assert not is_shown(path, policy)
        with pytest.raises(standalone.Refused):
            standalone.check_archive(str(path), LOG.policy("both"))


def test_without_the_trusted_key_or_its_witnesses_nothing_is_shown(archive, tmp_path):
    stranger = read_policy([STRANGER], None)
    with pytest.raises(ValueError, match="known key"):
        check_proof(archive, archive_proof(), stranger)
    top = archive_proof().seal_proof
    text, _, _ = top.checkpoint.partition(b"\n\n")
    alone = top.checkpoint[: top.checkpoint.index(b"\n", len(text) + 2) + 1]  # the log's line, no witness's
    bare = replace(archive_proof(), seal_proof=replace(top, checkpoint=alone))
    file = tmp_path / "policy"
    for quorum, shown in (("none", True), ("W1", False)):
        file.write_bytes(LOG.policy(quorum))
        if shown:
            assert check_proof(archive, bare, read_policy([], file)).by == ()
        else:
            with pytest.raises(ValueError, match="quorum"):
                check_proof(archive, bare, read_policy([], file))


def test_the_stand_alone_verifier_shows_the_same(tmp_path):
    for name in ("month.jsonl", "month.jsonl.gz"):
        path = tmp_path / name
        write(path, archive_lines())
        proof_path(path).write_bytes(archive_proof().encode())
        found = standalone.check_archive(str(path), LOG.policy("both"))
        assert (found["records"], found["payloads"], found["seal"]) == (11, 11, 1)
        lines = archive_lines()
        lines[2]["body"] = lines[1]["body"]
        write(path, lines)
        with pytest.raises(standalone.Refused, match="commits to"):
            standalone.check_archive(str(path), LOG.policy("both"))
    table = tmp_path / "month.parquet"
    table.write_bytes(b"PAR1 PAR1")
    with pytest.raises(standalone.Unchecked, match="piperoll verify --archive"):
        standalone.check_archive(str(table), LOG.policy("both"))


def test_a_table_that_is_damaged_or_none_is_a_clear_error(tmp_path):
    path = tmp_path / "month.parquet"
    write(path, archive_lines())
    whole = path.read_bytes()
    for content in (
        b"",
        b"PAR1",
        b"x" * 100,
        whole[:-1],
        whole[:100] + b"\0" * 200 + whole[300:],
        b"PAR1" + b"\0" * 50 + b"PAR1",
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError):
            list(read_parquet(path))
