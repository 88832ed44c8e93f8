"""Which partitions `piperoll replay offsets` sets back, and which it leaves alone."""

from services.cli.holes import Head, Log, Rewind, TopicIds, find_holes, rewind

IDS = TopicIds(b"e" * 16, b"r" * 16)
EVENTS = IDS.events.hex()


def log(partition=0, earliest=0, committed=100, committed_id=EVENTS, enriched_end=100):
    return Log(partition, earliest, committed, committed_id, enriched_end)


def head(next_source=100, topic_id=IDS.events, read_topic_id=IDS.enriched, next_read=100):
    return Head(topic_id, next_source, read_topic_id, next_read)


def test_a_chain_that_stands_where_the_group_does_is_left_alone():
    assert find_holes([log()], {0: head()}, IDS) == ([], [])


def test_a_chain_behind_the_group_is_a_hole_once_the_writer_has_read_everything():
    assert find_holes([log()], {0: head(next_source=40)}, IDS) == ([Rewind(0, 40, 100, None)], [])


def test_what_the_writer_has_still_to_read_is_no_hole_yet():
    rewinds, unjudged = find_holes([log()], {0: head(next_source=40, next_read=99)}, IDS)
    assert rewinds == []
    assert "1 messages still to read" in unjudged[0]


def test_a_writer_that_has_read_another_audit_enriched_has_all_of_this_one_before_it():
    rewinds, unjudged = find_holes([log()], {0: head(next_source=40, read_topic_id=b"x" * 16)}, IDS)
    assert rewinds == []
    assert "100 messages" in unjudged[0]


def test_without_a_chain_of_this_topic_nothing_is_judged():
    for heads in ({}, {0: head(topic_id=b"old".ljust(16))}):
        rewinds, unjudged = find_holes([log()], heads, IDS)
        assert rewinds == []
        assert "no chain yet" in unjudged[0]


def test_where_the_enricher_begins_at_the_start_by_itself_there_is_nothing_to_do():
    logs = [log(committed=None), log(1, committed_id="aa" * 16)]
    assert find_holes(logs, {}, IDS) == ([], [])


def test_a_commit_without_a_topic_id_counts_as_one_of_this_topic():
    assert find_holes([log(committed_id="")], {0: head(next_source=7)}, IDS)[0] == [Rewind(0, 7, 100, None)]


def test_what_has_expired_is_told():
    assert rewind(log(earliest=50), 40) == Rewind(0, 40, 100, 50)
    assert rewind(log(earliest=50), 50) == Rewind(0, 50, 100, None)
