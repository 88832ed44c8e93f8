"""Our side of the witness protocol with somebody else's witness (transparency-dev/witness)."""

from hashlib import sha256

import httpx
import pytest

from schemas.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from schemas.tlog.cosignature import CosignatureSigner
from schemas.tlog.merkle import Frontier, consistency_proof, leaf_hash, tile_root
from schemas.tlog.note import Signer
from schemas.tlog.policy import parse_policy
from schemas.tlog.witness import SIZE_TYPE, AddCheckpoint, read_cosignatures, read_size
from tests.go_programs import build, running_witness

LOG = Signer("example.com/log", bytes([7]) * 32)
KEY = CosignatureSigner("witness.example.com/w1", bytes([8]) * 32)
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(1000)]

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("go")]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build("witness", tmp_path_factory.mktemp("go"))


@pytest.fixture
def witness(program):
    with running_witness(program, KEY, [LOG.verifier.vkey()]) as url, httpx.Client(base_url=url) as client:
        yield client


def signed(size, *, key=LOG, leaves=LEAVES):
    frontier = Frontier()
    frontier.extend(leaves[:size])
    return sign_checkpoint(Checkpoint(key.name, size, frontier.root()), [key])


def proof(old, new, leaves=LEAVES):
    def subtree(level, index):
        return tile_root(b"".join(leaves[index << level : (index + 1) << level]))

    return tuple(consistency_proof(old, new, subtree))


def offer(witness, old, hashes, note):
    return witness.post("/add-checkpoint", content=AddCheckpoint(old, hashes, note).encode())


def test_a_growing_log_is_cosigned_step_by_step_and_a_policy_is_met(witness):
    lines = f"log {LOG.verifier.vkey()}\nwitness W {KEY.verifier.vkey()}\nquorum W\n"
    policy, before = parse_policy(lines.encode()), 0
    for size in (1, 2, 255, 256, 1000, 1000):
        answer = offer(witness, before, proof(before, size), signed(size))
        assert answer.status_code == 200
        [cosignature] = read_cosignatures(answer.content, signed(size), KEY.verifier)
        note = signed(size) + cosignature.line().encode()
        assert policy.check(open_checkpoint(note, LOG.verifier, [KEY.verifier]).note) == {"W"}
        before = size
    kept = witness.get(f"/{sha256(LOG.name.encode()).hexdigest()}/checkpoint")
    assert open_checkpoint(kept.content, LOG.verifier, [KEY.verifier]).checkpoint.size == 1000


def test_a_wrong_old_size_is_answered_with_the_size_that_the_witness_knows(witness):
    assert offer(witness, 0, (), signed(600)).status_code == 200
    for old, new in ((0, 700), (500, 700)):
        answer = offer(witness, old, proof(old, new), signed(new))
        assert (answer.status_code, answer.headers["content-type"]) == (409, SIZE_TYPE)
        assert read_size(answer.content) == 600


def test_forks_rollbacks_strangers_and_what_is_not_signed_are_refused(witness):
    assert offer(witness, 0, (), signed(600)).status_code == 200
    forked = [leaf_hash(b"other"), *LEAVES[1:]]
    assert offer(witness, 600, (), signed(600, leaves=forked)).status_code == 422
    assert offer(witness, 600, proof(600, 700, forked), signed(700, leaves=forked)).status_code == 422
    assert offer(witness, 600, proof(600, 700)[1:], signed(700)).status_code == 422
    assert offer(witness, 600, (), signed(500)).status_code == 400
    assert offer(witness, 0, (), signed(600, key=Signer("example.com/else", LOG.seed))).status_code == 404
    assert (
        offer(witness, 600, proof(600, 700), signed(700, key=Signer(LOG.name, bytes(32)))).status_code >= 400
    )
    assert witness.post("/add-checkpoint", content=b"old 600\n\nnothing\n").status_code >= 400
    assert offer(witness, 600, proof(600, 700), signed(700)).status_code == 200
