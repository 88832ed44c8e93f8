"""What a recipient may see: below full detail no name, no address and no text of an event is in any format."""

import io
import json
import re
import zipfile

import pytest
from jsonschema import Draft202012Validator
from pypdf import PdfReader

from services.reporter.deliver.editions.letter import letter_of
from services.reporter.document import edition_hash
from services.reporter.formats import FORMATS, Extras, render, with_detail
from tests.report_document import document, event, sealed, table
from tests.service_process import ROOT

_, PROOFS, POLICY = sealed()
WHO = {
    "actor": "mara.lind@corp.example",
    "resource": "customers-eu",
    "origin": "203.0.113.77",
    "outcome": "success",
}
SECRETS = ("mara.lind", "customers-eu", "203.0.113.77", "4,812 rows", "she-did-it")


def month():
    made = document("plain")
    one = event(
        "data_export",
        who=WHO,
        summary="mara.lind@corp.example exported 4,812 rows",
        event_id="she-did-it",
        subject=WHO["resource"],
    )
    one["ai"] = [
        {"model": "m", "risk": "high", "summary": "she-did-it", "evidence": "4,812 rows", "cites": []}
    ]
    made["high_risk"] = {
        "shown": 2,
        "of": 2,
        "events": [one, event("login", who=WHO | {"actor": "bo"}, subject="")],
    }
    made["tables"]["actor"] = table("mara.lind@corp.example", "bo")
    made["summary"]["sentences"].append(
        {"text": "Most often named: mara.lind@corp.example.", "cites": [], "facts": []}
    )
    made["alerts"][0]["text"] = "she-did-it: mara.lind@corp.example"
    made["changes"]["new_actors"] = {
        "shown": 1,
        "of": 1,
        "rows": [{"key": "mara.lind@corp.example", "events": 3}],
    }
    return made


def read(name, data):
    """All that a file says, packed parts unpacked."""
    if name == "pack":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return b"".join(archive.read(one) for one in archive.namelist() if not one.endswith(".pdf"))
    return data


@pytest.mark.parametrize("detail", ["pseudonymous", "figures"])
@pytest.mark.parametrize("name", ["html", "md", "json", "pack"])
def test_nothing_that_names_anybody_is_in_any_format(name, detail):
    said = read(name, render(month(), name, Extras(PROOFS, {}, POLICY, detail=detail))).decode()
    assert not [secret for secret in SECRETS if secret in said]
    whole = read(name, render(month(), name, Extras(PROOFS, {}, POLICY))).decode()
    assert all(secret in whole for secret in SECRETS[:3])


def test_the_same_name_has_the_same_number_everywhere():
    made = with_detail(month(), "pseudonymous")
    first, second = made["high_risk"]["events"]
    assert [first["who"]["actor"], second["who"]["actor"]] != [WHO["actor"], "bo"]
    assert (
        first["who"]["actor"]
        == made["tables"]["actor"]["rows"][0]["key"]
        == made["changes"]["new_actors"]["rows"][0]["key"]
    )
    assert second["who"]["actor"] == made["tables"]["actor"]["rows"][1]["key"] != first["who"]["actor"]
    assert made["summary"]["sentences"][-1]["text"] == f"Most often named: {first['who']['actor']}."
    assert first["who"]["outcome"] == "success"
    assert first["event_type"] == "data_export"


def test_figures_keep_counts_and_leave_events_out():
    made = with_detail(month(), "figures")
    assert made["high_risk"] == {"shown": 0, "of": 2, "events": []}
    assert made["tables"]["actor"] == {"rows": [], "shown": 0, "keys": 2}
    assert made["totals"] == month()["totals"]
    assert made["by_day"] == month()["by_day"]
    assert "left out at this level of detail" in render(month(), "md", Extras(detail="figures")).decode()


def test_proofs_below_full_detail_show_no_content():
    pack = render(month(), "pack", Extras(PROOFS, {}, POLICY, detail="pseudonymous"))
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        proofs = [json.loads(archive.read(name)) for name in archive.namelist() if name.startswith("proofs/")]
    assert len(proofs) == len(PROOFS)
    assert all(one["payload"] is None and one["enrichment"] is None for one in proofs)


@pytest.mark.parametrize("detail", ["pseudonymous", "figures"])
def test_a_document_says_at_which_detail_it_is_and_full_is_the_document_itself(detail):
    assert with_detail(month(), detail)["detail"] == detail
    assert with_detail(month(), "full") == month()
    with pytest.raises(ValueError, match="detail is one of"):
        with_detail(month(), "all")


def printed(data):
    """The text of a PDF's pages."""
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)


@pytest.mark.parametrize("detail", ["full", "pseudonymous", "figures"])
@pytest.mark.parametrize("name", ["html", "md", "pdf", "mail"])
def test_the_hash_to_sign_is_the_editions_at_every_detail(name, detail):
    """The one that `report list` and `report sign` say; that of a copy stands beside it, and is said to be a copy's."""
    edition, seen = edition_hash(month()), with_detail(month(), detail)
    if name == "mail":
        said = letter_of(seen, edition).text
    else:
        made = render(month(), name, Extras(PROOFS, {}, POLICY, detail=detail))
        said = printed(made) if name == "pdf" else made.decode().partition('id="document"')[0]
    said = re.sub(r"<[^>]*>|[`\s]", "", said)
    block = said[said.index("Hashofthisedition(SHA-256)" if name == "mail" else "Whoeversigns") :]
    assert re.findall("[0-9a-f]{64}", block)[0] == edition
    copies = re.findall(r"[Tt]hiscopyofit\((\w+)\)(?:hastheSHA-256)?:([0-9a-f]{64})", block)
    assert copies == ([] if detail == "full" else [(detail, edition_hash(seen))])


@pytest.mark.parametrize("detail", ["pseudonymous", "figures"])
def test_a_copy_names_its_edition_and_is_the_same_each_time(detail):
    copy = with_detail(month(), detail)
    assert copy["edition_sha256"] == edition_hash(month()) != edition_hash(copy)
    assert edition_hash(with_detail(month(), detail)) == edition_hash(copy)
    assert "edition_sha256" not in with_detail(month(), "full")


def test_every_format_takes_every_detail():
    for name in FORMATS:
        for detail in ("figures", "pseudonymous"):
            assert render(month(), name, Extras(PROOFS, {}, POLICY, detail=detail))


def test_names_in_facts_are_pseudonyms_however_short_or_strange():
    made = month()
    strange = "ev\u202eil"
    made["tables"]["actor"] = table("bo", strange)
    sentence = "Actor “bo” is named in 3 events, actor “ev[U+202E]il” in 2; both log on."
    made["facts"] = [{"id": "actor", "sentence": sentence, "cites": []}]
    for detail in ("pseudonymous", "figures"):
        [fact] = with_detail(made, detail)["facts"]
        assert fact["sentence"].count("“actor ") == 2
        assert "bo”" not in fact["sentence"]
        assert "U+202E" not in fact["sentence"]
        assert fact["sentence"].endswith("both log on.")


@pytest.mark.parametrize("detail", ["full", "pseudonymous", "figures"])
def test_the_document_of_these_tests_is_one_of_the_published_schema(detail):
    schema = Draft202012Validator(json.loads((ROOT / "schemas/report/v2.schema.json").read_text()))
    made = with_detail(document(), detail)
    assert [(list(error.path), error.message[:200]) for error in schema.iter_errors(made)] == []
