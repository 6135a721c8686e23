"""A role's interface is written twice, in meta/argument_specs.yml and defaults/main.yml: they agree."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).parents[2] / "roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    assert path.exists(), f"{path} is missing"
    values = yaml.safe_load(path.read_text())
    assert isinstance(values, dict) or values is None, f"{path} is no mapping"
    return values or {}


def options(role: Path) -> dict[str, Any]:
    """Of all its entry points together."""
    entries = load(role / "meta/argument_specs.yml")["argument_specs"].values()
    return {name: spec for entry in entries for name, spec in (entry.get("options") or {}).items()}


def test_there_are_roles() -> None:
    assert len(ROLES) > 5


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_specs_equal_defaults(role: Path) -> None:
    specs = options(role)
    defaults = load(role / "defaults/main.yml") if (role / "defaults/main.yml").exists() else {}
    optional = {name: spec for name, spec in specs.items() if not spec.get("required")}
    assert {name for name, spec in specs.items() if spec.get("required") and "default" in spec} == set()
    # An option that may be left out, and then is not there at all, has no default in either.
    assert {name: spec["default"] for name, spec in optional.items() if "default" in spec} == defaults


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_public_names_begin_with_the_role(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_is_described(role: Path) -> None:
    assert [
        name for name, spec in options(role).items() if not spec.get("description") or not spec.get("type")
    ] == []
