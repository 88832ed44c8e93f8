"""Verifies a chain of records, streamed in ranges: every hash, link, number, column, offset, time and content.

`ChainVerifier` takes the rows of one chain in the order of their numbers. Good records cost one hash and a few
comparisons. Where something does not fit, the rows are set aside until the chain is good again, and what happened is
told from the stretch as a whole (`verification/`). No I/O and no printing: results are objects.

What a chain alone cannot show: that it was rewritten from some record on to the end, head included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from schemas.record import ABSENT, LABEL, RECORD_BYTES, Kind, Record, unpack
from schemas.verification.contents import Content, check_content, is_committed
from schemas.verification.diagnosis import Stretch, explain
from schemas.verification.ends import beyond_head, compare_head, compare_strays
from schemas.verification.erasures import NOTHING_GONE, Coverage, Orders
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo, Head, Link, Place, Row, follows, place_before, read_link
from schemas.verification.path import State, Step, true_path
from schemas.verification.result import MOST_FINDINGS, ChainResult
from schemas.verification.rules import PLAIN, apply_rules

_LONGEST_STRETCH = 4096
"""Rows that do not verify are diagnosed together, up to so many; so far back is also looked for what they follow."""


class ChainVerifier:
    """Verifies one chain. Feed its rows in the order of seq, with their payload rows, or with None for the leaves
    alone; then `finish`. `head` is the chain's head row from the same snapshot, None if there is none; `coverage` says
    which payloads are lawfully gone (read the orders first: `OrderReader`)."""

    def __init__(self, chain: ChainInfo, head: Head | None, coverage: Coverage = NOTHING_GONE) -> None:
        self.result = ChainResult(chain)
        self._head = head
        self._coverage = coverage
        self._place = Place()
        self._contents: dict[int, Content] | None = None
        self._recent: list[Any] = []
        self._stretch: list[Link] | None = None
        self._stretch_place = Place()
        self._judged = 0
        self._strays: list[int] = []

    def feed(self, rows: Sequence[Any], contents: Sequence[Any] | None) -> None:
        """The next rows (each in the order of Row's fields), and the payload rows (in the order of Content's) of the same
        range of numbers. A range may be of any length, also empty."""
        self._take_contents(rows, contents)
        at = good_from = 0
        while at < len(rows):
            if self._stretch is not None:
                at += 1
                if self._lengthen(rows[at - 1]):
                    self._recent, good_from = [], at - self._link(rows[at - 1]).sound
                continue
            at = self._run(rows, at)
            if at < len(rows):
                self._begin_stretch([*self._recent, *rows[good_from:at]], rows[at])
        self._recent = [*self._recent, *rows[good_from:]][-_LONGEST_STRETCH:]

    def finish(self) -> ChainResult:
        """Compares the end with the head; the result is complete then."""
        result, head, place = self.result, self._head, self._place
        if head is None:
            text = "the chain has no head row: whether records at its end are gone cannot be told"
            result.add(Finding(result.chain.chain_no, Change.DELETED, Part.HEAD, text))
            if self._stretch:
                self._settle(None)
        elif (
            self._stretch is not None or place.last_hash != head.last_hash or place.next_seq != head.next_seq
        ):
            if self._stretch is None and place.next_seq > head.next_seq:
                result.add(beyond_head(result.chain, place, head, self._recent))
            else:
                self._reach_head(head)
        if head is not None:
            compare_head(result, place, head)
        compare_strays(result, self._strays if place.shift == 0 else [])
        result.next_seq = place.next_seq
        result.last_hash = place.last_hash if result.records else None
        result.next_offset = place.next_offset
        return result

    def _run(self, rows: Sequence[Any], start: int) -> int:
        """Takes good rows from `start` on; returns the index of the first that is not good. The hot loop."""
        place, kinds, chain_id = self._place, self.result.kinds, self.result.chain.chain_id
        contents, last_hash, next_seq, shift = self._contents, place.last_hash, place.next_seq, place.shift
        appended, epoch, next_offset = place.appended_us, place.epoch, place.next_offset
        index = start
        for index in range(start, len(rows)):
            seq, kind, offset, appended_us, event_us, identity, stored, leaf = rows[index]
            if len(leaf) != RECORD_BYTES:
                break
            fields = unpack(leaf)
            label, is_kind, of_chain, number, prev, under, at, covers, _, _, happened, *_ = fields
            digest = sha256(b"\0" + leaf).digest()
            if (
                digest != stored
                or prev != last_hash
                or number != next_seq
                or seq != next_seq + shift
                or at != appended_us
                or (covers != offset and (offset is not None or covers != ABSENT))
                or (happened != event_us and (event_us is not None or happened != ABSENT))
                or is_kind != kind
                or of_chain != chain_id
                or label != LABEL
            ):
                break
            if contents is not None:
                self._check_content(rows[index], Record._make(fields[1:]), identity)
            if (
                covers != next_offset
                or is_kind not in PLAIN
                or at < appended
                or under < epoch
                or place.closed
            ):
                place.appended_us, place.epoch, place.next_offset = appended, epoch, next_offset
                record = Record._make(fields[1:])
                apply_rules(self.result, place, record, self._content(seq, record))
                next_offset = place.next_offset
            else:
                next_offset = covers + 1
            kinds[kind] += 1
            last_hash, next_seq, appended, epoch = digest, next_seq + 1, at, under
        else:
            index = len(rows)
        place.last_hash, place.next_seq = last_hash, next_seq
        place.appended_us, place.epoch, place.next_offset = appended, epoch, next_offset
        self._note_times(rows, start, index)
        return index

    def _begin_stretch(self, behind: list[Any], odd: Any) -> None:
        """Goes back to the record that the odd row follows, at least to the last one: what was put in between, or
        rewritten with its hash, looked good until now."""
        back = max(len(behind) - 1, 0)
        if len(odd[7]) == RECORD_BYTES:
            prev = unpack(odd[7])[4]
            back = next((at + 1 for at in range(len(behind) - 2, -1, -1) if behind[at][6] == prev), back)
        self._stretch = [self._link(row) for row in behind[back:]]
        self._judged = len(self._stretch)
        self._stretch_place = (
            place_before(self._stretch[0].row, self._place.shift) if self._stretch else replace(self._place)
        )

    def _lengthen(self, row: Any) -> bool:
        """Sets a row aside; once the chain is good again, the stretch is judged. Says whether it was."""
        assert self._stretch is not None
        stretch = self._stretch
        stretch.append(self._link(row))
        good = (
            len(stretch) > max(self._judged + 1, 2)
            and follows(stretch[-3], stretch[-2])
            and follows(stretch[-2], stretch[-1])
        )
        if good or len(stretch) > _LONGEST_STRETCH:
            self._settle(None)
            return True
        return False

    def _reach_head(self, head: Head) -> None:
        """The last rows do not lead to the head: judges them, or the last good one if all seemed good."""
        if self._stretch is None and self._recent:
            last = Row(*self._recent[-1])
            self._stretch, self._judged = [self._link(last)], 1
            self._stretch_place = place_before(last, self._place.shift)
        self._settle(head)

    def _settle(self, head: Head | None) -> None:
        """Judges the stretch and goes on behind it."""
        result, links, start = self.result, self._stretch or [], self._stretch_place
        path = true_path(start, links, head)
        epochs = {start.epoch} | {step.link.record.writer_epoch for step in path.steps if step.link.record}
        before = {id(item) for item in links[: self._judged]}
        place = self._place
        place.appended_us, place.epoch = start.appended_us, start.epoch
        place.next_offset, place.closed = start.next_offset, start.closed
        findings = explain(Stretch(result.chain, start, path, tuple(epochs), head is not None))
        result.withdraw_contents({finding.seq for finding in findings})
        for finding in findings:
            result.add(finding)
        number = start.next_seq
        for step in path.steps:
            if step.seq != number:
                place.next_offset = None
            number = step.seq + 1
            self._accept(step, silent=id(step.link) in before)
        for item in links[self._judged :]:
            result.kinds[item.row.kind] += 1
        if path.steps:
            last = path.steps[-1]
            place.last_hash = last.wanted or last.link.digest
            place.next_seq, place.shift = last.seq + 1, last.link.row.seq - last.seq
        self._stretch, self._judged = None, 0

    def _accept(self, step: Step, *, silent: bool) -> None:
        """A record on the true path: an intact one is checked like any other (`silent`: it was already), what an
        edited one covers is not known."""
        record = step.link.record
        if step.state is not State.INTACT or record is None:
            self._place.next_offset = None
            return
        if self._contents is not None and not silent:
            self._check_content(step.link.row, record, step.link.row.identity_hash)
        result = ChainResult(self.result.chain) if silent else self.result
        apply_rules(result, self._place, record, step.link.content)

    def _link(self, row: Any) -> Link:
        made = read_link(Row(*row), None)
        return made._replace(content=self._content(made.row.seq, made.record))

    def _take_contents(self, rows: Sequence[Any], contents: Sequence[Any] | None) -> None:
        if contents is None:
            self._contents = None
            return
        self.result.with_contents = True
        taken: dict[int, Content] = {}
        for item in contents:
            content = Content._make(item)
            if content.seq in taken:
                content = self._second_content(rows, taken[content.seq], content)
            taken[content.seq] = content
        if len(taken) != len(rows) or any(row[0] not in taken for row in rows):
            numbers = {row[0] for row in rows}
            strays = [seq for seq in taken if seq not in numbers]
            self._strays += strays[: MOST_FINDINGS - len(self._strays)]
        if self._coverage:
            self._find_not_erased(rows, taken)
        older = list((self._contents or {}).items())[-_LONGEST_STRETCH:]
        self._contents = dict(older) | taken

    def _find_not_erased(self, rows: Sequence[Any], contents: Mapping[int, Content]) -> None:
        """Payloads that an erasure record covers and that are there."""
        for row in rows:
            seq, offset = row[0], row[2]
            if seq in contents and self._coverage.erases(row):
                text = "an erasure record covers this payload, and it is there: order the erasure again"
                chain_no = self.result.chain.chain_no
                self.result.add(
                    Finding(chain_no, Change.NOT_ERASED, Part.PAYLOAD, text, seq, source_offset=offset)
                )

    def _second_content(self, rows: Sequence[Any], one: Content, other: Content) -> Content:
        """Two payload rows for one record: reports it; returns the one of the record's time."""
        text = "two payload rows stand for one record"
        chain_no = self.result.chain.chain_no
        self.result.add(Finding(chain_no, Change.INSERTED, Part.PAYLOAD, text, one.seq))
        times = {row[0]: row[3] for row in rows}
        return one if one.appended_us == times.get(one.seq) else other

    def _content(self, seq: int, record: Record | None) -> Content | None:
        """The payload row of a record: under the number of its row, or where rows were renumbered of its leaf."""
        if self._contents is None:
            return None
        found = self._contents.get(seq)
        if record is not None and record.seq != seq:
            own = self._contents.get(record.seq)
            if own is not None and is_committed(record, own):
                return own
        return found

    def _check_content(self, row: Any, record: Record, identity: int | None) -> None:
        assert self._contents is not None
        content = self._contents.get(row[0])
        problems = check_content(record, identity, content)
        if problems and content is None and self._coverage.erased(record):
            self.result.erased += 1
            return
        if problems and content is None and self._coverage.retained(record):
            self.result.retained += 1
            return
        if problems and row[0] != record.seq:  # renumbered: its payload may stand under its own number still
            own = self._contents.get(record.seq)
            problems = [] if own is None else check_content(record, identity, own)
        for change, part, fields, detail in problems:
            self.result.add(
                Finding(
                    self.result.chain.chain_no,
                    change,
                    part,
                    detail,
                    record.seq,
                    source_offset=row[2],
                    fields=fields,
                    appended_us=record.appended_us,
                )
            )

    def _note_times(self, rows: Sequence[Any], start: int, end: int) -> None:
        if start < end:
            if self.result.first_appended_us is None:
                self.result.first_appended_us = rows[start][3]
            self.result.last_appended_us = rows[end - 1][3]


class OrderReader(ChainVerifier):
    """Verifies a chain of audit.system and collects the orders in it: a first pass, since an order may stand behind what
    it is about. Its findings are those of a verification that knows of no erasure; the second pass tells."""

    def __init__(self, chain: ChainInfo, head: Head | None, orders: Orders) -> None:
        super().__init__(chain, head)
        self.orders = orders

    def _check_content(self, row: Any, record: Record, identity: int | None) -> None:
        super()._check_content(row, record, identity)
        content = self._content(row[0], record)
        if (
            record.kind == Kind.OWN_EVENT
            and content is not None
            and content.body is not None
            and is_committed(record, content)
        ):
            self.orders.take(self.result.chain.chain_no, record.seq, record.appended_us, content.body)


class SegmentVerifier(ChainVerifier):
    """Verifies a part of a chain, beginning with the row `first` (an archive has no head and need not have genesis): what
    it says of the first and last records is only what they say of each other."""

    def __init__(self, chain: ChainInfo, first: Row, coverage: Coverage = NOTHING_GONE) -> None:
        super().__init__(chain, None, coverage)
        if len(first.leaf) == RECORD_BYTES:
            self._place = place_before(first, 0)

    def finish(self) -> ChainResult:
        """The result, without the comparison with a head."""
        if self._stretch is not None:
            self._settle(None)
        compare_strays(self.result, self._strays if self._place.shift == 0 else [])
        self.result.next_seq = self._place.next_seq
        self.result.last_hash = self._place.last_hash if self.result.records else None
        self.result.next_offset = self._place.next_offset
        return self.result
