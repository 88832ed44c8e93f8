"""An enricher whose rules raise once: at the first event of partition 0 with an offset of 120 or more."""

from services.enricher import __main__ as enricher
from services.enricher.enrich import load_enricher


class Raising:
    """As the real one, but for one event."""

    def __init__(self, **options) -> None:
        self._real = load_enricher(**options)

    def __getattr__(self, name):
        return getattr(self._real, name)

    def enrich_all(self, messages):
        if any(message.at.partition == 0 and message.at.offset >= 120 for message in messages):
            raise RuntimeError("a rule that raises")
        return self._real.enrich_all(messages)


if __name__ == "__main__":
    enricher.load_enricher = Raising
    enricher.main()
