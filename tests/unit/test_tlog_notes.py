"""Notes, checkpoints, cosignatures and keys are read strictly, and only what is signed is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tlog import base64
from schemas.tlog.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from schemas.tlog.cosignature import (
    COSIGNATURE_MLDSA44,
    CosignatureSigner,
    CosignatureVerifier,
    cosigned_at,
    ed25519_message,
)
from schemas.tlog.errors import MalformedError, VerificationError
from schemas.tlog.merkle import EMPTY_ROOT
from schemas.tlog.note import Signer, Verifier, new_key, open_note, read_vkey, sign_note, split_note
from tests.tlog_vectors import vectors

LOG = Signer("example.com/log", bytes(32))
WITNESS = CosignatureSigner("witness.example.com/w1", bytes([1]) * 32)
TREE = Checkpoint("example.com/log", 7, bytes(range(32)))


@pytest.mark.parametrize("case", vectors("signed_note")["notes"], ids=lambda case: case["name"])
def test_official_notes_open(case):
    opened = open_note(case["note"].encode(), [Verifier.from_vkey(case["vkey"])])
    assert opened.text == case["text"]


def test_signing_gives_the_official_note_byte_for_byte():
    case = vectors("signed_note")["notes"][1]
    signer = Signer.from_private(case["skey"])
    assert sign_note(case["text"], [signer]).decode() == case["note"]
    assert signer.verifier.vkey() == case["vkey"]
    assert signer.private() == case["skey"]


@pytest.mark.parametrize("vkey", vectors("signed_note")["bad_vkeys"])
def test_official_bad_keys_are_refused(vkey):
    with pytest.raises(MalformedError):
        Verifier.from_vkey(vkey)


@pytest.mark.parametrize("case", vectors("signed_note")["good_vkeys"], ids=lambda case: case["vkey"])
def test_official_good_keys_read(case):
    parts = read_vkey(case["vkey"])
    assert parts.kind == case["type"]
    kind = {1: Verifier, 4: CosignatureVerifier}[parts.kind]
    assert kind.from_vkey(case["vkey"]).vkey() == case["vkey"]


def test_a_new_key_signs_and_reads_back():
    key = new_key("example.com/new")
    again = Signer.from_private(key.private())
    assert again == key
    assert key.private() not in repr(key)
    assert open_note(sign_note("text\n", [key]), [Verifier.from_vkey(key.verifier.vkey())]).text == "text\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PRIVATE+KEY+",
        "PRIVATE+KEY+x+00000000+AAAA",
        LOG.private()[:-4],
        LOG.private().replace("log+", "l+"),
    ],
)
def test_what_is_no_private_key_is_refused_without_showing_it(text):
    with pytest.raises(MalformedError) as told:
        Signer.from_private(text)
    assert len(text) < 20 or text[-12:] not in str(told.value)


def test_a_key_under_another_name_has_another_id():
    other = LOG.renamed("example.com/other")
    assert other.verifier.key_id != LOG.verifier.key_id
    with pytest.raises(VerificationError):
        open_note(sign_note("text\n", [other]), [LOG.verifier])


def test_unknown_signatures_are_kept_and_ignored_but_one_known_must_be_there():
    stranger = new_key("stranger")
    note = sign_note("text\n", [LOG, stranger])
    opened = open_note(note, [LOG.verifier])
    assert [item.name for item in opened.verified] == [LOG.name]
    assert [item.name for item in opened.unknown] == ["stranger"]
    with pytest.raises(VerificationError, match="none of the signatures"):
        open_note(note, [new_key("another").verifier])


def test_a_bad_signature_of_a_known_key_refuses_the_whole_note():
    other = new_key("other")
    good, bad = sign_note("text\n", [LOG, other]), LOG.sign("other text\n").line().encode()
    for note in (good + bad, good.replace(LOG.sign("text\n").line().encode(), bad)):
        with pytest.raises(VerificationError, match="not good"):
            open_note(note, [LOG.verifier, other.verifier])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        sign_note("text\n", [LOG])[:-1],
        sign_note("text\n", [LOG]) + b"\n",
        sign_note("text\n", [LOG]) + "— name\n".encode(),
        sign_note("text\n", [LOG]) + "— na+me AAAAAAAA\n".encode(),
        sign_note("text\n", [LOG]) + "— name AAAA\n".encode(),
        sign_note("text\n", [LOG]) + "— name AAAAAAAB=\n".encode(),
        sign_note("text\n", [LOG]) + b"- name AAAAAAAA\n",
        sign_note("text\n", [LOG]).replace(b"text", b"te\rxt"),
        sign_note("text\n", [LOG]).replace(b"text", b"te\xffxt"),
        sign_note("text\n", [LOG]) + b"".join("— name AAAAAAAA\n".encode() for _ in range(100)),
        b"x" * 1_000_001,
    ],
)
def test_what_is_not_a_note_is_refused(note):
    with pytest.raises(MalformedError):
        open_note(note, [LOG.verifier])


def test_the_text_ends_at_the_last_blank_line():
    note = sign_note("one\n\ntwo\n", [LOG])
    assert open_note(note, [LOG.verifier]).text == "one\n\ntwo\n"


@pytest.mark.parametrize("text", ["", "no newline", "carriage\r\n", "tab\t\n"])
def test_a_text_that_cannot_be_a_note_is_not_signed(text):
    with pytest.raises(MalformedError):
        sign_note(text, [LOG])


def test_a_note_without_signers_and_verifiers_that_collide_are_errors_of_the_caller():
    with pytest.raises(ValueError, match="needs a signature"):
        sign_note("text\n", [])
    twin = Verifier.from_vkey(LOG.verifier.vkey())
    with pytest.raises(ValueError, match="same name and key id"):
        open_note(sign_note("text\n", [LOG]), [LOG.verifier, twin])


def test_the_official_checkpoint_reads():
    case = vectors("checkpoint")["c2sp_example"]
    text, signatures = split_note(case["note"].encode())
    assert parse_checkpoint(text) == (case["origin"], case["size"], bytes.fromhex(case["root_hex"]), ())
    assert text == case["text"] == parse_checkpoint(text).text()
    assert signatures[0].name == case["origin"]


@pytest.mark.parametrize("text", vectors("checkpoint")["must_reject_body"])
def test_official_bad_checkpoints_are_refused(text):
    with pytest.raises(MalformedError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "log\n07\n" + base64.encode(bytes(32)) + "\n",
        "log\n\u0667\n" + base64.encode(bytes(32)) + "\n",
        f"log\n{2**63}\n" + base64.encode(bytes(32)) + "\n",
        "log\n0\n" + base64.encode(bytes(32)) + "\n",
        "log\n7\n" + base64.encode(bytes(31)) + "\n",
        "log\n7\n" + base64.encode(bytes(32)) + "\n\n",
        "log\n7\n" + base64.encode(bytes(32))[:-2] + "B=\n",
    ],
)
def test_other_bad_checkpoints_are_refused(text):
    with pytest.raises(MalformedError):
        parse_checkpoint(text)


def test_the_empty_tree_and_extension_lines_read_back():
    for made in (Checkpoint("log", 0, EMPTY_ROOT), Checkpoint("log", 1, bytes(32), ("one", "two"))):
        assert parse_checkpoint(made.text()) == made
    for wrong in (Checkpoint("lo\ng", 1, bytes(32)), Checkpoint("log", 1, bytes(32), ("",))):
        with pytest.raises(MalformedError):
            wrong.text()


def test_a_checkpoint_opens_for_its_own_log_only():
    note = sign_checkpoint(TREE, [LOG])
    assert open_checkpoint(note, LOG.verifier).checkpoint == TREE
    with pytest.raises(VerificationError):
        open_checkpoint(note, new_key("example.com/log").verifier)
    elsewhere = sign_checkpoint(TREE._replace(origin="example.com/else"), [LOG])
    with pytest.raises(VerificationError, match=r"is of 'example\.com/else'"):
        open_checkpoint(elsewhere, LOG.verifier)


def test_a_checkpoint_that_only_a_witness_signed_is_not_the_logs():
    text = TREE.text()
    note = (text + "\n" + WITNESS.cosign(text, 5).line()).encode()
    with pytest.raises(VerificationError, match="not signed by"):
        open_checkpoint(note, LOG.verifier, [WITNESS.verifier])


@given(st.data())
def test_a_checkpoint_with_any_changed_byte_is_refused_or_still_says_the_same(data):
    note = bytearray(sign_checkpoint(TREE, [LOG]))
    note[data.draw(st.integers(0, len(note) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedError, VerificationError)):
        open_checkpoint(bytes(note), LOG.verifier)


def test_the_official_cosigned_message_and_time_are_ours():
    case = vectors("cosignature")["c2sp_example"]
    text, signatures = split_note(case["note"].encode())
    (signature,) = [item for item in signatures if item.name == case["cosigner"]]
    assert signature.key_id.hex() == case["keyid_hex"]
    assert cosigned_at(signature) == case["timestamp"]
    assert ed25519_message(text, case["timestamp"]).decode() == case["signed_message"]
    known = vectors("cosignature")["timestamp_kat"]
    raw = base64.decode(known["sig_b64"])
    assert cosigned_at(signature._replace(value=raw[4:])) == known["unix"]


def test_the_official_ml_dsa_cosignature_verifies_and_a_changed_one_does_not():
    case = vectors("cosignature")["mldsa44_log"]
    verifier = CosignatureVerifier.from_vkey(case["vkey"])
    assert verifier.kind == COSIGNATURE_MLDSA44
    assert verifier.vkey() == case["vkey"]
    for item in case["notes"]:
        note = item["note"].encode()
        text, (signature,) = split_note(note)
        assert open_note(note, [verifier]).text == text
        for place in (0, 8, 2000):
            value = bytearray(signature.value)
            value[place] ^= 1
            with pytest.raises(VerificationError):
                verifier.verify(text, bytes(value))
        with pytest.raises(VerificationError):
            verifier.verify(text.replace("\n1\n", "\n2\n"), signature.value)
        with pytest.raises(VerificationError, match="at most 255"):
            verifier.verify("x" * 256 + text, signature.value)


def test_a_cosignature_is_of_the_checkpoint_and_the_time():
    text = TREE.text()
    signature = WITNESS.cosign(text, 1_790_000_000)
    note = sign_checkpoint(TREE, [LOG]) + signature.line().encode()
    opened = open_checkpoint(note, LOG.verifier, [WITNESS.verifier])
    assert [item.name for item in opened.note.verified] == [LOG.name, WITNESS.name]
    assert cosigned_at(opened.note.verified[1]) == 1_790_000_000
    for value in (bytes(8) + signature.value[8:], signature.value[:-1], b"\xff" + signature.value[1:]):
        with pytest.raises(VerificationError):
            WITNESS.verifier.verify(text, value)
    with pytest.raises(ValueError, match="POSIX"):
        WITNESS.cosign(text, 2**63)


def test_a_log_key_is_no_cosigner_and_a_cosigner_no_log():
    with pytest.raises(MalformedError):
        CosignatureVerifier.from_vkey(LOG.verifier.vkey())
    with pytest.raises(MalformedError):
        Verifier.from_vkey(WITNESS.verifier.vkey())
