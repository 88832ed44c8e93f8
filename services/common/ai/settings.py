"""Settings of everything that asks a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from services.common.ai.account import Limits
from services.common.ai.prices import Price, price_of
from services.common.errors import ConfigurationError
from services.common.settings import SettingsGroup, read_settings


class AiSettings(SettingsGroup):
    """Which model is asked, how much, and how long it may take. Without a key nothing is asked."""

    openai_key: SecretStr | None = Field(
        None, alias="OPENAI_API_KEY", description="any text where a compatible server wants none"
    )
    base_url: str | None = Field(
        None, alias="OPENAI_BASE_URL", description="of a compatible server; default: OpenAI"
    )
    model: str = Field(
        "gpt-4o-mini", alias="OPENAI_MODEL", min_length=1, max_length=200, description="which model is asked"
    )
    azure_endpoint: str | None = Field(
        None, alias="AZURE_OPENAI_ENDPOINT", description="https://NAME.openai.azure.com; goes before OpenAI"
    )
    azure_key: SecretStr | None = Field(
        None, alias="AZURE_OPENAI_API_KEY", description="default: OPENAI_API_KEY"
    )
    azure_deployment: str | None = Field(
        None, alias="AZURE_OPENAI_DEPLOYMENT", description="default: OPENAI_MODEL"
    )
    api_version: str = Field("2024-10-21", alias="OPENAI_API_VERSION", description="of Azure OpenAI")
    enabled: Literal["auto", "on", "off"] = Field(
        "auto",
        alias="AI_ENABLED",
        description="whether events wait for an annotator; auto: where there is a key. on: for an enricher without the key",
    )
    language: str = Field(
        "English",
        alias="AI_LANGUAGE",
        pattern=r"^[^\W\d_][\w -]{0,40}$",
        description="of summaries, one of services/enricher/languages.yaml; tags stay English",
    )
    timeout_s: float = Field(60.0, alias="AI_TIMEOUT", gt=0, description="seconds for one answer")
    output_tokens: int = Field(
        4096, alias="AI_MAX_OUTPUT_TOKENS", ge=256, description="of one answer, reasoning included"
    )
    events_per_request: int = Field(
        10, alias="AI_EVENTS_PER_REQUEST", ge=1, le=50, description="events read at once by the model"
    )
    linger_s: float = Field(
        5.0,
        alias="AI_LINGER",
        ge=0,
        le=60,
        description="seconds for which events wait until a request is full; those for which somebody waits do not",
    )
    concurrency: int = Field(4, alias="AI_CONCURRENCY", ge=1, le=64, description="requests at the same time")
    window_events: int = Field(
        1000,
        alias="AI_WINDOW_EVENTS",
        ge=1,
        le=100_000,
        description="events in hand, among which the highest risk goes first; while so many wait, no more are read",
    )
    sample: float = Field(
        0.001,
        alias="AI_SAMPLE",
        ge=0,
        le=1,
        description="share of the events below high risk that are read one by one, beside their shape",
    )
    requests_a_minute: int = Field(
        60, alias="AI_MAX_REQUESTS_PER_MINUTE", ge=1, description="of all services together; more wait"
    )
    tokens_a_minute: int = Field(
        0, alias="AI_MAX_TOKENS_PER_MINUTE", ge=0, description="of all services together; 0: no limit"
    )
    dollars_a_minute: float = Field(
        0, alias="AI_MAX_DOLLARS_PER_MINUTE", ge=0, description="of all services together; 0: no limit"
    )
    requests_a_month: int = Field(
        5000,
        alias="AI_MAX_REQUESTS_PER_MONTH",
        ge=1,
        description="of all services together, by UTC; what is beyond stays with the rules and is named on audit.system",
    )
    tokens_a_month: int = Field(
        0, alias="AI_MAX_TOKENS_PER_MONTH", ge=0, description="of all services together; 0: no limit"
    )
    dollars_a_month: float = Field(
        0,
        alias="AI_MAX_DOLLARS_PER_MONTH",
        ge=0,
        description="of all services together, by AI_PRICES_FILE and the prices shipped; 0: no limit",
    )
    shapes_an_hour: int = Field(
        20,
        alias="AI_MAX_NEW_SHAPES_PER_SOURCE",
        ge=1,
        description="new kinds of events an hour that one source may have read; further ones stay with the rules",
    )
    shapes_together: int = Field(
        100,
        alias="AI_MAX_NEW_SHAPES_TOGETHER",
        ge=1,
        description="the same for all sources of about one age together (new today, since yesterday, for four days, eight …)",
    )
    prices_file: Path | None = Field(
        None,
        alias="AI_PRICES_FILE",
        description="YAML with prices of your own; form: services/common/ai/prices.yaml",
    )
    prompt_log: Path | None = Field(
        None,
        alias="AI_PROMPT_LOG",
        description="file to which every request and answer is appended, mode 0600, for auditors; default: none",
    )
    give_up_after_s: float = Field(
        7200.0,
        alias="AI_GIVE_UP_AFTER",
        ge=0,
        description="seconds for which a request that fails is tried again, before its events are passed by",
    )
    max_age_hours: float = Field(
        360.0,
        alias="AI_MAX_AGE_HOURS",
        gt=0,
        description="older events are passed by; half of their retention",
    )

    @property
    def key(self) -> SecretStr | None:
        """The key in use."""
        return (self.azure_key or self.openai_key) if self.azure_endpoint else self.openai_key

    @property
    def model_name(self) -> str:
        """What readings are labelled with: the deployment on Azure, else the model."""
        return (self.azure_deployment or self.model) if self.azure_endpoint else self.model

    @property
    def limits(self) -> Limits:
        """What may be spent."""
        minute = (self.requests_a_minute, self.tokens_a_minute, round(self.dollars_a_minute * 1_000_000))
        month = (self.requests_a_month, self.tokens_a_month, round(self.dollars_a_month * 1_000_000))
        return Limits(minute, month, self.shapes_an_hour, self.shapes_together)

    def price(self) -> Price | None:
        """The price of the model; None where it is not known and no limit is in dollars. Raises ConfigurationError."""
        found = price_of(self.model_name, self.prices_file)
        if found is None and (self.dollars_a_month or self.dollars_a_minute):
            raise ConfigurationError(
                f"a limit is in dollars (AI_MAX_DOLLARS_PER_MONTH or _MINUTE), and the price of {self.model_name!r} is not "
                "known: name it in a file, `date: 2026-11-26` and `models: {NAME: {input: 0.15, output: 0.60}}` in dollars "
                "for a million tokens, and set AI_PRICES_FILE to it; or leave those limits out"
            )
        return found


def ai_configured(variables: Mapping[str, str] | None = None) -> bool:
    """Whether a model is to be asked: AI_ENABLED says so, or there is a key for OpenAI, Azure or a compatible server.
    Raises ConfigurationError where there is an Azure endpoint without a key."""
    settings = read_settings(AiSettings, variables)
    if settings.enabled != "auto":
        return settings.enabled == "on"
    if settings.azure_endpoint and settings.key is None:
        raise ConfigurationError("AZURE_OPENAI_ENDPOINT is set: set AZURE_OPENAI_API_KEY too")
    return settings.key is not None


def read_ai_settings(variables: Mapping[str, str] | None = None) -> AiSettings:
    """The settings, for a process that cannot do without a model. Raises ConfigurationError without a key."""
    settings = read_settings(AiSettings, variables)
    if not ai_configured(variables) or settings.key is None:
        raise ConfigurationError(
            "no AI key, or AI_ENABLED=off: set OPENAI_API_KEY (with OPENAI_BASE_URL for a compatible server), or "
            "AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY. Without one, all summaries are by rules and no annotator is "
            "needed"
        )
    return settings
