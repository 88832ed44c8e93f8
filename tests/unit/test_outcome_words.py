"""A model's sentence must not turn the outcome of an event around, in any language that AI_LANGUAGE may name."""

import json

import pytest
import yaml

from schemas.enrichment import Who
from services.common.errors import ConfigurationError
from services.enricher.faithful import contradicts, invents, speaks_of_others
from services.enricher.outcome_words import ENGLISH, FILE, outcome_words
from services.enricher.questions import subject_of
from tests.ai_stage import Form, load_catalog, load_prompt, load_vocabulary, record

SAID = {
    "English": ("bob was denied access to vault.", "bob got access to vault successfully.", "bob did not succeed."),
    "German": ("Der Zugriff von bob wurde verweigert.", "bob hat sich erfolgreich angemeldet.", "bobs Anmeldung war nicht erfolgreich."),
    "French": ("L'accès de bob a été refusé.", "bob s'est connecté avec succès.", "La connexion de bob n'a pas réussi."),
    "Spanish": ("El acceso de bob fue denegado.", "bob inició sesión con éxito.", "El acceso de bob no fue autorizado."),
    "Italian": ("L'accesso di bob è stato negato.", "L'accesso di bob è riuscito.", "L'accesso di bob non è riuscito."),
    "Portuguese": ("O acesso de bob foi negado.", "bob entrou com sucesso.", "O acesso de bob não foi permitido."),
    "Dutch": ("De toegang van bob is geweigerd.", "De aanmelding van bob is gelukt.", "De aanmelding van bob is niet gelukt."),
    "Swedish": ("Åtkomsten nekades för bob.", "Inloggningen lyckades för bob.", "bobs inloggning lyckades inte."),
    "Danish": ("Adgangen for bob blev nægtet.", "Det lykkedes bob at logge ind.", "bobs login er ikke vellykket."),
    "Norwegian": ("Tilgangen for bob ble nektet.", "Innloggingen til bob var vellykket.", "Innloggingen var ikke vellykket for bob."),
    "Polish": ("Odmówiono dostępu użytkownikowi bob.", "Logowanie bob zakończyło się sukcesem.", "Logowanie bob nie powiodło się."),
    "Japanese": ("bobのログインは失敗しました。", "bobのログインは成功しました。", "bobのログインは成功しませんでした。"),
    "Chinese": ("用户bob登录失败。", "用户bob登录成功。", "用户bob未成功登录。"),
}  # fmt: skip


def test_every_language_has_a_sentence_here():
    assert set(SAID) == set(yaml.safe_load(FILE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("language", SAID)
def test_failure_is_not_told_as_success_nor_the_other_way_round(language):
    words = outcome_words(language)
    failed, succeeded, not_succeeded = SAID[language]
    for text in (failed, not_succeeded):
        assert contradicts(text, "success", "", words), text
        assert not contradicts(text, "failure: 403", "", words), text
    assert contradicts(succeeded, "failure: 403", "", words)
    assert not contradicts(succeeded, "success", "", words)
    assert not contradicts(succeeded, None, "", words)


def test_a_negation_turns_the_words_behind_it_and_only_those():
    assert contradicts("The login was not granted.", "success", "")
    assert not contradicts("It did not fail.", "success", "")
    assert not contradicts("No password was needed: bob came in, and all of it was allowed.", "success", "")
    assert ENGLISH.claims("unsuccessful") == ("unsuccessful", None)


@pytest.mark.parametrize("said", ["Deutsch", "german", "Brazilian Portuguese", "中文"])
def test_a_language_has_several_names(said):
    assert outcome_words(said).name in SAID


def test_a_language_in_which_nothing_can_be_checked_is_a_start_error_that_names_those_that_can():
    with pytest.raises(ConfigurationError, match="German, French"):
        outcome_words("Klingon")


def test_names_within_scripts_without_blanks_are_seen():
    assert speaks_of_others("用户alice登录成功", '"bob"', ["alice"])
    assert not speaks_of_others("用户malice登录成功", '"malice"', ["alice"])
    assert invents("用户alice_99登录成功", '"bob"')
    assert not invents("用户alice_99登录成功", '"alice_99"')


def test_a_german_reading_that_turns_the_outcome_is_dropped_and_a_true_one_is_not():
    form = Form(load_prompt("annotate-1"), load_vocabulary(), load_catalog(), "German")
    one = record(0, who=Who(actor="bob", outcome="failure: 403"))
    question = form.ask([subject_of(one.value, one.headers)])

    def read(summary):
        return question.read(
            json.dumps({"readings": [{"event": 0, "summary": summary, "tags": [], "risk": "low"}]})
        )

    assert read("bob hat es erfolgreich geändert.") == {}
    assert read("bob wurde abgewiesen.")[0].summary == "bob wurde abgewiesen."
