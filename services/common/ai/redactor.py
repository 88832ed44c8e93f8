"""What of an event a model may see: no secret, no address, no odd key name, and not more than fits.

Everything in an event is untrusted: values, key names, type, source, subject. E-mail and IP addresses become
`[email_1]`, `[ip_1]`, names of people in fields that are called so `[name_1]`, which `restore` puts back into the model's summary, from the same event only; what is secret
becomes `[secret]` and is never put back. Texts that a secret field holds are masked wherever else they occur in the
event.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from schemas.secrets import SECRET, mask_secrets, names_a_secret, replace_emails, replace_ips

TEXT_LIMIT = 300
"""Characters of one value."""
_SCANNED = 2000
"""Characters of one value that are looked at; what follows is left out unseen."""
_DEPTH, _KEYS, _ITEMS = 8, 40, 10
_OVERHEAD = 5
"""Characters that each value costs beside its text: quotes, comma, brackets."""
_KNOWN_LIMIT, _LOOKED_AT = 200, 100_000
_LEFT_OUT = "…"
_NAME = re.compile(r"[A-Za-z0-9_.@$:-]{1,64}")
_NAME_PARTS = 6
_PEOPLE = re.compile(
    r"(?:first|last|full|given|family|middle|maiden|patient|customer|employee|person|contact)_?name|surname|forename",
    re.IGNORECASE,
).fullmatch
_PLACEHOLDER = re.compile(r"\[(?:email|ip|name)_\d{1,4}\]")
_PERSON_LIMIT = 100
_NAMED_BY = ("name", "key", "header", "field", "parameter", "Name", "Key")


class Redactor:
    """One for each event: its placeholders are counted anew, and `limit` characters of data are all it lets through.
    `sensitive` are names of fields that the catalogue withholds."""

    def __init__(self, sensitive: frozenset[str] = frozenset(), *, limit: int = 4000) -> None:
        self._sensitive = sensitive
        self._left = limit
        self._looked_at = 0
        self._known: set[str] = set()
        self._names: dict[str, str] = {}
        self._originals: dict[str, str] = {}
        self._people: dict[str, str] = {}

    def data(self, value: Any) -> Any:
        """A JSON value, redacted. To be called before `text`, which then knows what the secret fields hold."""
        self._learn(value, 0, secret=False)
        return self._value(value, 0)

    def text(self, text: str, limit: int = TEXT_LIMIT) -> str:
        """One line of text, redacted, of at most `limit` characters."""
        text = _scannable(text)
        if text[:1] in ("{", "["):
            text = self._json_text(text)
        for known in self._known:
            text = text.replace(known, SECRET)
        for person, placeholder in self._people.items():
            text = text.replace(person, placeholder)
        text = mask_secrets(text)
        text = replace_emails(text, lambda found: self._placeholder("email", found))
        text = replace_ips(text, lambda found: self._placeholder("ip", found))
        return text if len(text) <= limit else text[: limit - 1] + _LEFT_OUT

    def name(self, text: str) -> str:
        """An event type, source or other name: itself where its parts between slashes are plain names, else
        `field_1`, `field_2`, …"""
        parts = text.split("/")
        if (
            len(parts) <= _NAME_PARTS
            and all(not part or _NAME.fullmatch(part) for part in parts)
            and self.text(text) == text
        ):
            return text
        return self._names.setdefault(text, f"field_{len(self._names) + 1}")

    def restore(self, summary: str) -> str:
        """A model's sentence with the addresses of this event in place of their placeholders."""
        return _PLACEHOLDER.sub(lambda found: self._originals.get(found[0], found[0]), summary)

    def _value(self, value: Any, depth: int) -> Any:
        self._left -= _OVERHEAD
        if self._left <= 0 or depth > _DEPTH:
            return _LEFT_OUT
        if isinstance(value, dict):
            return self._object(value, depth)
        if isinstance(value, list):
            items = [self._value(item, depth + 1) for item in value[:_ITEMS]]
            return items + [f"{_LEFT_OUT} {len(value) - _ITEMS} more"] * (len(value) > _ITEMS)
        if value is None or isinstance(value, bool):
            made: Any = value
        elif isinstance(value, int | float):
            made = self._number(value)
        else:
            made = self.text(value if isinstance(value, str) else bytes(value).decode("utf-8", "replace"))
        self._left -= len(str(made))
        return made

    def _object(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, item in list(value.items())[:_KEYS]:
            name = self._name(key)
            self._left -= len(name)
            shown[name] = (
                SECRET if self._is_secret(key, value) and item is not None else self._value(item, depth + 1)
            )
        if len(value) > _KEYS:
            shown[_LEFT_OUT] = f"{len(value) - _KEYS} more"
        return shown

    def _is_secret(self, key: str, siblings: dict[str, Any]) -> bool:
        """By its own name, or as the `value` beside a `name` that is one."""
        if key in self._sensitive or names_a_secret(key):
            return True
        if "value" not in key.lower():
            return False
        return any(isinstance(said := siblings.get(by), str) and names_a_secret(said) for by in _NAMED_BY)

    def _name(self, key: str) -> str:
        if _NAME.fullmatch(key) is not None and self.text(key) == key:
            return key
        return self._names.setdefault(key, f"field_{len(self._names) + 1}")

    def _number(self, value: float) -> Any:
        if not abs(value) < 1e30:
            return _LEFT_OUT  # also NaN, which is no JSON
        text = str(value)
        return value if len(text) < 13 or mask_secrets(text) == text else SECRET

    def _placeholder(self, kind: str, found: str) -> str:
        for placeholder, original in self._originals.items():
            if original == found:
                return placeholder
        placeholder = f"[{kind}_{len(self._originals) + 1}]"
        self._originals[placeholder] = found
        return placeholder

    def _json_text(self, text: str) -> str:
        """JSON within a string is redacted as JSON, so that names of fields count there too."""
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if not isinstance(inner, dict | list):
            return text
        self._learn(inner, 0, secret=False)
        return json.dumps(self._masked(inner, 0), ensure_ascii=False)

    def _masked(self, value: Any, depth: int) -> Any:
        if depth > _DEPTH:
            return _LEFT_OUT
        if isinstance(value, dict):
            return {
                self._name(key): SECRET if self._is_secret(key, value) else self._masked(item, depth + 1)
                for key, item in value.items()
            }
        return [self._masked(item, depth + 1) for item in value] if isinstance(value, list) else value

    def _learn(self, value: Any, depth: int, *, secret: bool) -> None:
        """Remembers the texts of secret fields."""
        self._looked_at += 1
        if depth > _DEPTH or len(self._known) >= _KNOWN_LIMIT or self._looked_at > _LOOKED_AT:
            return
        if isinstance(value, dict):
            for key, item in value.items():
                if type(item) is str and _PEOPLE(key) is not None and 3 <= len(item) <= _PERSON_LIMIT:
                    self._people[item] = self._placeholder("name", item)
                self._learn(item, depth + 1, secret=secret or self._is_secret(key, value))
        elif isinstance(value, list):
            for item in value:
                self._learn(item, depth + 1, secret=secret)
        elif secret and isinstance(value, str) and len(value) >= 6:
            self._known.add(_scannable(value))


def _scannable(text: str) -> str:
    """One line without characters that hide what is written, cut where no secret can be cut in two."""
    if len(text) > _SCANNED:
        text = re.sub(r"\S+\Z", "", text[:_SCANNED]) + _LEFT_OUT
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " if letter.isspace() else "" for letter in text)
    return text
