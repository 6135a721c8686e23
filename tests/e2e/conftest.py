"""The end-to-end tests ask a running topology (TOPOLOGY=..., default full) what its users would ask it."""

import subprocess
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
import requests

import lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A topology of some tiers is asked for what those promise; all else, of machines that were off."""
    items.sort(key=lambda item: item.path.name != "test_cold_start.py")
    for item in items:
        needed = [group for mark in item.iter_markers("tier") for group in mark.args]
        missing = [group for group in needed if group not in lab.inventory()]
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"{lab.TOPOLOGY} has no {', '.join(missing)}"))


class API(requests.Session):
    """A client of the service at its edge VIP. Paths are relative to it; every request is bounded in time."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def request(self, method: str | bytes, url: str | bytes, *args, **kwargs) -> requests.Response:  # type: ignore[no-untyped-def]
        kwargs.setdefault("timeout", 30)
        return super().request(method, urljoin(self.base, str(url)), *args, **kwargs)


@pytest.fixture(scope="session")
def edge() -> str:
    """The edge VIP, once it is certain that the way to it does not leave this machine's own networks."""
    address: str = lab.variable("vip_edge")
    route = subprocess.run(["ip", "route", "get", address], capture_output=True, text=True, check=True).stdout
    if " via " in route:
        pytest.exit(f"{address} is not on a network of this machine ({route.strip()}): nothing is sent.", 2)
    return address


@pytest.fixture(scope="session")
def api(edge: str) -> Iterator[API]:
    with API(f"http://{edge}") as session:
        yield session
