"""Attacks of the drill, for tests: on a chain that a builder made, and put into a database."""

from __future__ import annotations

from random import Random

import asyncpg

from services.reporter.drill import attacks
from services.reporter.drill.attacks import ATTACKS, Attacked
from services.reporter.drill.shadow import insert_chain
from tests.audit_tables import tamper
from tests.chain_rows import ChainRows

__all__ = ["ATTACKS", "Attacked", "attack", "overwrite"]


def attack(chain: ChainRows, name: str, random: Random) -> Attacked:
    """The chain after an attack at a random record."""
    return attacks.attack(name, list(zip(chain.rows, chain.contents, strict=True)), chain.head, random)


async def overwrite(dsn: str, chain: ChainRows, made: Attacked) -> None:
    """Puts the attacked chain in the place of the one in the database."""
    number, head = chain.chain_no, made.head
    await tamper(
        dsn,
        f"DELETE FROM audit.record WHERE chain_no = {number}; DELETE FROM audit.payload WHERE chain_no = {number};"
        f" UPDATE audit.chain_head SET next_seq = {head.next_seq}, last_hash = '\\x{head.last_hash.hex()}',"
        f" epoch = {head.epoch}, next_source_offset = {head.next_source_offset} WHERE chain_no = {number}",
    )
    connection = await asyncpg.connect(dsn)
    try:
        await insert_chain(connection, number, made.rows, made.contents)
    finally:
        await connection.close()
