"""The `piperoll` command: finding subcommands, exit status, what `env` and `run` say without a stack."""

import importlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from schemas.topics import Topics
from services.cli.__main__ import COMMANDS, load
from services.cli.admin import growing_order

CLEAN = {
    name: text
    for name, text in os.environ.items()
    if not name.startswith(("KAFKA_", "PG_", "DATABASE_", "TOPIC_", "INGEST_", "PIPEROLL_"))
}
EXISTING = [name for name, command in COMMANDS.items() if find_spec(f"services.cli.{command.module}")]


def piperoll(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=CLEAN | variables,
        stdin=subprocess.DEVNULL,
    )


def test_help_lists_every_subcommand_and_imports_none_of_their_modules():
    program = (
        "import sys; sys.argv = ['piperoll', '--help'];"
        "from services.cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('services.cli.', 'deploy.'))])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for name in EXISTING:
        assert f" {name} " in answer.stdout
    assert answer.stdout.splitlines()[-1] == "['services.cli.__main__']"


@pytest.mark.parametrize("name", EXISTING)
def test_every_subcommand_exists_and_explains_itself(name, capsys):
    command = load(name)
    with pytest.raises(SystemExit) as end:
        command.main(args=["--help"], prog_name=f"piperoll {name}")
    assert end.value.code == 0
    assert f"piperoll {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["up", "--nonsense"], ["run", "nonsense"], ["topics", "grow", "0"]]
)
def test_wrong_use_has_exit_status_2(arguments):
    assert piperoll(*arguments).returncode == 2


def test_a_subcommand_whose_module_is_missing_does_not_break_the_others(monkeypatch, capsys):
    main = importlib.import_module("services.cli.__main__")
    monkeypatch.setitem(main.COMMANDS, "later", main.Command("not_there_yet", "", ""))
    monkeypatch.setattr(sys, "argv", ["piperoll", "later"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "`piperoll later` is not part of this version\n"


def test_env_without_a_stack_says_how_to_start_one(tmp_path):
    answer = piperoll("env", PIPEROLL_HOME=str(tmp_path))
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "`piperoll up`" in answer.stderr


def test_env_without_a_stack_prints_what_is_given(tmp_path):
    given = {"KAFKA_BOOTSTRAP_SERVERS": "b:1", "DATABASE_URL": "postgresql://u:p@h/d"}
    answer = piperoll("env", "--json", PIPEROLL_HOME=str(tmp_path), **given)
    assert json.loads(answer.stdout) == given


def test_down_without_a_stack_is_fine(tmp_path):
    answer = piperoll("down", PIPEROLL_HOME=str(tmp_path))
    assert (answer.returncode, answer.stdout) == (0, "nothing was running\n")


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    answer = piperoll("up", PIPEROLL_HOME=str(tmp_path / "file"))
    assert answer.returncode == 1
    assert "Set PIPEROLL_HOME" in answer.stderr


def test_topics_grow_from_the_end_of_the_flow_to_its_beginning():
    existing = {"piperoll-enricher-rates-changelog": 3, "other-changelog": 3, "audit.events": 3}
    assert growing_order(Topics(), existing) == [
        "audit.enriched",
        "audit.annotations",
        "audit.dead-letters",
        "piperoll-enricher-rates-changelog",
        "audit.events",
    ]
