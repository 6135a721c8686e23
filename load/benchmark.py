"""Measures one endpoint of one api host, and prints what came out as JSON. `make benchmark` calls it.

A closed loop: so many connections, each of which asks again as soon as it was answered.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any
from urllib.parse import urlsplit

import bounds

API = "/api/v1"
USERS = 10_000  # the seed's
POPULAR = 400

# Long queries that are held at a time; they ask once and then only wait.
HELD = 1000
HELD_SECONDS = 15
# Of these so many are being opened at a time.
OPENING = 50
# Seconds between two pings meanwhile.
PING_EVERY = 0.02


@dataclass(frozen=True)
class Question:
    request: bytes
    expected: int = 200


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class UnexpectedError(Exception):
    """An answer that makes the measurement worthless."""


class Connection:
    """One connection, kept open and opened again when the server has closed it."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self.host, self.port = target.hostname or "", target.port or 80
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port)
        return self.streams

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
            self.streams = None

    async def send(self, question: Question) -> None:
        _, writer = await self.open()
        writer.write(question.request)
        await writer.drain()

    async def receive(self, question: Question) -> Answer:
        reader, _ = await self.open()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "content-length" not in headers:
            raise UnexpectedError(f"An answer without Content-Length: {head!r}")
        answer = Answer(
            int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
        )
        if answer.status != question.expected:
            raise UnexpectedError(f"{answer.status} and not {question.expected}: {answer.body[:300]!r}")
        if headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    async def ask(self, question: Question) -> Answer:
        await self.send(question)
        return await self.receive(question)


class Questions:
    """What each scenario asks, endlessly."""

    def __init__(self, url: str, seed: int) -> None:
        self.host = urlsplit(url).netloc
        self.random = random.Random(seed)
        # The same ones in every run, so that one run can fill the cache for another.
        self.popular = random.Random(0).sample(range(1, USERS + 1), POPULAR)

    def get(self, path: str) -> Question:
        return Question(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())

    def post(self, path: str, content: dict[str, object], expected: int) -> Question:
        body = json.dumps(content)
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json"
        return Question(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode(), expected)

    def ping(self) -> Iterator[Question]:
        while True:
            yield self.get(f"{API}/ping")

    def cached_read(self) -> Iterator[Question]:
        """The popular users in turn."""
        for user in cycle(self.popular):
            yield self.get(f"{API}/users/{user}")

    def uncached_read(self) -> Iterator[Question]:
        """Every user once: who empties the cache before gets nothing but misses."""
        for user in self.random.sample(range(1, USERS + 1), USERS):
            yield self.get(f"{API}/users/{user}")

    def sign_up(self) -> Iterator[Question]:
        run = f"b{time.time_ns() // 1_000_000:x}"  # a user name is taken for good
        for number in count(1):
            content: dict[str, object] = {"username": f"{run}-{number}", "password": "correct horse"}
            yield self.post(f"{API}/users", content, 201)

    def load_query(self) -> Iterator[Question]:
        while True:
            yield self.post(f"{API}/load-queries", {"n": 20}, 202)

    def load_query_rpc(self) -> Iterator[Question]:
        while True:
            yield self.get(f"{API}/load-query/20")

    def long_query(self) -> Question:
        return self.get(f"{API}/long-query?seconds={HELD_SECONDS}")


SCENARIOS: dict[str, Callable[[Questions], Iterator[Question]]] = {
    "ping": Questions.ping,
    "cached-read": Questions.cached_read,
    "uncached-read": Questions.uncached_read,
    "sign-up": Questions.sign_up,
    "load-query": Questions.load_query,
    "load-query-rpc": Questions.load_query_rpc,
}
WAITING = "waiting"


def summary(latencies: Iterable[float]) -> dict[str, float]:
    """p50 and p99 in ms."""
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}


@asynccontextmanager
async def connected(url: str, number: int) -> AsyncIterator[list[Connection]]:
    """So many connections, open."""
    connections = [Connection(url) for _ in range(number)]
    try:
        await in_batches([connection.open for connection in connections])
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def in_batches(jobs: list[Callable[[], Awaitable[Any]]]) -> None:
    for start in range(0, len(jobs), OPENING):
        await asyncio.gather(*(job() for job in jobs[start : start + OPENING]))


async def measure(url: str, questions: list[Question], concurrency: int) -> dict[str, object]:
    """All questions, each once, over so many connections."""
    todo = iter(questions)
    latencies: list[float] = []
    caches: Counter[str] = Counter()

    async def client(connection: Connection) -> None:
        for question in todo:
            started = time.perf_counter()
            answer = await connection.ask(question)
            latencies.append(time.perf_counter() - started)
            if outcome := answer.headers.get("x-cache"):
                caches[outcome] += 1

    async with connected(url, concurrency) as connections:
        started = time.perf_counter()
        await asyncio.gather(*(client(connection) for connection in connections))
        seconds = time.perf_counter() - started
    return {
        "requests": len(latencies),
        "seconds": seconds,
        "per_second": len(latencies) / seconds,
        **summary(latencies),
        "x_cache": dict(caches),
    }


def steady_pings(url: str, seconds: float) -> list[tuple[float, float]]:
    """When each ping was due, and its latency from then on: one that is late also delays the next."""
    question = next(Questions(url, 0).ping())
    pings: list[tuple[float, float]] = []

    async def run() -> None:
        async with connected(url, 1) as (connection,):
            due = time.monotonic()
            end = due + seconds
            while due < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await connection.ask(question)
                pings.append((due, time.monotonic() - due))
                due += PING_EVERY

    asyncio.run(run())
    return pings


async def measure_waiting(web: str, wait: str) -> dict[str, object]:
    """Pings at a steady rate, from when HELD long queries were sent until the last of them is answered."""
    question = Questions(wait, 0).long_query()
    answered: list[float] = []

    async def hold(connection: Connection) -> None:
        await connection.receive(question)
        answered.append(time.monotonic())

    # In a process of its own: this one is busy itself when all the long queries are answered at a time.
    with ProcessPoolExecutor(1) as pool:
        async with connected(wait, HELD) as connections:
            started = time.monotonic()
            await in_batches([lambda c=c: c.send(question) for c in connections])  # type: ignore[misc]
            sent = time.monotonic()
            pinging = asyncio.get_running_loop().run_in_executor(pool, steady_pings, web, HELD_SECONDS + 5)
            await asyncio.gather(*(hold(connection) for connection in connections))
        pings = await pinging
    if min(answered) < sent:
        raise UnexpectedError("The first long query was answered before the last one was sent.")
    if pings[-1][0] < max(answered):
        raise UnexpectedError("The last long query was answered when the pings were over.")
    return {
        "held": len(answered),
        "requests": len(pings),
        "seconds": max(answered) - started,
        **summary(latency for due, latency in pings if due < max(answered)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", choices=[*SCENARIOS, WAITING])
    parser.add_argument("--web", required=True, help="URL of the host's web service")
    parser.add_argument("--wait", required=True, help="URL of the host's wait service")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=120, help="when to give up")
    parser.add_argument("--seed", type=int, default=20_240)
    options = parser.parse_args()
    try:
        lab = bounds.read_lab()
        for url in (options.web, options.wait):
            bounds.check_target(lab, url)
        bounds.check_size(lab, options.concurrency, options.seconds)
    except bounds.RefusedError as error:
        sys.exit(f"Refused. {error}")

    async def run() -> dict[str, object]:
        async with asyncio.timeout(options.seconds):
            if options.scenario == WAITING:
                return await measure_waiting(options.web, options.wait)
            url = options.wait if options.scenario == "load-query-rpc" else options.web
            questions = SCENARIOS[options.scenario](Questions(url, options.seed))
            some = [question for question, _ in zip(questions, range(options.requests), strict=False)]
            return await measure(url, some, options.concurrency)

    try:
        print(json.dumps(asyncio.run(run())))
    except (UnexpectedError, OSError, asyncio.IncompleteReadError) as error:
        sys.exit(f"{options.scenario}: {error or type(error).__name__}")


if __name__ == "__main__":
    main()
