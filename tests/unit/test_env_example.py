"""`.env.example` has every setting, and nothing else."""

import re
from pathlib import Path

import pytest

from services.cli.env_example import MACHINE, groups, render, sections

ROOT = Path(__file__).parents[2]
OF_THE_SYSTEM = {"PATH", "JAVA_HOME", "XDG_CACHE_HOME", "PATH_INFO"}


@pytest.fixture(scope="module")
def names():
    return set(re.findall(r"^#([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_the_file_is_what_the_settings_say():
    assert (ROOT / ".env.example").read_text() == render(), (
        "settings have changed: python -m services.cli.env_example > .env.example"
    )


def test_every_field_of_every_group_is_in_it(names):
    declared = set()
    for path in (ROOT / "services").rglob("*.py"):
        declared.update(re.findall(r'\balias="([A-Z][A-Z0-9_]+)"', path.read_text()))
    assert len(groups()) >= 8
    assert declared == names - {name for name, _, _ in MACHINE.variables}


def test_every_variable_that_code_reads_by_name_is_in_it(names):
    pattern = re.compile(r'(?:environ|variables|found|given)\w*(?:\.get\(|\[|\(\w+, )"([A-Z][A-Z_]{3,})"')
    for folder in ("services", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            read = set(pattern.findall(path.read_text())) - OF_THE_SYSTEM
            assert {name.removesuffix("_FILE") for name in read} <= names | {"API_KEYS"}, path


def test_every_setting_says_what_it_is_for():
    silent = [name for section in sections() for name, _, purpose in section.variables if not purpose]
    assert not silent


def test_no_default_is_a_secret():
    for section in sections():
        for name, default, _ in section.variables:
            if re.search("PASSWORD|SECRET|_KEY$", name):
                assert not default or name == "INGEST_REQUIRE_KEY"
