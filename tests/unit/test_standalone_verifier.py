"""The stand-alone verifier accepts what was sealed, refuses every change, and judges as schemas.tlog does."""

import ast
import importlib.util
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import commitment
from schemas.proof_file import Opened, decode_proof_file
from schemas.record import decode, record_hash
from schemas.seal import decode_seal
from schemas.tlog import base64
from schemas.tlog.checkpoint import parse_checkpoint
from schemas.tlog.errors import VerificationError
from schemas.tlog.merkle import leaf_hash, verify_inclusion
from schemas.tlog.note import Verifier, open_note
from schemas.tlog.policy import parse_policy
from services.reporter.integrity import LIMITS
from tests.chain_rows import ChainRows
from tests.sealed_log import WITNESSES, SealedLog
from tests.service_process import ROOT

PATH = ROOT / "schemas" / "standalone" / "piperoll_verify.py"


def _load():
    specification = importlib.util.spec_from_file_location("piperoll_verify", PATH)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


standalone = _load()


def build():
    """Two chains, sealed at three sizes; both witnesses cosign."""
    one, other = ChainRows(chain_no=1, seed=1), ChainRows(chain_no=2, seed=2, topic="audit.system")
    log = SealedLog(one, other, witnesses=WITNESSES)
    for count in (3, 7, 12):
        one.events(count)
        other.own_event()
        log.seal()
    return log


LOG = build()
CHAIN = LOG.chains[0]
POLICY = LOG.policy("both")


def judge_by_schemas(file, policy_file):
    """The same judgement from the parts that the services use; raises ValueError."""
    proof, policy = decode_proof_file(file), parse_policy(policy_file)
    if proof.chain_proof.extra is not None or proof.seal_proof.extra is not None:
        raise ValueError("extra")
    opened = open_note(proof.seal_proof.checkpoint, [*policy.logs, *policy.witnesses.values()])
    policy.check(opened)
    top = parse_checkpoint(opened.text)
    if not any(item.name == top.origin for item in opened.verified):
        raise VerificationError("not by the log")
    seal_hash = leaf_hash(proof.seal_leaf)
    verify_inclusion(seal_hash, proof.seal_proof.index, top.size, proof.seal_proof.hashes, top.root)
    seal, record = decode_seal(proof.seal_leaf), decode(proof.leaf)
    sealed = seal.chain(record.chain_id)
    origin = open_note(
        proof.chain_proof.checkpoint,
        [Verifier(LOG.origin(CHAIN), log.public_key) for log in policy.logs],
    ).text
    tree = parse_checkpoint(origin)
    if sealed is None or (tree.origin, tree.size, tree.root) != (
        LOG.origin(CHAIN),
        sealed.size,
        sealed.root,
    ):
        raise VerificationError("not the sealed tree")
    leaf, index = record_hash(proof.leaf), proof.chain_proof.index
    verify_inclusion(leaf, index, tree.size, proof.chain_proof.hashes, tree.root)
    if (seal.no, record.seq) != (proof.seal_proof.index, index):
        raise VerificationError("not in its place")
    for part, made, wanted in (
        (proof.payload, commitment.payload_commitment, record.payload_commitment),
        (proof.enrichment, commitment.enrichment_commitment, record.enrichment_commitment),
    ):
        if part is not None and (len(part.salt) != 32 or made(*part) != wanted):
            raise VerificationError("not what is committed to")
    if proof.payload is not None:
        commitment.decode_body(proof.payload.data)


def agree(file, policy=POLICY):
    """What both say: True where they accept, False where they refuse."""
    try:
        judge_by_schemas(file, policy)
        ours = True
    except ValueError:
        ours = False
    try:
        standalone.check(file, policy)
        theirs = True
    except (standalone.Refused, standalone.Unchecked):
        theirs = False
    assert ours == theirs
    return ours


@pytest.mark.parametrize("seq", [0, 1, 3, 4, 10, 22])
@pytest.mark.parametrize("payload", [True, False])
def test_every_sealed_record_is_proved_with_and_without_its_content(seq, payload):
    file = LOG.proof(CHAIN, seq, payload=payload).encode()
    assert agree(file)
    found = standalone.check(file, POLICY)
    assert (found["seq"], found["chain"]) == (seq, LOG.origin(CHAIN))
    assert found["record_hash"] == CHAIN.rows[seq].record_hash.hex()
    assert (found["payload"] is not None) == payload
    assert set(found["cosigned"]) == {"W1", "W2"}


def paths(document, at=()):
    """The way to every string in the document."""
    if isinstance(document, dict):
        return [path for key, item in document.items() for path in paths(item, (*at, key))]
    return [at] if isinstance(document, str) else []


@given(st.data())
def test_any_changed_byte_of_any_field_is_refused(data):
    document = json.loads(LOG.proof(CHAIN, data.draw(st.integers(0, 22))).encode())
    path = data.draw(st.sampled_from(paths(document)))
    where = document
    for key in path[:-1]:
        where = where[key]
    text = where[path[-1]]
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(max_codepoint=0x2020, exclude_categories=["Cs"]))
    where[path[-1]] = text[:at] + (other if other != text[at] else "") + text[at + 1 :]
    assert not agree(json.dumps(document).encode())


@given(st.data())
def test_any_changed_bit_of_the_decoded_bytes_is_refused(data):
    document = json.loads(LOG.proof(CHAIN, data.draw(st.integers(0, 22))).encode())
    names = [path for path in paths(document) if path[0] not in ("format", "chain_proof", "seal_proof")]
    path = data.draw(st.sampled_from(names))
    where = document
    for key in path[:-1]:
        where = where[key]
    raw = bytearray(base64.decode(where[path[-1]]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    where[path[-1]] = base64.encode(bytes(raw))
    assert not agree(json.dumps(document).encode())


@given(st.data())
def test_a_changed_byte_of_the_file_is_refused_or_changes_nothing_that_it_says(data):
    file = LOG.proof(CHAIN, data.draw(st.integers(0, 22))).encode()
    changed = bytearray(file)
    changed[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        standalone.check(bytes(changed), POLICY)
    except standalone.Refused:
        return
    assert json.loads(changed) == json.loads(file)


def test_the_parts_of_two_proofs_do_not_go_together():
    one, other = LOG.proof(CHAIN, 4), LOG.proof(CHAIN, 15)
    mixed = [one._replace(**{name: getattr(other, name)}) for name in one._fields]
    refused = [item for item in mixed if item != one]
    assert len(refused) == 6
    for item in refused:
        assert not agree(item.encode())


def test_a_record_of_another_chain_is_not_proved_by_this_ones_seal():
    elsewhere = LOG.proof(LOG.chains[1], 1)
    assert standalone.check(elsewhere.encode(), POLICY)["chain"] == LOG.origin(LOG.chains[1])
    assert not agree(elsewhere._replace(chain_proof=LOG.proof(CHAIN, 1).chain_proof).encode())


def test_a_payload_beside_a_record_that_commits_to_none_is_refused():
    withheld = ChainRows(seed=3)
    withheld.append(6, None)
    log = SealedLog(withheld)
    log.seal()
    proof = log.proof(withheld, 1)
    assert standalone.check(proof.encode(), log.policy())["payload"] is None
    with pytest.raises(standalone.Refused):
        standalone.check(proof._replace(payload=Opened(bytes(32), b"\0\0\0\0")).encode(), log.policy())


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a proof file of format"),
        (b'{"format":"piperoll-proof/v2"}', "not a proof file of format"),
        (b'{"format":"piperoll-proof/v1"}', "has the fields"),
        (LOG.proof(CHAIN, 4).encode().replace(b"{\n", b'{"payload":null,\n', 1), "twice"),
        (LOG.proof(CHAIN, 4).encode().replace(b"{\n", b'{"more":null,\n', 1), "no other"),
        (LOG.proof(CHAIN, 4).encode().replace(b"index 4", b"index 04"), "not a number"),
        (LOG.proof(CHAIN, 4).encode().replace(b"@v1", b"@v1\\nextra AAAA"), "not a tlog-proof"),
        (LOG.proof(CHAIN, 4).encode().replace(b"@v1", b"@v1\\ud800"), "not JSON"),
        (
            b'{"format":"piperoll-proof/v1","leaf":1,"payload":1,"enrichment":1,"chain_proof":1,"seal_leaf":1,"seal_proof":1}',
            "base64",
        ),
    ],
)
def test_what_is_no_proof_is_refused_with_a_reason(document, why):
    with pytest.raises(standalone.Refused, match=why):
        standalone.check(document, POLICY)


def test_a_proof_under_another_policy_is_refused():
    file = LOG.proof(CHAIN, 4).encode()
    stranger = SealedLog(witnesses=[])
    stranger.signer = lambda origin: type(LOG.signer(origin))(origin, bytes(32))
    with pytest.raises(standalone.Refused, match="no log of the policy"):
        standalone.check(file, stranger.policy("both"))
    unwitnessed = SealedLog(ChainRows(seed=1).events(5))
    unwitnessed.seal()
    file = unwitnessed.proof(unwitnessed.chains[0], 4).encode()
    assert standalone.check(file, unwitnessed.policy())["cosigned"] == {}
    with pytest.raises(standalone.Refused, match="quorum"):
        standalone.check(file, POLICY)


@pytest.mark.parametrize(
    "policy",
    [
        b"",
        b"quorum none\nquorum none\n",
        POLICY.replace(b"quorum both", b"quorum any"),
        POLICY + b"log x\n",
        POLICY.replace(b"/seal+", b"/else+"),
        POLICY + b"\x00",
    ],
)
def test_a_policy_that_cannot_be_used_is_no_verdict(policy):
    with pytest.raises(standalone.Unchecked):
        standalone.check(LOG.proof(CHAIN, 4).encode(), policy)


def test_a_policy_of_another_log_name_is_no_verdict():
    named = LOG.policy().replace(
        LOG.signer(LOG.seal_origin).verifier.vkey().encode(),
        Verifier("piperoll.example/other", LOG.signer("x").verifier.public_key).vkey().encode(),
    )
    with pytest.raises(standalone.Refused, match="no log of the policy"):
        standalone.check(LOG.proof(CHAIN, 4).encode(), named)


_VKEYS = [LOG.signer(LOG.seal_origin).verifier.vkey(), *(key.verifier.vkey() for key in WITNESSES)]
_LINES = st.sampled_from(
    [
        *(f"log {vkey}" for vkey in _VKEYS),
        f"log {_VKEYS[0]} https://log.example",
        f"log {LOG.signer('other').verifier.vkey()}",
        *(f"witness W{n} {vkey}" for n, vkey in enumerate(_VKEYS)),
        f"\twitness  V {_VKEYS[1]} https://w.example ",
        "group g any W1 W2",
        "group g all W1 W2",
        "group g 2 W1 W2",
        "group g 02 W1 W2",
        "group h 1 g V",
        "group h any W1 W1",
        "group g any",
        "quorum none",
        "quorum W1",
        "quorum g",
        "quorum h",
        "quorum",
        "# a comment",
        "  ",
        "log x+00000000+AAAA",
        "nonsense",
        "witness none " + _VKEYS[2],
        "log \x7f",
    ]
)


@given(st.lists(_LINES, max_size=9))
def test_a_policy_means_the_same_to_both(lines):
    file = "\n".join(lines).encode()
    try:
        ours = parse_policy(file)
    except ValueError:
        ours = None
    try:
        theirs = standalone.Policy(file)
    except standalone.Unchecked:
        theirs = None
    assert (ours is None) == (theirs is None)
    if ours is not None:
        for names in (set(), {"W1"}, {"W2"}, {"V"}, {"W1", "W2"}, {"W1", "W2", "V"}):
            assert ours.is_met(names) == theirs.is_met(names)
        assert [log.vkey() for log in ours.logs] == [
            f"{key.name}+{key.id.hex()}+{base64.encode(bytes([key.kind]) + key.public)}"
            for key in theirs.logs
        ]


@given(st.data())
def test_a_changed_note_means_the_same_to_both(data):
    """Any one character of a note replaced, taken out or put in."""
    note = LOG.checkpoints[-1].note.decode()
    at, kept = data.draw(st.integers(0, len(note) - 1)), data.draw(st.integers(0, 2))
    new = data.draw(st.sampled_from(["", "\n", " ", "+", "=", "A", "\u2014", "\x00", "\xa0", "0"]))
    changed = note[:at] + new + note[at + kept :]
    policy = parse_policy(POLICY)
    try:
        opened = open_note(changed.encode(), [*policy.logs, *policy.witnesses.values()])
        ours = {(item.name, item.key_id) for item in opened.verified}
    except ValueError:
        ours = None
    theirs = standalone.Policy(POLICY)
    try:
        signers = standalone.signed_by(changed, [*theirs.logs, *theirs.witnesses.values()])
        found = {(key.name, key.id) for key in signers} or None
    except standalone.Refused:
        found = None
    assert ours == found


def run(tmp_path, *arguments, file=None, policy=POLICY, name="proof.json"):
    (tmp_path / name).write_bytes(LOG.proof(CHAIN, 4).encode() if file is None else file)
    (tmp_path / "policy").write_bytes(policy)
    command = [sys.executable, "-I", str(PATH), str(tmp_path / name)]
    command += ["--policy", str(tmp_path / "policy"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_program_says_in_plain_words_what_was_proved_and_what_not(tmp_path):
    status, out = run(tmp_path)
    assert status == 0
    assert f"Record 4 (event) stands in the chain {LOG.origin(CHAIN)}" in out
    assert "would be found against copies held by W1, W2." in out
    assert LIMITS in out
    own = SealedLog(CHAIN)
    own.seal()
    status, out = run(tmp_path, file=own.proof(CHAIN, 4, payload=False).encode(), policy=own.policy())
    assert status == 0
    assert "Changes by database administrators would be found" in out
    assert "The proof holds no payload" in out


def test_a_proof_of_a_record_may_have_the_name_of_one_of_an_archive(tmp_path):
    """As `curl -o event.proof` makes it."""
    status, out = run(tmp_path, name="event.proof")
    assert (status, out[:6]) == (0, "PROVED")


def test_the_program_compares_a_file_with_the_value_that_was_recorded(tmp_path):
    value = commitment.decode_body(CHAIN.contents[4].body).value
    (tmp_path / "event.json").write_bytes(value)
    status, out = run(tmp_path, "--payload", tmp_path / "event.json", "--json")
    assert (status, json.loads(out)["same_as_file"]) == (0, True)
    (tmp_path / "event.json").write_bytes(value + b"\n")
    status, out = run(tmp_path, "--payload", tmp_path / "event.json")
    assert (status, out[:8]) == (1, "REFUSED:")
    bare = LOG.proof(CHAIN, 4, payload=False).encode()
    status, out = run(tmp_path, "--payload", tmp_path / "event.json", "--json", file=bare)
    assert (status, json.loads(out)["result"]) == (2, "unchecked")


def test_the_program_ends_with_1_for_a_refused_proof_and_2_for_what_it_cannot_read(tmp_path):
    status, out = run(
        tmp_path, "--json", file=LOG.proof(CHAIN, 4).encode().replace(b'"leaf": "Y', b'"leaf": "Z')
    )
    assert (status, json.loads(out)["result"]) == (1, "refused")
    status, out = run(tmp_path, "--payload", tmp_path / "missing")
    assert (status, out[:16]) == (2, "COULD NOT CHECK:")
    assert run(tmp_path, policy=b"quorum\n")[0] == 2


def test_the_program_needs_nothing_but_the_standard_library_and_cryptography():
    found = set()
    for node in ast.walk(ast.parse(PATH.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    assert found - sys.stdlib_module_names == {"cryptography"}


def blocks():
    text = (ROOT / "schemas" / "PROOF_FORMAT.md").read_text()
    return dict(re.findall(r"```(json|policy)\n(.*?)```", text, re.DOTALL))


def test_the_example_of_the_format_page_is_what_is_made_and_is_proved():
    log = SealedLog(ChainRows(seed=1).events(2), witnesses=WITNESSES[:1])
    log.seal()
    assert blocks()["json"].encode() == log.proof(log.chains[0], 1).encode()
    found = standalone.check(blocks()["json"].encode(), blocks()["policy"].encode())
    assert (found["seq"], list(found["cosigned"])) == (1, ["W1"])


def test_the_fields_that_the_format_page_lists_are_those_of_the_verifier():
    text = (ROOT / "schemas" / "PROOF_FORMAT.md").read_text()
    assert set(re.findall(r"^   \| `([a-z_]+)` \|", text, re.MULTILINE)) == standalone.FIELDS
