"""The report's page in a real browser: it checks itself offline, and what was changed is never green."""

import re
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from services.reporter.document import edition_hash
from services.reporter.formats import FORMATS, Extras, render, with_detail
from services.reporter.formats.manifest import recorded
from tests.browser import NONE, find_chromium
from tests.report_document import document, sealed
from tests.sealed_log import SealedLog
from tests.unit.test_report_escape import HOSTILE
from tests.unit.test_standalone_files import edition_proof

LOG, PROOFS, POLICY = sealed()
EXTRAS = Extras(PROOFS, {}, POLICY)
PAGE = render(document(), "html", EXTRAS)
KEY = LOG.signer(LOG.seal_origin).verifier.vkey()
SENTENCE = "Whoever made this page could have made this check; for proof use a verifier and a key that you got elsewhere."
STRICT = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def browser():
    program = find_chromium()
    if program is None:
        pytest.skip(NONE)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens bytes from disk as a page, without a network. There must be no request, error or dialog."""

    @contextmanager
    def open_page(data, *, script="", errors=False, **options):
        path = tmp_path / "report.html"
        path.write_bytes(data)
        context = browser.new_context(offline=True, **options)
        said, asked = [], []
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        if script:
            page.add_init_script(script)
        page.goto(path.as_uri())
        yield page
        context.close()
        assert asked == [path.as_uri()]
        assert errors or said == []

    return open_page


def outcome(page, state=None):
    """What the page says of itself, once it has said it."""
    page.wait_for_function("!document.getElementById('check-text').textContent.startsWith('Checking')")
    if state is not None:
        page.wait_for_function("state => document.documentElement.dataset.check === state", arg=state)
    return page.locator("html").get_attribute("data-check"), page.locator("#check-text").inner_text()


def test_an_untouched_page_holds_offline_and_says_by_whose_key(opened):
    with opened(PAGE) as page:
        _, said = outcome(page, "good")
        assert "the key that stands in this page" in said
        steps = page.locator("#check-steps").inner_text()
        assert "12 of 12 cited records" in steps
        assert "Key fingerprint: SHA-256" in steps
        assert "the last is seal 0" in steps
        assert SENTENCE in page.locator(".check").inner_text()


def test_a_copy_with_less_detail_says_of_which_edition_it_is_one(opened):
    copy = edition_hash(with_detail(document(), "pseudonymous"))
    with opened(render(document(), "html", Extras(PROOFS, {}, POLICY, detail="pseudonymous"))) as page:
        outcome(page, "good")
        steps = page.locator("#check-steps").inner_text()
        assert (
            f"of this copy (pseudonymous, SHA-256 {copy}) of the edition with SHA-256 {edition_hash(document())}"
            in steps
        )


@pytest.mark.parametrize(("scheme", "good"), [("light", True), ("dark", False)])
def test_axe_finds_nothing(opened, scheme, good):
    integrity = document()["integrity"] | {"good": good}
    with opened(render(document(integrity=integrity), "html", EXTRAS), color_scheme=scheme) as page:
        _, said = outcome(page, "good" if good else "plain")
        assert ("What it reports is NOT VERIFIED" in said) is not good
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        found = Axe().run(page, options={"runOnly": STRICT}).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


CHANGES = {
    "a number": (b"<b>30,912</b>", b"<b>30,913</b>"),
    "the verdict": (b"31,204 records in 3 chains verified</strong>", b"31,205 records in 3 chains verified</strong>"),
    "a class": (b'class="verdict good"', b'class="verdict baad"'),
    "an anchor": (b'href="#r-1-1"', b'href="#r-1-2"'),
    "a tag": (b"<h3>By day</h3>", b"<h4>By day</h4>"),
    "the data": (b'"events":30912', b'"events":30913'),
    "a cited hash": (re.compile(rb'"hash":"(.)'), None),
    "a proof": (re.compile(rb'"1:5":\["(.)'), None),
    "a checkpoint": (re.compile(rb"test/seal\\n2\\n(.)"), None),
    "a signature": (re.compile(rb"\\u2014 piperoll\.example/test/seal c/150\+(.)"), None),
    "the recorded hash": (re.compile(rb'"document": "(.)'), None),
    "the key": (b'"policy": "log piperoll.example', b'"policy": "log piperoll.exampla'),
    "the style": (b'<style id="style">:root', b'<style id="style">:raot'),
    "an insertion": (b"</main>", b"<p>x</p></main>"),
}  # fmt: skip


def changed(data, old, new):
    if new is None:
        found = old.search(data)
        at = found.start(1)
        return data[:at] + (b"0" if found[1] != b"0" else b"1") + data[at + 1 :]
    assert data.count(old) >= 1, old
    return data.replace(old, new, 1)


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_never_green(opened, what):
    with opened(changed(PAGE, *CHANGES[what]), errors=True) as page:
        state, said = outcome(page)
        assert state == ("plain" if what == "the key" else "bad"), said
        assert "Does not hold" in said or what == "the key"
        assert not page.locator("#check-said.good").count()


def test_a_changed_script_does_not_run_and_nothing_is_called_checked(opened):
    with opened(changed(PAGE, b"Checks proofs of records", b"Checks proofs of record!"), errors=True) as page:
        assert page.locator("#check-text").inner_text().startswith("Not checked.")
        assert page.locator("html").get_attribute("data-check") is None


def test_without_scripts_the_page_can_be_read_and_says_that_it_was_not_checked(opened):
    with opened(PAGE, java_script_enabled=False) as page:
        assert page.locator("#check-text").inner_text().startswith("Not checked.")
        assert page.locator(".tiles").inner_text().startswith("30,912")
        assert page.locator("#records tbody tr").count() == 12


WITHOUT = {
    "no WebCrypto": "Object.defineProperty(crypto, 'subtle', { value: undefined })",
    "no Ed25519": "crypto.subtle.importKey = async () => { throw new DOMException('x', 'NotSupportedError'); }",
}


@pytest.mark.parametrize("what", WITHOUT)
def test_a_browser_that_cannot_check_says_so_and_shows_no_green(opened, what):
    with opened(PAGE, script=WITHOUT[what]) as page:
        _, said = outcome(page, "plain")
        assert said.startswith("Not checked")
        assert "this browser" in page.locator("#check-steps").inner_text()


def other_policy():
    return SealedLog.policy(
        type("Other", (SealedLog,), {"signer": lambda self, origin: LOG.signer("else.example/seal")})()
    ).decode()


@pytest.mark.parametrize(
    ("given", "state", "said"),
    [
        (KEY, "good", "the key that you gave"),
        (POLICY.decode(), "good", "the key that you gave"),
        (POLICY.decode().replace("quorum none", "quorum both"), "bad", "the quorum both is not reached"),
        ("else.example/seal+00000000+AAAA", "plain", "the key or policy cannot be used"),
        ("anything", "plain", "the key or policy cannot be used"),
        (other_policy(), "bad", "no log of the policy signed the seal"),
    ],
    ids=["key", "policy", "quorum", "wrong id", "text", "another log"],
)
def test_a_pasted_key_or_policy_decides(opened, given, state, said):
    with opened(PAGE) as page:
        outcome(page, "good")
        page.locator("#check-more summary").click()
        page.locator("#check-key").fill(given)
        page.locator("#check-run").click()
        outcome(page, state)
        assert said in page.locator(".check").inner_text()


def test_the_file_and_the_proof_of_its_edition_are_compared_byte_for_byte(opened, tmp_path):
    proof = tmp_path / "edition.piperoll-proof"
    proof.write_bytes(edition_proof([recorded("report.html", PAGE)]))
    beside = tmp_path / "changed.html"
    with opened(PAGE) as page:
        outcome(page, "good")
        steps = page.locator("#file-steps")
        page.locator("#check-file").set_input_files([tmp_path / "report.html", proof])
        steps.locator("li.good").nth(1).wait_for()
        assert "report.html is byte for byte report.html of edition monthly/2026-10/2" in steps.inner_text()
        for at in (20, len(PAGE) // 3, len(PAGE) - 2):  # in tags, text, data: whatever byte it is
            beside.write_bytes(PAGE[:at] + bytes([PAGE[at] ^ 1]) + PAGE[at + 1 :])
            page.locator("#check-file").set_input_files([beside, proof])
            steps.locator("li.bad").wait_for()
            assert "changed.html is not as it was recorded" in steps.inner_text()
        page.locator("#check-file").set_input_files([beside])
        steps.locator("li.plain").wait_for()


def test_hostile_texts_run_nothing_and_change_nothing(opened, shared_data):
    import json  # noqa: PLC0415 - for this alone

    lines = (shared_data / "prompt-injections.jsonl").read_text().splitlines()
    naughty = json.loads((shared_data / "naughty-strings.json").read_text())
    for text in (" ".join(HOSTILE), " ".join(naughty), " ".join(lines)[:20_000]):
        with opened(render(document(text), "html", EXTRAS)) as page:
            outcome(page, "good")
            links = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
            assert all(link.startswith("#") for link in links)


def test_printed_pages_carry_their_period(opened):
    with opened(PAGE) as page:
        outcome(page, "good")
        assert b"%PDF" in page.pdf()[:8]
        assert (
            "2026-10-01 00:00 to before 2026-11-01 00:00, Europe/Berlin"
            in page.locator("#style").inner_text()
        )
    assert FORMATS["html"].file == "report.html"
