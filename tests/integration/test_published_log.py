"""What is published is accepted by other people's tools (golang.org/x/mod/sumdb, Tessera's fsck), and they refuse each
mutation, as we do."""

import random

import pytest

from schemas.tlog.checkpoint import Checkpoint, sign_checkpoint
from schemas.tlog.merkle import Frontier, inclusion_proof, leaf_hash, tile_root
from schemas.tlog.note import Signer
from schemas.tlog.proof import TlogProof
from schemas.tlog.tiles import decode_bundle, encode_bundle
from tests.chain_rows import ChainRows
from tests.go_programs import build, go_accepts
from tests.published import check_published
from tests.sealed_log import SealedLog, publish_tree

LOG = Signer("example.com/log", bytes([7]) * 32)
SIZE = 600
"""Two full tiles, a partial one, and a partial one above them."""


@pytest.fixture(scope="module")
def logcheck(tmp_path_factory):
    return build("logcheck", tmp_path_factory.mktemp("go"))


pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("go")]


def entries_of(size, seed=1):
    drawn = random.Random(seed)
    return [drawn.randbytes(drawn.randrange(40)) + number.to_bytes(4, "big") for number in range(size)]


def publish(folder, size, key=LOG, *, claimed=None):
    """A log of `size` entries; `claimed`: what the checkpoint says instead."""
    entries = entries_of(size)
    frontier = Frontier()
    frontier.extend([leaf_hash(entry) for entry in entries])
    checkpoint = claimed or Checkpoint(LOG.name, size, frontier.root())
    publish_tree(folder, entries, sign_checkpoint(checkpoint, [key]))
    return entries


def we_accept(folder, old=None, key=LOG):
    try:
        check_published(folder, key.verifier, old)
    except (ValueError, OSError):
        return False
    return True


@pytest.mark.parametrize(
    "size", [1, 2, 255, 256, 257, 511, 512, 70_000, *random.Random(20261125).sample(range(3, 5000), 4)]
)
def test_a_log_of_any_size_is_accepted_by_all(logcheck, tmp_path, size):
    publish(tmp_path, size)
    assert we_accept(tmp_path)
    assert go_accepts(logcheck, "-with", "xmod", tmp_path, key=LOG)
    assert go_accepts(logcheck, "-with", "tessera", tmp_path, key=LOG)


def test_sealed_chains_and_the_seal_log_are_accepted_by_all(logcheck, tmp_path):
    one, other = ChainRows(chain_no=1).events(300), ChainRows(chain_no=2, partition=1, seed=2)
    log = SealedLog(one, other)
    log.seal()
    older = {item.tree: item.note for item in log.checkpoints}
    one.events(400)
    log.seal()
    log.publish(tmp_path)
    (tmp_path / "older").write_bytes(older[1])
    for chain in log.chains:
        folder = tmp_path / chain.topic / str(chain.partition) / chain.chain_id.hex()[:16]
        key = log.signer(log.origin(chain))
        assert we_accept(folder, key=key)
        assert go_accepts(logcheck, "-with", "xmod", folder, key=key)
        assert go_accepts(logcheck, "-with", "tessera", folder, key=key)
        if chain is one:
            assert go_accepts(logcheck, "-old", tmp_path / "older", folder, key=key)
    seals = log.signer(log.seal_origin)
    assert go_accepts(logcheck, "-with", "xmod", tmp_path / "seal", key=seals)
    assert go_accepts(logcheck, "-with", "tessera", tmp_path / "seal", key=seals)
    for seq in (0, 299, 700):
        proof = log.proof(one, seq)
        (tmp_path / "leaf").write_bytes(proof.leaf)
        (tmp_path / "proof").write_bytes(proof.chain_proof.encode())
        arguments = ["-leaf", tmp_path / "leaf", "-proof", tmp_path / "proof"]
        assert go_accepts(logcheck, *arguments, key=log.signer(log.origin(one)))
        (tmp_path / "leaf").write_bytes(proof.leaf[:-1] + b"\1")
        assert not go_accepts(logcheck, *arguments, key=log.signer(log.origin(one)))


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def swap(one, other):
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


def rebundle(path, change):
    """Changes the entries of a bundle, whose name tells how many it has."""
    width = int(path.name) if path.parent.suffix == ".p" else 256
    rewrite(path, lambda data: encode_bundle(change(decode_bundle(data, width))))


def forge(folder):
    """An entry changed, with all hashes above it made to fit, but for the signed root."""
    entries = entries_of(SIZE)
    entries[3] += b"!"
    publish_tree(folder, entries, (folder / "checkpoint").read_bytes())


TILE, LAST, ABOVE = "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"
BUNDLE, LAST_BUNDLE = "tile/entries/001", "tile/entries/002.p/88"
MUTATIONS = {
    "a byte of the origin": lambda f: flip(f / "checkpoint", 0),
    "a digit of the size": lambda f: rewrite(f / "checkpoint", lambda d: d.replace(b"\n600\n", b"\n601\n")),
    "a byte of the root": lambda f: flip(f / "checkpoint", 22),
    "a byte of the signature": lambda f: flip(f / "checkpoint", -20),
    "no checkpoint": lambda f: (f / "checkpoint").unlink(),
    "another key": lambda f: publish(f, SIZE, Signer(LOG.name, bytes(32))),
    "a size that is too large, signed": lambda f: publish(
        f, SIZE, claimed=Checkpoint(LOG.name, SIZE + 1, leaf_hash(b""))
    ),
    "another root, signed": lambda f: publish(f, SIZE, claimed=Checkpoint(LOG.name, SIZE, leaf_hash(b""))),
    "another origin, signed": lambda f: publish(
        f, SIZE, claimed=Checkpoint("example.com/else", SIZE, leaf_hash(b""))
    ),
    "a byte of a full tile": lambda f: flip(f / TILE, 4000),
    "a byte of the last tile": lambda f: flip(f / LAST, 40),
    "a byte of the tile above": lambda f: flip(f / ABOVE, 40),
    "a tile gone": lambda f: (f / TILE).unlink(),
    "the tile above gone": lambda f: (f / ABOVE).unlink(),
    "a tile cut": lambda f: rewrite(f / TILE, lambda d: d[:-32]),
    "two tiles swapped": lambda f: swap(f / "tile/0/000", f / TILE),
    "a byte of an entry": lambda f: flip(f / BUNDLE, -1),
    "a byte of a last entry": lambda f: flip(f / LAST_BUNDLE, -1),
    "a bundle gone": lambda f: (f / BUNDLE).unlink(),
    "a bundle cut": lambda f: rewrite(f / BUNDLE, lambda d: d[:-1]),
    "two bundles swapped": lambda f: swap(f / "tile/entries/000", f / BUNDLE),
    "two entries swapped": lambda f: rebundle(f / BUNDLE, lambda e: [e[1], e[0], *e[2:]]),
    "an entry gone": lambda f: rebundle(f / BUNDLE, lambda e: e[1:]),
    "an entry twice": lambda f: rebundle(f / LAST_BUNDLE, lambda e: [*e, e[-1]]),
    "an entry forged with all its hashes": forge,
}


UNSEEN_BY_TESSERA = {"an entry twice"}
"""fsck reads no further in a bundle than the size says."""


@pytest.mark.parametrize("what", MUTATIONS)
def test_each_mutation_is_refused_by_all(logcheck, tmp_path, what):
    publish(tmp_path, SIZE)
    assert we_accept(tmp_path)
    MUTATIONS[what](tmp_path)
    assert not we_accept(tmp_path)
    assert not go_accepts(logcheck, "-with", "xmod", tmp_path, key=LOG)
    assert go_accepts(logcheck, "-with", "tessera", tmp_path, key=LOG) == (what in UNSEEN_BY_TESSERA)


@pytest.mark.parametrize(("before", "now"), [(1, 600), (255, 256), (256, 257), (300, 70_000), (600, 600)])
def test_a_log_that_has_grown_goes_on_from_its_older_checkpoint(logcheck, tmp_path, before, now):
    publish(tmp_path / "old", before)
    publish(tmp_path / "new", now)
    old = tmp_path / "old" / "checkpoint"
    assert we_accept(tmp_path / "new", old.read_bytes())
    assert go_accepts(logcheck, "-old", old, tmp_path / "new", key=LOG)


def test_a_fork_and_a_rollback_are_refused_by_all_with_an_older_checkpoint(logcheck, tmp_path):
    publish(tmp_path / "old", 500)
    old = tmp_path / "old" / "checkpoint"
    publish(tmp_path / "cut", 499)
    entries = entries_of(SIZE)
    entries[3] += b"!"
    frontier = Frontier()
    frontier.extend([leaf_hash(entry) for entry in entries])
    note = sign_checkpoint(Checkpoint(LOG.name, SIZE, frontier.root()), [LOG])
    publish_tree(tmp_path / "fork", entries, note)
    for name in ("cut", "fork"):
        assert go_accepts(logcheck, tmp_path / name, key=LOG)  # by itself it is well-formed
        assert not we_accept(tmp_path / name, old.read_bytes())
        assert not go_accepts(logcheck, "-old", old, tmp_path / name, key=LOG)


PROOF_CHANGES = {
    "a byte of a hash": lambda p: p.replace(hashes=(bytes(32), *p.hashes[1:])),
    "a hash gone": lambda p: p.replace(hashes=p.hashes[1:]),
    "a hash more": lambda p: p.replace(hashes=(*p.hashes, bytes(32))),
    "two hashes swapped": lambda p: p.replace(hashes=(p.hashes[1], p.hashes[0], *p.hashes[2:])),
    "another index": lambda p: p.replace(index=p.index + 1),
}


@pytest.mark.parametrize("what", ["nothing", *PROOF_CHANGES])
def test_a_changed_proof_is_refused(logcheck, tmp_path, what):
    entries = publish(tmp_path, SIZE)
    leaves = [leaf_hash(entry) for entry in entries]

    def subtree(level, index):
        return tile_root(b"".join(leaves[index << level : (index + 1) << level]))

    hashes = tuple(inclusion_proof(37, SIZE, subtree))
    proof = Changeable(37, hashes, (tmp_path / "checkpoint").read_bytes())
    (tmp_path / "leaf").write_bytes(entries[37])
    (tmp_path / "proof").write_bytes(PROOF_CHANGES.get(what, lambda same: same)(proof).encode())
    accepted = go_accepts(logcheck, "-leaf", tmp_path / "leaf", "-proof", tmp_path / "proof", key=LOG)
    assert accepted == (what == "nothing")


class Changeable(TlogProof):
    def replace(self, **changes):
        return Changeable(**(vars(self) | changes))
