"""Larkfield Health, an invented company of remote patient monitoring: its people, hospitals and data sets.

All addresses are from the ranges set aside for documentation and benchmarks; all names are drawn from lists.
"""

from __future__ import annotations

from random import Random
from typing import Literal, NamedTuple

DOMAIN = "larkfield.example"
ACCOUNT = "111122223333"
REGION = "eu-west-2"
Role = Literal["care", "engineer", "scientist", "success", "finance", "admin"]


class Site(NamedTuple):
    """An office: `office` and `home` are the first parts of the addresses that its people come from."""

    city: str
    country: str
    zone: str
    office: str
    home: str


class Person(NamedTuple):
    """Someone with an account; `starts` and `hours`: the local hour at which the day begins, and its length."""

    id: str
    email: str
    role: Role
    site: Site
    starts: float
    hours: float
    address: str
    device: str


class Clinician(NamedTuple):
    """A user of a customer: works in shifts, on all days of the week."""

    id: str
    hospital: str
    site: Site
    night: bool
    address: str


class Company(NamedTuple):
    """Everyone and everything that leaves events behind."""

    staff: list[Person]
    clinicians: list[Clinician]
    patients: list[str]

    def with_role(self, *roles: Role) -> list[Person]:
        return [person for person in self.staff if person.role in roles]


LONDON = Site("London", "GB", "Europe/London", "192.0.2", "198.18")
BOSTON = Site("Boston", "US", "America/New_York", "198.51.100", "198.19")
BENGALURU = Site("Bengaluru", "IN", "Asia/Kolkata", "192.0.2", "198.18")

DATASETS = (
    "vitals-daily",
    "readmission-cohort",
    "device-telemetry",
    "billing-ledger",
    "consent-register",
    "outcomes-q",
    "triage-labels",
    "referrals",
)
MODELS = ("triage-3.4.1", "triage-3.4.2", "sepsis-1.9.0", "arrhythmia-2.2.3")
HOSPITALS = (
    ("st-brannoc", LONDON),
    ("north-vale", LONDON),
    ("harrow-cross", LONDON),
    ("mill-river", BOSTON),
    ("cape-ashby", BOSTON),
)
_FIRST = (
    "Amara Ben Chitra Dana Elif Farid Greta Hugo Ines Jonas Kavya Liam Maya Nikhil Orla Pavel Quinn Rosa Samir Tess "
    "Uma Viktor Wren Yusuf Zoe Anil Bea Callum Deepa Edith"
)
_LAST = (
    "Abbott Banerjee Castell Doyle Eriksen Faulkner Gupta Hollis Iyer Jarvis Kaur Lindqvist Mensah Novak Okafor Patel "
    "Quayle Reyes Sharma Thorne Ueda Varga Whitlock Xu Yilmaz Zeller Ashdown Brandt Chaudhry Devlin"
)
_DEVICES = (
    "macOS 15 Firefox",
    "macOS 15 Safari",
    "Windows 11 Edge",
    "Windows 11 Chrome",
    "Ubuntu 24.04 Firefox",
)
_ROLES: tuple[tuple[Role, int, tuple[Site, ...]], ...] = (
    ("care", 44, (LONDON, LONDON, BOSTON)),
    ("engineer", 46, (LONDON, BENGALURU, BENGALURU, BOSTON)),
    ("scientist", 14, (LONDON, BOSTON)),
    ("success", 24, (LONDON, BOSTON)),
    ("finance", 14, (LONDON,)),
    ("admin", 6, (LONDON, BENGALURU, BOSTON)),
)


def found_company(rng: Random, scale: float) -> Company:
    """The company at a size of `scale` (1.0: 148 staff, 150 clinicians); no role is ever empty."""
    names = _names(rng)
    staff = [
        _person(rng, 1000 + number, names[number % len(names)], role, sites[number % len(sites)])
        for number, (role, sites) in enumerate(_posts(scale))
    ]
    clinicians = [_clinician(rng, number) for number in range(max(5, round(150 * scale)))]
    patients = [f"p-{rng.randrange(10**7):07d}" for _ in range(max(40, round(3200 * scale)))]
    return Company(staff, clinicians, patients)


def _posts(scale: float) -> list[tuple[Role, tuple[Site, ...]]]:
    return [(role, sites) for role, count, sites in _ROLES for _ in range(max(2, round(count * scale)))]


def _names(rng: Random) -> list[tuple[str, str]]:
    pairs = [(first, last) for first in _FIRST.split() for last in _LAST.split()]
    rng.shuffle(pairs)
    return pairs


def _person(rng: Random, number: int, name: tuple[str, str], role: Role, site: Site) -> Person:
    first, last = name
    network = site.office if rng.random() < 0.55 else f"{site.home}.{rng.randrange(256)}"
    return Person(
        id=f"u-{number}",
        email=f"{first}.{last}{number % 10}@{DOMAIN}".lower(),
        role=role,
        site=site,
        starts=min(11.0, max(6.5, rng.gauss(8.8, 0.8))),
        hours=min(10.5, max(6.0, rng.gauss(8.6, 0.7))),
        address=f"{network}.{rng.randrange(2, 250)}",
        device=rng.choice(_DEVICES),
    )


def _clinician(rng: Random, number: int) -> Clinician:
    hospital, site = HOSPITALS[number % len(HOSPITALS)]
    return Clinician(
        id=f"c-{5000 + number}",
        hospital=hospital,
        site=site,
        night=rng.random() < 0.22,
        address=f"198.19.{number % len(HOSPITALS) + 10}.{rng.randrange(2, 250)}",
    )
