"""A wrong setting stops the start with a sentence that names the variable."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ballast import env


@pytest.mark.parametrize("value", ["abc", "0", "65536", "-1", "1.5", "٣"])
def test_a_port_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BALLAST_X_PORT", value)
    with pytest.raises(env.SettingError, match="BALLAST_X_PORT must be a whole number from 1 to 65535"):
        env.integer("X_PORT", 1, low=1, high=65535)


@pytest.mark.parametrize("value", ["nan", "inf", "x", "-0.1"])
def test_a_number_outside_its_range_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BALLAST_X", value)
    with pytest.raises(env.SettingError, match="BALLAST_X must be a number from 0 to 60"):
        env.number("X", 1, low=0, high=60)


def test_a_flag_is_true_or_false_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_X", "yes")
    with pytest.raises(env.SettingError, match="BALLAST_X must be one of true, false"):
        env.flag("X", False)


def test_a_required_variable_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BALLAST_X", raising=False)
    with pytest.raises(env.SettingError, match="BALLAST_X is not set"):
        env.text("X")


def test_a_secret_comes_from_a_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.setenv("BALLAST_X_FILE", str(tmp_path / "secret"))
    assert env.secret("X") == "from the file"


def test_a_secret_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BALLAST_X_FILE", str(tmp_path / "missing"))
    with pytest.raises(env.SettingError, match=r"BALLAST_X_FILE points to .*missing, which cannot be read"):
        env.secret("X")


def test_a_short_secret_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_X", "hunter2")
    with pytest.raises(env.SettingError, match="BALLAST_X must have at least 32") as raised:
        env.secret("X", min_length=32)
    assert "hunter2" not in str(raised.value)


def test_networks_are_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_X", "10.0.0.0/8, 192.168.56.300")
    with pytest.raises(env.SettingError, match="BALLAST_X must be addresses or networks"):
        env.networks("X", "")


def test_the_command_stops_with_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ballast.manage", "check"],
        env=os.environ | {"BALLAST_DATABASE_WRITE_PORT": "five", "DJANGO_SETTINGS_MODULE": "ballast.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "ballast: BALLAST_DATABASE_WRITE_PORT must be a whole number from 1 to 65535, not 'five'."
    ]
