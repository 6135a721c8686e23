"""The benchmark's client asks what it says, and takes no answer for another."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "load"))

import benchmark

LOAD = Path(benchmark.__file__).parent
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def measured(handler: Handler, requests: int, concurrency: int) -> dict[str, object]:
    """What the client makes of a server."""

    async def run() -> dict[str, object]:
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            questions = list(islice(benchmark.Questions(url, 1).cached_read(), requests))
            return await asyncio.wait_for(benchmark.measure(url, questions, concurrency), 10)

    return asyncio.run(run())


def server(status: str, *headers: str, connections: list[int] | None = None) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connections is not None:
            connections.append(1)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                head = "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 2", *headers])
                writer.write(f"{head}\r\n\r\n{{}}".encode())
                await writer.drain()
                if "Connection: close" in headers:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    return handle


def test_every_question_is_asked_once_over_kept_connections() -> None:
    connections: list[int] = []
    result = measured(server("200 OK", "X-Cache: hit", connections=connections), 50, 4)
    assert (result["requests"], result["x_cache"], len(connections)) == (50, {"hit": 50}, 4)


def test_a_connection_that_the_server_closes_is_opened_again() -> None:
    connections: list[int] = []
    result = measured(server("200 OK", "Connection: close", connections=connections), 6, 2)
    assert (result["requests"], len(connections)) == (6, 6)


def test_an_error_ends_the_measurement() -> None:
    with pytest.raises(benchmark.UnexpectedError, match="503 and not 200"):
        measured(server("503 Service Unavailable"), 5, 1)


def test_uncached_reads_ask_for_every_user_once() -> None:
    questions = list(benchmark.Questions("http://192.0.2.1", 7).uncached_read())
    assert len({question.request for question in questions}) == benchmark.USERS


def test_quantiles() -> None:
    assert benchmark.summary([n / 1000 for n in range(101)]) == pytest.approx({"p50_ms": 50, "p99_ms": 99})


@pytest.mark.parametrize(
    ("url", "concurrency", "why"),
    [("http://192.0.2.1:80", 8, "outside the network"), ("http://127.0.0.1:80", 11, "11 users")],
)
def test_the_bounds_of_the_lab_are_kept(url: str, concurrency: int, why: str, tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    values = [
        'host = ""',
        'network = "127.0.0.0/8"',
        'interface = "lo"',
        "max_users = 10",
        "max_seconds = 300",
    ]
    lab.write_text("\n".join(values))
    command = ["benchmark.py", "ping", "--web", url, "--wait", url, "--concurrency", str(concurrency)]
    done = subprocess.run(
        [sys.executable, *command], cwd=LOAD, env={"LAB_FILE": str(lab), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Refused" in done.stderr
    assert why in done.stderr
