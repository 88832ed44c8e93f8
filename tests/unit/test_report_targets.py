"""Where reports can go, and what a mail holds."""

from __future__ import annotations

import os

import pytest

from services.reporter.deliver.editions.letter import notice
from services.reporter.deliver.editions.mail import MOST_BYTES, Mail
from services.reporter.deliver.editions.parcel import Parcel
from services.reporter.deliver.editions.settings import ReportDeliverySettings
from services.reporter.runs.targets import check_target, shown


@pytest.mark.parametrize(
    "target",
    [
        "directory:x",
        "mail:jo@example.org",
        "webhook:https://h.example/x?t=1",
        "webhook:http://127.0.0.1:9/x",
        "s3:bucket",
        "s3:bucket/a/b",
    ],
)
def test_these_are_targets(target):
    assert check_target(target) == target


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("ftp:x", "one of directory"),
        ("mail:", "one of directory"),
        ("mail:jo", "plain address"),
        ("mail:jo@example.org, al@example.org", "plain address"),
        ("mail:jo@example.org\r\nBcc: x@example.org", "control"),
        ("webhook:http://elsewhere.example/", "https"),
        ("webhook:file:///etc/passwd", "https"),
        ("s3:A B", "BUCKET"),
    ],
)
def test_these_are_not_and_it_says_why(target, why):
    with pytest.raises(ValueError, match=why):
        check_target(target)


def test_a_webhooks_secret_is_not_shown():
    assert shown("webhook:https://user:pw@h.example:8443/hook?token=x") == "webhook:https://h.example:8443/…"


async def test_what_is_too_large_for_mail_is_named_and_where_it_is_found(tmp_path):
    for name, size in (("report.pdf", 1000), ("evidence.zip", MOST_BYTES)):
        (tmp_path / name).write_bytes(os.urandom(size))
    settings = ReportDeliverySettings(
        smtp_host="127.0.0.1", sender="reports@example.org", smtp_security="none"
    )
    parcel = Parcel(
        "<a@reports.piperoll>",
        "jo@example.org",
        "monthly/2026-10/1",
        notice("Subject\r\nBcc: x", "text"),
        list(tmp_path.iterdir()),
    )
    message, attached, left_out = await Mail(settings, lambda: 1_790_000_000_000_000).message(parcel)
    assert (attached, left_out) == (["report.pdf"], ["evidence.zip"])
    assert "evidence.zip" in message.get_body(("plain",)).get_content()
    assert "piperoll report rebuild monthly/2026-10/1" in message.get_body(("plain",)).get_content()
    assert message["Bcc"] is None
    assert len(bytes(message)) < 100_000
