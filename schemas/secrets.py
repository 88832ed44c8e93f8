"""What counts as a secret or as a person's address in text and in field names: patterns, each with a bound.

When in doubt, it counts: a summary that lacks an odd-looking name costs less than a key that has left the house.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address

SECRET = "[secret]"  # noqa: S105 - the mask

_SECRET_NAMES = re.compile(
    r"password|passwd|passphrase|passcode|pwd|secret|token|authorization|credential|cookie|bearer|jwt|signature"
    r"|privatekey|apikey|sessionkey|accesskey|connectionstring|cardnumber|accountnumber|iban|cvv|cvc|ssn"
    r"|otp$|^pin$|^auth$"
)
_TELLS_OF_ONE = re.compile(
    r"(?:ids?|names?|arn|type|version|expiry|expiration|expires|count|length|status|enabled|used|changed|policy)$"
)
_WORDS = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|authorization|credential|cookie|api[-_ ]?key|access[-_ ]?key"
    r"|private[-_ ]?key|session[-_ ]?key|signature|\bsig\b|\bsas\b|\botp\b|\bpin\b)"
)
_IS = r"(?:\\{0,3}[\"'])?\s{0,3}(?:=>?|:|%3[AaDd]|\bis\b)\s{0,3}"
_IS_PLAINLY = r"(?:\\{0,3}[\"'])?\s{0,3}(?:=>?|:(?=[\s\"'\\])|%3[AaDd])\s{0,3}"
_CONTENT = (
    r"(?!\[secret\])(?:\\{0,3}\"[^\"\\]{0,400}\\{0,3}\"|\\{0,3}'[^'\\]{0,400}\\{0,3}'|[^\s\"',;&}\]]{1,400})"
)
_CERTAIN = [
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?P<keep>://)[^\s/@]{1,256}(?=@)"),
    re.compile(r"(?P<keep>\b(?:bearer|basic|digest|negotiate)\s+)[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE),
    # name=word, name: "some words"; not arn:aws:secretsmanager:region
    re.compile(rf"(?P<keep>[\w-]{{0,40}}{_WORDS}[\w-]{{0,20}}{_IS_PLAINLY}){_CONTENT}", re.IGNORECASE),
    re.compile(r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}"),
    re.compile(
        r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[a-z]-|[srp]k[-_]|AIza|ya29\.|npm_|pypi-|hf_|SG\.)[\w.-]{8,}"
    ),
    re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"),
    re.compile(r"\$(?:2[abxy]|5|6|argon2\w{0,3}|scrypt|pbkdf2[\w-]{0,10})\$\S{10,}"),
]
_LIKELY = [
    # also name:word and `name is word`, with escaped quotes
    re.compile(rf"(?P<keep>[\w-]{{0,40}}{_WORDS}[\w-]{{0,20}}{_IS}){_CONTENT}", re.IGNORECASE),
    re.compile(r"[0-9A-Fa-f]{32,}"),
    re.compile(r"[A-Za-z0-9+_=-]{40,}"),
]
_TRIGGER = re.compile(
    r"-----BEGIN|://|bearer|basic|digest|negotiate|A(?:K|S|B|CC)IA|ACCA|gh[pousr]_|github_pat_|glpat-|xox|[srp]k[-_]|AIza|ya29|npm_"
    rf"|pypi-|hf_|SG\.|eyJ|\$[2-6a-z]|{_WORDS}",
    re.IGNORECASE,
).search
_WITH_SLASHES = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_WORD = re.compile(r"[A-Za-z0-9+/_-]{20,39}")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_EMAIL = re.compile(r"[\w.+%'-]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}")
_IP = re.compile(
    r"(?<!\d)\d{1,3}(?:\.\d{1,3}){3}(?!\d)"
    r"|(?<![\w:])[0-9A-Fa-f:]{0,39}:[0-9A-Fa-f:]{0,39}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])"
)


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """Whether a field of this name holds a secret (`db.Pass-Word`), not the name or id of one (`secret_id`)."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return _SECRET_NAMES.search(plain) is not None and _TELLS_OF_ONE.search(plain) is None


def mask_secrets(text: str) -> str:
    """`text` with every secret replaced by `[secret]`."""
    for pattern in (*_CERTAIN, *_LIKELY):
        text = pattern.sub(_masked, text)
    for words in (_WITH_SLASHES, _WORD):
        text = words.sub(lambda found: SECRET if _is_random(found[0]) else found[0], text)
    return _CARD.sub(lambda found: SECRET if _is_card(found[0]) else found[0], text)


def mask_certain(text: str) -> str:
    """`text` with every key, token and password in it replaced that shows itself as one. For sentences: unlike
    `mask_secrets` it leaves digests, identifiers and other long words alone, which people must be able to read."""
    if _TRIGGER(text) is not None:
        for pattern in _CERTAIN:
            text = pattern.sub(_masked, text)
    return text


def replace_emails(text: str, name: Callable[[str], str]) -> str:
    """`text` with every e-mail address replaced by what `name` makes of it."""
    return _EMAIL.sub(lambda found: name(found[0]), text)


def replace_ips(text: str, name: Callable[[str], str]) -> str:
    """`text` with every IP address (of both versions) replaced by what `name` makes of it."""
    return _IP.sub(lambda found: name(found[0]) if _is_ip(found[0]) else found[0], text)


def _masked(found: re.Match[str]) -> str:
    return (found.groupdict().get("keep") or "") + SECRET


def _is_random(word: str) -> bool:
    """Both cases and at least two groups of digits: no word of a language, seldom a name made by people."""
    return (
        len(re.findall(r"\d+", word)) >= 2
        and re.search(r"[a-z]", word) is not None
        and re.search(r"[A-Z]", word) is not None
    )


def _is_card(text: str) -> bool:
    digits = [int(letter) for letter in reversed(text) if letter.isdigit()]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
