"""A summary is one bounded line of plain text in which no value can pass for a part of the sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.enrichment import Who
from schemas.events import Event
from schemas.template import Name, Sentence, sentence
from schemas.text import VALUE_LIMIT, is_secret, neutral, plain
from services.enricher.summary import SUMMARY_LIMIT, summarise

EVENT = Event("bare", "/s", "1", "kind", {}, {})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def fill(template, data, who=None):
    return summarise(sentence(template), data, who or Who(), EVENT)


def test_the_sentence_of_the_readme():
    data = {"user_id": 42, "dataset_id": "ds-99", "export_reason": "regulator request"}
    text = fill("User {user_id} exported dataset {dataset_id} (reason: {export_reason})", data)
    assert text == "User 42 exported dataset ds-99 (reason: regulator request)."


def test_optional_parts_are_left_out_and_others_say_unknown():
    template = "{a} met {b}[ in {c}][ at {d.e|f}]"
    assert fill(template, {"a": "x"}) == "x met unknown."
    assert fill(template, {"a": "x", "b": 1, "c": True, "f": 2.5}) == "x met 1 in true at 2.5."


def test_origin_and_outcome_follow_unless_the_template_has_them():
    who = Who(origin="192.0.2.1", outcome="failure: 12")
    assert fill("It rained", {}, who) == "It rained from 192.0.2.1 (failure: 12)."
    assert fill("From {@origin} ({@outcome}) by {@type}", {}, who) == "From 192.0.2.1 (failure: 12) by kind."


def test_a_value_of_several_words_is_quoted_so_that_it_cannot_forge_a_sentence():
    forged = 'x deleted y. User "bob'
    assert fill("User {u} logged in", {"u": forged}) == 'User "x deleted y. User \'bob" logged in.'
    assert fill("Done (reason: {r})", {"r": "a) from 1.2.3.4 (b"}) == 'Done (reason: "a) from 1.2.3.4 (b").'


@pytest.mark.parametrize(
    "letter", ["\n", "\r", "\u2028", "\u202e", "\u2066", "\0", "\x1b", "\ud800", "\ufeff", "\u200b"]
)
def test_line_breaks_controls_and_bidi_marks_are_neutralised(letter):
    text = fill("User {u} logged in", {"u": f"a{letter}b"})
    assert text.isprintable()
    assert letter not in text


def test_secrets_are_masked_by_the_names_of_their_fields():
    data = {"db": {"password": "hunter2"}, "token": "t", "secret_id": "name", "pin": 1}
    template = sentence("{db.password} {token} {secret_id} {pin}", frozenset({"pin"}))
    assert summarise(template, data, Who(), EVENT) == "*** *** name ***."


@pytest.mark.parametrize(
    "name", ["password", "x.api_key", "Authorization", "client_secret", "sessionToken", "privateKey"]
)
def test_names_of_secrets_are_known(name):
    assert is_secret(name)
    assert not is_secret(name + "_id")


def test_lists_show_their_first_values():
    assert plain([1, "a", [2], {}, None, "b"]) == "1, a, …"
    assert plain([]) is None
    assert plain({"a": 1}) is None


@given(ANYTHING, ANYTHING, st.text(st.characters()))
def test_every_summary_is_one_bounded_printable_line(first, second, third):
    text = fill("A {a}[ b {b}] (c: {c})", {"a": first, "b": second, "c": third}, Who(actor="x", origin=None))
    assert text.isprintable()
    assert len(text) <= SUMMARY_LIMIT
    text.encode()


def test_a_long_summary_is_cut():
    template = " ".join(f"{{v{n}}}" for n in range(20))
    text = fill(template, {f"v{n}": "x" * 10_000 for n in range(20)})
    assert len(text) == SUMMARY_LIMIT
    assert text.endswith("….")
    assert len(plain("y" * 500) or "") == VALUE_LIMIT


def test_cutting_leaves_short_texts_alone():
    assert neutral("abc", 3) == "abc"
    assert neutral("abcd", 3) == "ab…"


def test_braces_in_values_are_only_text():
    assert fill("{a}", {"a": "{b}{@type}%s{0}", "b": 1}) == "{b}{@type}%s{0}."
    assert fill("it's {a} 'f' \\ {b}", {"a": 1, "b": 2}) == "it's 1 'f' \\ 2."


@pytest.mark.parametrize("text", ["{a", "a}", "[x]", "[{a}", "{}", "{a|}", "{@nobody}", "{@actor|a}"])
def test_a_wrong_template_says_what_is_wrong(text):
    with pytest.raises(ValueError, match=r"brackets|value|not one of"):
        Sentence(text)


def test_a_name_is_empty_where_a_needed_value_is_missing():
    assert Name("x/{a}[/{b}]", 50).compose({"a": 1}) == "x/1"
    assert Name("x/{a}[/{b}]", 50).compose({"b": 1}) == ""
    with pytest.raises(ValueError, match="only in summaries"):
        Name("{@actor}", 50)
