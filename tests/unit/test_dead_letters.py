"""Dead letters become again the events that they were, whatever stands in them."""

from types import SimpleNamespace

from schemas.topics import ORIGIN_HEADER, REASON_HEADER, REPLAYS_HEADER
from services.cli.dead_letters import DeadLetter, EventGoneError, Origin, read_letter
from services.cli.producing import Place
from services.cli.resending import resend

ORIGIN = Origin(b"t" * 16, 2, 17)
TAIL = [(REASON_HEADER, b"not UTF-8 JSON"), (ORIGIN_HEADER, str(ORIGIN).encode())]


def message(headers, key=b"k", value=b"\xff", timestamp=5):
    return SimpleNamespace(key=key, value=value, headers=headers, timestamp=timestamp)


class Producer:
    """Takes everything, at offset 99."""

    def __init__(self):
        self.sent = []

    def send(self, topic, **message):
        self.sent.append(message)
        return SimpleNamespace(get=lambda timeout: SimpleNamespace(partition=message["partition"], offset=99))

    def flush(self, timeout):
        pass


def send_again(letter, read_again=None, limit=1000, topic_id=ORIGIN.topic_id):
    producer = Producer()
    (resent,) = resend([letter], read_again, producer, "audit.events", topic_id, limit)
    return resent.outcome, producer.sent


def test_only_the_last_two_headers_are_the_enrichers_own():
    own = [(ORIGIN_HEADER, b"forged/0/0"), (REASON_HEADER, b"forged"), ("x", None)]
    letter = read_letter(message([*own, *TAIL]))
    assert letter == DeadLetter(ORIGIN, "not UTF-8 JSON", b"k", b"\xff", own, 5)


def test_a_message_that_is_not_the_enrichers_is_no_letter():
    bad = [
        [],
        TAIL[:1],
        TAIL[::-1],
        [TAIL[0], (ORIGIN_HEADER, None)],
        [TAIL[0], (ORIGIN_HEADER, b"xx/1/2")],
        [TAIL[0], (ORIGIN_HEADER, b"aa/1/2")],
        [TAIL[0], (ORIGIN_HEADER, b"\xff")],
        [*TAIL, ("later", b"")],
    ]
    assert [read_letter(message(headers)) for headers in bad] == [None] * len(bad)


def test_a_letter_is_sent_to_its_partition_as_it_was_with_a_header_that_names_its_origin():
    letter = read_letter(message([("x", None), *TAIL]))
    outcome, sent = send_again(letter)
    assert outcome == Place(2, 99)
    headers = [("x", None), (REPLAYS_HEADER, str(ORIGIN).encode())]
    assert sent == [{"key": b"k", "value": b"\xff", "headers": headers, "partition": 2}]


def test_a_letter_of_a_letter_says_whose_it_is():
    again = read_letter(message([(REPLAYS_HEADER, b"a/0/1"), *TAIL]))
    assert (again.replays, read_letter(message(TAIL)).replays) == ("a/0/1", None)
    assert read_letter(message([(REPLAYS_HEADER, None), *TAIL])).replays == ""


def test_what_is_over_the_limit_here_is_not_sent():
    outcome, sent = send_again(read_letter(message(TAIL, value=b"x" * 1000)))
    assert "raise it" in outcome
    assert sent == []


def test_a_withheld_event_is_read_again_where_it_stood():
    letter = read_letter(message(TAIL, key=None, value=None))
    outcome, sent = send_again(letter, lambda origin: message([("h", b"1")], key=b"whole", value=b"event"))
    assert outcome == Place(2, 99)
    assert (sent[0]["key"], sent[0]["value"], sent[0]["headers"][0]) == (b"whole", b"event", ("h", b"1"))


def test_a_withheld_event_that_is_gone_is_told():
    letter = read_letter(message(TAIL, key=None, value=None))

    def gone(_origin):
        raise EventGoneError("it has expired in audit.events")

    assert send_again(letter, gone) == ("it has expired in audit.events", [])
    outcome, sent = send_again(letter, topic_id=b"n" * 16)
    assert "made anew" in outcome
    assert sent == []
