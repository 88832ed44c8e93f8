"""docker-compose.yml and the Dockerfile: valid, nothing secret in them, nothing reachable that should not be."""

import ast
import json
import re
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {"ingest", "enricher", "annotator", "alerter", "writer", "sealer", "reporter"}
ONE_SHOTS = {"secrets", "migrate", "topics", "report"}


def test_compose_file_is_valid_by_the_compose_specification():
    schema = distribution("check-jsonschema").locate_file(
        "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
    )
    validator = jsonschema.Draft7Validator(json.loads(Path(schema).read_text()))
    assert not [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(COMPOSE)]


def test_every_service_of_piperoll_is_there_with_broker_and_database():
    assert set(SERVICES) == OURS | ONE_SHOTS | {"kafka", "postgres"}


def test_nothing_is_published_beyond_loopback_and_the_database_nowhere():
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert {name for name, ports in published.items() if ports} == {"ingest", "kafka"}
    assert published["ingest"] == ["127.0.0.1:8080:8080"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_database_is_on_an_internal_network_only():
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}
    members = {name for name, service in SERVICES.items() if "database" in service.get("networks", [])}
    assert members == {"postgres", "migrate", "writer", "sealer", "reporter", "report"}


def test_no_password_stands_in_the_file():
    for name, service in SERVICES.items():
        for variable, text in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", variable) and variable != "INGEST_REQUIRE_KEY":
                assert variable.endswith("_FILE") or re.fullmatch(r"\$\{\w+:-\}", text), (name, variable)


def test_every_secret_file_is_made_at_the_first_start_and_seen_only_by_its_users():
    made = set(SERVICES["secrets"]["command"])
    for name, service in SERVICES.items():
        mounts = [volume.split(":")[1] for volume in service.get("volumes", [])]
        for variable, text in service.get("environment", {}).items():
            if variable.endswith("_FILE") and variable != "REPORTS_FILE":
                assert text in made, (name, variable)
                assert str(Path(text).parent) in mounts, (name, variable)
    assert "secrets-admin" not in " ".join(SERVICES["writer"]["volumes"] + SERVICES["reporter"]["volumes"])
    readers = [s for n, s in SERVICES.items() if n != "secrets"]
    mounts = [v for s in readers for v in s.get("volumes", []) if v.startswith("secrets-")]
    assert all(mount.endswith(":ro") for mount in mounts)


def test_the_sealer_keeps_its_memory_on_a_volume_of_its_own_that_nobody_else_sees():
    sealer = SERVICES["sealer"]
    assert sealer["environment"]["SEALER_DIR"] == "/sealer"
    assert "sealer:/sealer" in sealer["volumes"]
    mounted = [n for n, s in SERVICES.items() if any(v.startswith("sealer:") for v in s.get("volumes", []))]
    assert mounted == ["sealer"]
    assert sealer["environment"]["PG_USER"] == "piperoll_sealer"


def test_every_folder_that_a_volume_is_mounted_over_belongs_to_our_user():
    text = (ROOT / "deploy/Dockerfile").read_text()
    owned = re.search(r"install --directory --owner=10001[^\n]*\n([^&]*?)\n", text)[1].split()
    for name in OURS | ONE_SHOTS:
        for volume in SERVICES[name].get("volumes", []):
            assert volume.split(":")[1] in owned, (name, volume)


def test_what_lasts_has_a_health_check_and_what_ends_has_none():
    for name in ("kafka", "postgres"):
        assert SERVICES[name]["healthcheck"]["test"]
    for name in ONE_SHOTS:
        assert SERVICES[name]["healthcheck"] == {"disable": True}
        assert SERVICES[name]["restart"] == "no"
    for name in OURS - ONE_SHOTS:
        assert "healthcheck" not in SERVICES[name]  # the image's own
        assert SERVICES[name]["restart"] == "unless-stopped"
    assert "HEALTHCHECK" in (ROOT / "deploy/Dockerfile").read_text()


def test_everything_starts_after_what_it_needs():
    def conditions(name):
        return {other: wanted["condition"] for other, wanted in SERVICES[name].get("depends_on", {}).items()}

    assert conditions("postgres") == {"secrets": "service_completed_successfully"}
    assert conditions("migrate") == {"postgres": "service_healthy"}
    assert conditions("topics") == {"kafka": "service_healthy"}
    for name in ("ingest", "enricher", "annotator", "alerter", "writer", "sealer", "reporter"):
        assert conditions(name)["topics"] == "service_completed_successfully"
    for name in ("writer", "sealer", "reporter", "report"):
        assert conditions(name)["migrate"] == "service_completed_successfully"


def test_enricher_and_writer_can_be_scaled():
    for name in ("enricher", "annotator", "alerter", "writer", "reporter"):
        assert not {"container_name", "ports", "hostname", "deploy"} & set(SERVICES[name])


def test_our_containers_have_no_rights_that_they_do_not_need():
    for name in OURS | ONE_SHOTS:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service  # the image's own, which is not root


def test_optional_services_are_behind_profiles():
    assert SERVICES["annotator"]["profiles"] == ["ai"]
    assert SERVICES["report"]["profiles"] == ["report"]
    assert "profiles" not in SERVICES["reporter"]


def test_the_image_runs_as_another_user_than_root_and_installs_locked_hashes_only():
    text = (ROOT / "deploy/Dockerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "--require-hashes" in text
    assert re.search(r"^FROM python:\$\{PYTHON\}-slim$", text, re.MULTILINE)


def test_the_builder_sees_exactly_what_the_dockerfile_copies():
    copied = set()
    for line in (ROOT / "deploy/Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied.update(line.split()[1:-1])
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in copied:
        plain = path.replace("${SERVICE}.txt", "*.txt").replace("/${SERVICE}", "")
        assert any(plain == wanted or plain.startswith(f"{wanted}/") for wanted in let_in), path
        if "$" not in path:
            assert (ROOT / path).exists(), path


def locked(service):
    lines = (ROOT / f"requirements/{service}.txt").read_text().splitlines()
    return {re.split(r"[=\[ ]", line)[0] for line in lines if re.match(r"[a-z]", line)}


SIGNED = ("schemas/tlog", "schemas/standalone", "schemas/shredding/cipher.py")
"""These need cryptography, which only services that sign, check signatures or encrypt have."""


def imported(folder, without=()):
    """Top-level names that the modules of a folder import, anywhere in them."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        if path.relative_to(ROOT).as_posix().startswith(tuple(without)):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("service", sorted(OURS - {"annotator", "alerter", "sealer"}))
def test_what_a_service_imports_is_in_its_own_requirements(service):
    """services/common is in every image, but a service needs only what it imports of it."""
    owners = packages_distributions()
    sources = [path.read_text() for path in (ROOT / f"services/{service}").rglob("*.py")]
    signs = any("schemas.tlog" in source or "schemas.seal" in source for source in sources)
    found = imported(f"services/{service}") | imported("schemas", () if signs else SIGNED)
    third = {name for name in found if name not in sys.stdlib_module_names | {"schemas", "services"}}
    have = locked(service)
    for name in third:
        names = {owner.lower().replace("_", "-").replace(".", "-") for owner in owners[name]}
        assert names & have, f"{service} imports {name}, which is not in requirements/{service}.txt"
