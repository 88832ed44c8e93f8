"""The heads that writers say in Kafka: kept over restarts, put right after a zombie, not continued where the database differs."""

import asyncio

from kafka import TopicPartition
from typer.testing import CliRunner

from services.cli.seal import app
from services.writer.heads import GROUP, KEPT, Head, HeadKeeper, read_heads

CHAIN = bytes(16)


def head(seq, fill=0):
    return Head(CHAIN, seq, bytes([seq % 251, fill]) * 16)


def said(keeper, at):
    return read_heads(keeper._admin, keeper._group).get(at, [])


async def test_what_writers_say_of_their_heads(kafka, monkeypatch):
    await asyncio.to_thread(_heads, kafka, monkeypatch)


def _heads(kafka, monkeypatch):
    at = TopicPartition(kafka.topics.enriched, 0)
    first, second, third = HeadKeeper(kafka), HeadKeeper(kafka), HeadKeeper(kafka)
    try:
        assert first.take_over({at: None}) == {}
        for seq in range(1, KEPT + 4):
            first.say({at: [head(seq)]})
        assert said(first, at) == [head(seq) for seq in range(4, KEPT + 4)]
        last = KEPT + 3

        # A successor that finds what was said, or the head before it (the last batch was never committed), goes on.
        assert second.take_over({at: head(last - 1)}) == {}
        second.say({at: [head(last, 7)]})
        assert said(second, at)[-3:] == [head(last - 1), head(last), head(last, 7)]
        first.say({at: [head(last + 1)]})  # a zombie, whose batch the database refuses
        assert head(last, 7) not in said(first, at)
        second.say_again([at])
        assert said(second, at)[-1] == head(last, 7)

        # One that finds another head says nothing of it, so that what was said still contradicts.
        assert third.take_over({at: head(last, 9)}) == {at: head(last, 9)}
        third.say({at: [head(last + 5)]})
        third.say_again([at])
        assert said(third, at)[-1] == head(last, 7)

        # After a lawful restore of the database an operator forgets them.
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
        monkeypatch.setenv("TOPIC_PREFIX", kafka.topic_prefix)
        result = CliRunner().invoke(app, ["seal", "forget-heads", "--yes"])
        assert result.exit_code == 0, result.output
        assert kafka.topics.group(GROUP) in result.output
        assert said(third, at) == []
        assert (
            CliRunner().invoke(app, ["seal", "forget-heads", "--yes"]).exit_code == 0
        )  # nothing is left to forget
        assert third.take_over({at: head(last, 9)}) == {}
        third.say({at: [head(last + 5)]})
        assert said(third, at) == [head(last + 5)]
    finally:
        for keeper in (first, second, third):
            keeper.close()
