"""The annotator as tests and benches run it: a stand-in for OpenAI over real HTTP, and what it sends kept in memory."""

import asyncio
import json
from functools import partial

import msgspec

from schemas.catalog import load_catalog
from schemas.enrichment import Enrichment
from schemas.mapping import load_mappings
from services.common.ai.asker import Asker
from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget, MemoryLog
from services.common.ai.client import Client
from services.common.ai.prompts import load_prompt
from services.common.ai.settings import AiSettings
from services.common.ai.vocabulary import load_vocabulary
from services.common.errors import FatalError
from services.common.settings import read_settings
from services.enricher.annotations import By
from services.enricher.annotator import Annotator, Limits
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.intake import Intake
from services.enricher.kinds import Kinds
from services.enricher.ledger import Range
from services.enricher.questions import Form
from services.enricher.raises import Raises
from services.enricher.reader import Model, Reader
from services.enricher.readings import SHAPE_PROMPT, Readings
from services.enricher.recorder import Recorder
from services.enricher.shape_asker import ShapeAsker
from services.enricher.shape_question import ShapeForm
from services.enricher.transport import Batch
from tests.builders import TIME_MS, Log

CATALOG, MAPPINGS = load_catalog(), load_mappings()
FORM = Form(load_prompt("annotate-1"), load_vocabulary(), CATALOG, "English")
SHAPE_FORM = ShapeForm(load_prompt(SHAPE_PROMPT), load_vocabulary(), "English")
TOPIC_ID = b"\7" * 16


class Kept:
    """An outbox that keeps what is sent, and fails when told."""

    def __init__(self):
        self.system = []
        self.annotated = {}
        self.replied = {}
        self.shapes = {}
        self.alerts = []
        self.fails = False

    async def shape(self, key, entry):
        assert key not in self.shapes
        self.shapes[key] = json.loads(entry)

    async def alert(self, alert, source, now_us):
        self.alerts.append(alert)

    async def own_event(self, event):
        await asyncio.sleep(0)
        if self.fails:
            raise FatalError("no ack from Kafka")
        self.system.append(json.loads(event))

    async def annotations(self, partition, made):
        for raw in made:
            said = json.loads(raw)
            assert said["partition"] == partition
            self.annotated[said["partition"], said["offset"]] = said

    async def replies(self, made):
        for token, raw in made:
            said = json.loads(raw)
            assert said["token"].encode() == token
            self.replied[said["token"]] = said

    def passed_by(self):
        return {
            (data["partition"], offset): data["reason"]
            for event in self.system
            if event["type"] == "piperoll.annotator.passed-by"
            for data in [event["data"]]
            for first, last in data["ranges"]
            for offset in range(first, last + 1)
        }


def record(
    offset, *, partition=0, data=None, risk="high", token=None, pending=True, topic_id=TOPIC_ID, **fields
):
    document = Enrichment(
        "structured", "/a", f"id-{offset}", "t", "As rules say.", risk, ["rule:tag"], pending=pending
    )
    document.log_source = "unknown"
    for name, content in fields.items():
        setattr(document, name, content)
    event = {
        "specversion": "1.0",
        "id": document.id,
        "source": "/a",
        "type": "t",
        "data": data or {"n": offset},
    }
    headers = () if token is None else (("piperoll-reply", token),)
    return Log(topic_id, partition).event(
        offset, value=json.dumps(event).encode(), enrichment=msgspec.json.encode(document), headers=headers
    )


def batch(*records, partition=0):
    return Batch(
        "audit.enriched", bytes(16), partition, -1, False, list(records), Range(0, len(records), 0.0)
    )


def now_us():
    return TIME_MS * 1000


class Bench:
    def __init__(self, server, *, now_ms=TIME_MS, sleep=asyncio.sleep, log=None, caught_up=None, **variables):
        ai = read_settings(AiSettings, server.variables() | {"AI_CONCURRENCY": "1"} | variables)
        self.outbox = Kept()
        self.metrics = AnnotatorMetrics()
        self.client = Client(ai)
        self.completed = []
        self.failures = []
        self.changed = asyncio.Event()
        recorder = Recorder(self.outbox, self.metrics, ai.model_name, now_us, ai.prompt_log)
        self.log = MemoryLog(lambda: TIME_MS) if log is None else log
        asker = Asker(
            self.client,
            Breaker(sleep=sleep),
            Budget(self.log, ai.limits, ai.price(), now_ms=self.log.now_ms),
            recorder,
            recorder.spent,
            give_up_after_s=ai.give_up_after_s,
        )
        self.readings = Readings(CATALOG, ai.model_name, SHAPE_PROMPT, now_ms=lambda: now_ms)
        shapes = ShapeAsker(
            self.readings,
            SHAPE_FORM,
            asker,
            self.outbox,
            caught_up=caught_up or self.caught_up,
            now_ms=lambda: now_ms,
        )
        self.raises = Raises(lambda: now_ms)
        kinds = Kinds(CATALOG, MAPPINGS, self.readings)
        by = By(ai.model_name, FORM.version)
        model = Model(by, By(ai.model_name, SHAPE_PROMPT), FORM)
        self.annotator = Annotator(
            Limits(ai.events_per_request, ai.concurrency, ai.window_events, ai.linger_s),
            Reader(model, asker, shapes, kinds, self.raises, self.outbox),
            kinds,
            Intake(self.metrics, self.raises, sample=ai.sample, max_age_ms=3_600_000, now_ms=lambda: now_ms),
            self.raises,
            self.outbox,
            self.metrics,
            by=by,
            complete=partial(self._note, self.completed),
            fail=partial(self._note, self.failures),
            clock=now_us,
        )

    async def caught_up(self):
        pass

    async def work(self, *batches):
        """Takes the batches and waits until all are completed or one has failed."""
        expected = len(self.completed) + len(batches)
        for one in batches:
            await self.annotator.take(one, lambda: None)
        while len(self.completed) < expected and not self.failures:
            await self.changed.wait()
            self.changed.clear()

    def _note(self, kept, one):
        kept.append(one)
        self.changed.set()
