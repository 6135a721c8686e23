"""Tests that break machines do so only when they are told to, and only to machines of the lab."""

import pytest

import lab

FLAG = "--break-machines"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(FLAG, action="store_true", help="run the tests that break the machines of TOPOLOGY")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    destructive = [item for item in items if item.get_closest_marker("destructive")]
    if not destructive:
        return
    if not config.getoption(FLAG):
        reason = f"breaks the machines of {lab.TOPOLOGY}: {FLAG} allows it"
        for item in destructive:
            item.add_marker(pytest.mark.skip(reason=reason))
    elif not lab.inventory()["_meta"]["hostvars"][lab.hosts("ballast")[0]].get("lab_machines"):
        pytest.exit(
            f"{lab.INVENTORY} is no inventory of the lab (it has no lab_machines): nothing is broken.",
            2,
        )
