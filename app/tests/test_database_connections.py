"""A request that has sent nothing yet does not fail because idle connections broke meanwhile."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from tests.conftest import PASSWORD
from tests.faults import HOST, Gate
from tests.patience import eventually
from tests.processes import Service

IDLE = 6  # to both addresses together


@pytest.fixture
def gate() -> Iterator[Gate]:
    """In front of PostgreSQL, of both its addresses."""
    database = settings.DATABASES["default"]
    gate = Gate(str(database["HOST"]), int(database["PORT"]))
    gate.open()
    yield gate
    gate.refuse()


@pytest.fixture
def web(gate: Gate, tmp_path: Path) -> Iterator[Service]:
    ports = {f"BALLAST_DATABASE_{kind}_PORT": str(gate.port) for kind in ("WRITE", "READ")}
    with Service("web", tmp_path, BALLAST_DATABASE_HOST=HOST, BALLAST_THREADS="8", **ports) as service:
        yield service


def fill_the_pool(web: Service, gate: Gate) -> None:
    """Requests at the same time leave idle connections behind, some to either address."""
    url = f"{web.url}/api/v1/load-queries/{uuid.uuid4()}"  # asks the replica, then the primary
    with ThreadPoolExecutor(8) as threads:

        def several() -> bool:
            assert set(threads.map(lambda _: httpx.get(url).status_code, range(32))) == {404}
            return gate.connections >= IDLE

        eventually(several)


@pytest.mark.parametrize("lose", [Gate.break_connections, Gate.forget_connections], ids=["closed", "silent"])
def test_the_first_requests_after_a_failover_succeed(web: Service, gate: Gate, lose: Callable[[Gate], None]) -> None:
    fill_the_pool(web, gate)
    lose(gate)
    body = {"username": "alice", "password": PASSWORD}
    assert httpx.post(f"{web.url}/api/v1/users", json=body).status_code == 201

    fill_the_pool(web, gate)
    lose(gate)
    assert httpx.get(f"{web.url}/api/v1/users").status_code == 200

    fill_the_pool(web, gate)
    lose(gate)
    ready = httpx.get(f"{web.url}/health/ready")
    assert ready.json()["checks"] == {"database_write": True, "database_read": True, "redis": True, "rabbitmq": True}
