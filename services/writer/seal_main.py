"""`python -m services.writer sealer`: the sealer, until SIGTERM or SIGINT.

Exit status: 0 stopped cleanly, 1 failed (a restart recovers, or the log says what to do), 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import signal

from services.common.health import health_server
from services.common.settings import HealthSettings, KafkaSettings, PostgresSettings, read_settings
from services.writer.sealer.book import SEAL_PATH
from services.writer.sealer.key import read_keys
from services.writer.sealer.loop import Sealer
from services.writer.sealer.metrics import SealerMetrics
from services.writer.sealer.outlet import Outlet
from services.writer.sealer.settings import SealerSettings
from services.writer.sealer.store import Store
from services.writer.sealer.targets.build import build_targets
from services.writer.sealer.targets.courier import Desk
from services.writer.sealer.targets.settings import TargetSettings


async def run() -> None:
    """Everything by hand: settings, key, clients, signals, the rounds."""
    settings, kafka = read_settings(SealerSettings), read_settings(KafkaSettings)
    metrics = SealerMetrics()
    outlet = Outlet(kafka, settings, read_keys(settings), metrics)
    outside = read_settings(TargetSettings)
    # A witness is asked twice at most: what it has, and to cosign.
    desk = Desk(outlet.say, outlet.keep, metrics, outside.alarm_s, 3 * outside.timeout_s)
    outlet.targets += build_targets(outside, settings.publish_to / SEAL_PATH, desk)
    sealer = Sealer(kafka, settings, Store(read_settings(PostgresSettings).dsn), outlet, metrics)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    health = read_settings(HealthSettings)
    with health_server(health, metrics.registry, alive=sealer.not_alive, ready=sealer.not_ready):
        await sealer.run(stop)
