"""Rules change while the enricher runs: the new ones take over within seconds, a bad one is named by file and line."""

import asyncio

import pytest
from structlog.testing import capture_logs

from schemas.events import Event
from services.enricher.enrich import Coordinates, EnrichSettings, load_enricher
from services.enricher.rules.follow import follow_rules
from services.enricher.rules.index import load_rules
from services.enricher.rules.load import Files

RULE = """title: {title}
id: {id}
logsource: {{product: piperoll, service: unknown}}
detection:
  selection: {{a: {value}}}
  condition: selection
level: critical
"""
ID = "5f113a8f-8b61-41ca-b90f-{:012d}"


def rule(title, value, number=1):
    return RULE.format(title=title, id=ID.format(number), value=value)


class Following:
    """Rule sets as they come; `next` waits for one."""

    def __init__(self):
        self.sets = asyncio.Queue()

    async def next(self):
        return await asyncio.wait_for(self.sets.get(), 20)


@pytest.fixture
async def following(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.yml").write_text(rule("first", 1))
    found = Following()
    task = asyncio.create_task(
        follow_rules(tmp_path / "own", "", found.sets.put_nowait, every_s=0.05, pack=tmp_path / "pack")
    )
    assert titles(await found.next(), {"a": 1}) == ["first"]
    yield found
    assert not task.done()
    task.cancel()


def titles(rules, data):
    event = Event("bare", "", "", "", data, data)
    return [hit.hit.title for hit in rules.match("unknown", data, event)]


async def test_a_changed_folder_is_noticed_and_its_rules_take_over(following, tmp_path):
    (tmp_path / "own" / "a.yml").write_text(rule("second", 22))
    rules = await following.next()
    assert titles(rules, {"a": 22}) == ["second"]
    assert titles(rules, {"a": 1}) == []
    (tmp_path / "own" / "b.yml").write_text(rule("third", 3, 2))
    assert titles(await following.next(), {"a": 3}) == ["third"]
    (tmp_path / "own" / "a.yml").unlink()
    assert titles(await following.next(), {"a": 22}) == []


async def test_a_bad_rule_is_refused_with_file_and_line_and_the_others_go_on(following, tmp_path):
    bad = rule("bad", 1, 3).replace("condition: selection", "condition: selected")
    with capture_logs() as logs:
        (tmp_path / "own" / "b.yml").write_text(rule("good", 2, 2) + "---\n" + bad)
        rules = await following.next()
        await asyncio.sleep(0)
    assert titles(rules, {"a": 2}) == ["good"]
    assert titles(rules, {"a": 1}) == ["first"]
    (refused,) = [line for line in logs if line["event"] == "rule_refused"]
    assert refused["file"].endswith("b.yml:14")
    assert "selected" in refused["reason"]


async def test_a_folder_that_has_gone_leaves_the_rules_as_they_are(following, tmp_path):
    (tmp_path / "own").rename(tmp_path / "away")
    await asyncio.sleep(0.3)
    assert following.sets.empty()
    (tmp_path / "away").rename(tmp_path / "own")
    (tmp_path / "own" / "c.yml").write_text(rule("back", 4, 4))
    assert titles(await following.next(), {"a": 4}) == ["back"]


async def test_without_a_folder_nothing_is_followed():
    await asyncio.wait_for(follow_rules(None, "", pytest.fail), 1)


def test_only_changed_files_are_parsed_again(tmp_path):
    (tmp_path / "a.yml").write_text(rule("first", 1))
    (tmp_path / "b.yml").write_text(rule("second", 2, 2))
    files = Files([tmp_path])
    before = files.read().loaded
    (tmp_path / "b.yml").write_text(rule("other", 33, 2))
    after = files.read().loaded
    assert after[0] is before[0]
    assert [one.hit.title for one in after] == ["first", "other"]


def test_hidden_copies_of_a_mounted_folder_are_not_read_twice(tmp_path):
    (tmp_path / "..2026_05_01").mkdir()
    (tmp_path / "..2026_05_01" / "a.yml").write_text(rule("first", 1))
    (tmp_path / "a.yml").symlink_to(tmp_path / "..2026_05_01" / "a.yml")
    report = Files([tmp_path]).read()
    assert len(report.loaded) == 1
    assert report.refused == []


def test_the_enricher_judges_by_new_rules_from_the_next_event_on(tmp_path):
    (tmp_path / "a.yml").write_text(rule("first", 1))
    enricher = load_enricher(EnrichSettings.model_validate({}))
    at = Coordinates(bytes(16), 0, 0, 0)

    def judge():
        return enricher.enrich(None, b'{"a": 1}', [], at, bytes(32)).document

    before = judge()
    enricher.take_rules(load_rules([], tmp_path))
    after = judge()
    assert (before.risk, after.risk) == ("informational", "critical")
    assert before.versions["rules"] != after.versions["rules"]
    assert before.versions["catalog"] == after.versions["catalog"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("title: x\nlogsource: {product: x}\ndetection:\n  s: {a|nope: 1}\n  condition: s\n", 4),
        ("title: a\n\nb: [\n", 4),
        ("# one\n\ntitle: x\nlogsource: {product: x}\ndetection: {s: {a: 1}, condition: t}\n", 5),
        ("title: x\nstatus: deprecated\nlogsource: {product: x}\ndetection: {s: {a: 1}, condition: s}\n", 1),
    ],
)
def test_the_line_of_what_is_wrong_is_told(tmp_path, text, line):
    (tmp_path / "bad.yml").write_text(text)
    (refused,) = Files([tmp_path]).read().refused
    assert refused.line == line, refused
