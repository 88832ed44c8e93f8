"""Which way out a target names: `mail:ADDRESS`, `webhook:URL`, `s3:BUCKET/PREFIX`."""

from __future__ import annotations

from services.common.clock import Clock
from services.common.settings import read_settings
from services.reporter.deliver.editions.mail import Mail
from services.reporter.deliver.editions.parcel import Outlet
from services.reporter.deliver.editions.s3 import S3
from services.reporter.deliver.editions.settings import ReportDeliverySettings, mail_settings
from services.reporter.deliver.editions.webhook import Webhook


def outlet_for(scheme: str, clock: Clock) -> Outlet:
    """Made with the settings as they are now. Raises ConfigurationError where they do not suffice."""
    settings = read_settings(ReportDeliverySettings)
    if scheme == "mail":
        return Mail(
            mail_settings(settings), clock, links=None if settings.link_bucket is None else S3(settings)
        )
    if scheme == "webhook":
        secret = settings.webhook_secret
        return Webhook(None if secret is None else secret.get_secret_value(), clock)
    return S3(settings)
