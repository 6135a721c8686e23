"""Any text of a setting arrives as it is, where the services and the operator's command read it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import lab

VALUES = {
    "PLAIN": "a-value",
    "EMPTY": "",
    "SPACES": "  two  words ",
    "SINGLE": "it's",
    "DOUBLE": 'say "yes"',
    "DOLLAR": "$HOME ${HOME} $(id) $$",
    "BACKTICK": "`id`",
    "BACKSLASH": r"a\b\\c\n\$ \"",
    "LAST_BACKSLASH": "\\",
    "PERCENT": "100% %h %%",
    "NEWLINE": "one\ntwo\n\nfour\n",
    "HASH": "# no comment; not the end",
    "UNICODE": "Grüße €",
    "NUMBER": 30,
}


def rendered(tmp_path: Path, template: str, **variables: object) -> Path:
    arguments = {
        "src": str(lab.ROOT / "roles/app/templates" / template),
        "dest": str(tmp_path / template),
        "mode": "0600",
    }
    done = lab.tool(
        *("ansible", "localhost", "--connection=local"),
        *("--module-name=ansible.builtin.template", "--args", json.dumps(arguments)),
        *("--extra-vars", json.dumps(variables)),
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / template


# A program that prints what it finds of them in its environment.
SHOW = f"import os, json; print(json.dumps({{n: os.environ[n] for n in {list(VALUES)!r}}}))"


def test_sh_reads_a_setting_as_it_was_written(tmp_path: Path) -> None:
    """As the operator's command does."""
    file = rendered(tmp_path, "app.env.j2", app_environment=VALUES)
    said = subprocess.run(
        ["sh", "-c", f'set -eua; . "{file}"; exec "{sys.executable}" -c "$SHOW"'],
        env={"SHOW": SHOW, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(said.stdout) == {name: str(value) for name, value in VALUES.items()}
