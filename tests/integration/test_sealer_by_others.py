"""What the real sealer publishes, judged by others: Go's tools on the folder, the stand-alone verifier on a proof."""

import asyncio

import pytest

from services.common.proofs import Place, State
from services.reporter.prove import prove_one
from services.writer.sealer.book import path_of
from tests.audit_tables import fill
from tests.chain_rows import ChainRows
from tests.go_programs import build, go_accepts
from tests.published import check_published
from tests.sealing import Sealing, Silent
from tests.unit.test_standalone_verifier import standalone

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("go")]


@pytest.fixture(scope="module")
def logcheck(tmp_path_factory):
    return build("logcheck", tmp_path_factory.mktemp("go"))


async def test_the_published_folder_and_proofs_of_its_records_are_accepted_by_others(
    logcheck, database, tmp_path
):
    chains = [
        ChainRows(chain_no=1).events(700),
        ChainRows(chain_no=2, partition=1, seed=2).events(3),
        ChainRows(chain_no=3, topic="audit.system", seed=3),
    ]
    chains[2].own_event()
    await fill(database.admin_dsn, chains)
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=Silent(None), patience_s=0.1)
    await sealing.rounds()
    await asyncio.sleep(0.2)
    await sealing.rounds(3)
    known = sealing.memory.chains
    await sealing.close()
    paths = ["seal", *(path_of(known[chain.chain_id]) for chain in chains)]
    for path in paths:
        key, folder = sealing.key.renamed(f"example.com/test/{path}"), sealing.folder / path
        assert check_published(folder, key.verifier).size > 0
        assert go_accepts(logcheck, "-with", "xmod", folder, key=key)
        assert go_accepts(logcheck, "-with", "tessera", folder, key=key)

    policy = f"log {sealing.key.renamed('example.com/test/seal').verifier.vkey()}\nquorum none\n".encode()
    for chain in chains:
        for seq in {0, 1, 255, 300, len(chain.rows) - 1} & set(range(len(chain.rows))):
            proof = await prove_one(database.reporter_dsn, Place(chain.chain_no, seq))
            assert proof.state is State.PROVED, proof.text
            found = standalone.check(proof.file, policy)
            assert (found["seq"], found["chain_id"]) == (seq, chain.chain_id.hex())
