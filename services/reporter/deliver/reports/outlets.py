"""Which way out a target names: `mail:ADDRESS`, `webhook:URL`, `s3:BUCKET/PREFIX`."""

from __future__ import annotations

from services.common.clock import Clock
from services.common.settings import read_settings
from services.reporter.deliver.reports.mail import Mail
from services.reporter.deliver.reports.parcel import Outlet
from services.reporter.deliver.reports.s3 import S3
from services.reporter.deliver.reports.settings import ReportDeliverySettings, mail_settings
from services.reporter.deliver.reports.webhook import Webhook


def outlet_for(scheme: str, clock: Clock) -> Outlet:
    """Made with the settings as they are now. Raises ConfigurationError where they do not suffice."""
    settings = read_settings(ReportDeliverySettings)
    if scheme == "mail":
        return Mail(mail_settings(settings), clock)
    if scheme == "webhook":
        secret = settings.webhook_secret
        return Webhook(None if secret is None else secret.get_secret_value(), clock)
    return S3(settings)
