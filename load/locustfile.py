"""The classic client: every 400 ms one ping, one long query, one load query, one sign-up and six reads.

Its rhythm does not depend on the two slow ones, which run beside it. Users 1 to 10,000 come from the seed.
"""

import csv
import os
import random
import sys
import time
from itertools import count
from typing import Any

from gevent.pool import Group
from locust import FastHttpUser, constant_pacing, events, task
from locust.contrib.csv_request_logger import CsvRequestLogger
from locust.contrib.fasthttp import FastHttpSession
from locust.runners import WorkerRunner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

import bounds
import slo

API = "/api/v1"
USERS = range(1, 10_001)
POPULAR = 400

# Seconds beyond what the server may take on purpose.
MARGIN = 5
# The API answers a load query within these, with its result or with 202.
LOAD_QUERY_SECONDS = 10


@events.init_command_line_parser.add_listener
def _(parser: Any) -> None:
    parser.add_argument("--seed", type=int, default=20_240, help="what ids and numbers are chosen from")
    parser.add_argument("--period", type=float, default=0.4, help="seconds between a client's rounds")
    parser.add_argument("--long-seconds", type=float, default=1, help="how long a long query waits")
    parser.add_argument("--requests-csv", default="", help="write a row for every request to this file")
    parser.add_argument("--totals-csv", default="", help="write a row for every endpoint to this file")


@events.init.add_listener
def _(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner):
        if options.requests_csv:
            options.requests_csv = f"{options.requests_csv}.{os.getpid()}"
    else:
        try:
            bounds.check_target(LAB, environment.host or LAB.host)
            bounds.check_size(LAB, options.num_users or 1, options.run_time)
        except bounds.RefusedError as error:
            sys.exit(f"Refused. {error}")
        print(f"Target {environment.host or LAB.host}, seed {options.seed}", flush=True)
    if options.requests_csv:
        CsvRequestLogger(options.requests_csv, flush_interval=100).register(environment)


@events.quitting.add_listener
def _(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    # Not by --csv: Locust closes its files under their writer, with a traceback and without the last second.
    if environment.parsed_options.totals_csv:
        with open(environment.parsed_options.totals_csv, "w", newline="") as file:
            StatsCSV(environment, PERCENTILES_TO_REPORT).requests_csv(csv.writer(file))
    waits = {"GET /long-query": environment.parsed_options.long_seconds * 1000}
    run = {}
    for (name, method), entry in environment.stats.entries.items():
        key = f"{method} {name}"
        p95 = entry.get_response_time_percentile(0.95) - waits.get(key, 0)
        run[key] = slo.Measured(entry.num_requests, entry.num_failures, max(0, p95))
    verdicts = slo.judge(slo.read_objectives(), run)
    print(f"\nObjectives\n{slo.table(verdicts)}", flush=True)
    environment.process_exit_code = int(not all(verdict.passed for verdict in verdicts))


try:
    LAB = bounds.read_lab()
except bounds.RefusedError as error:
    sys.exit(f"Refused. {error}")


class Client(FastHttpUser):
    host = LAB.host
    network_timeout = MARGIN
    connection_timeout = 2
    max_retries = 0
    numbers = count(1)

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        number = next(self.numbers)
        self.wait_time = constant_pacing(options.period).__get__(self)
        self.long_seconds = options.long_seconds
        # The popular ones are the same for every client.
        self.popular = random.Random(options.seed).sample(USERS, POPULAR)
        self.random = random.Random(f"{options.seed}/{os.getpid() if options.processes else 0}/{number}")
        # A user name is taken for good, so it has the time in it.
        self.sign_ups = (f"l{time.time_ns() // 1_000_000:x}-{os.getpid()}-{number}-{i}" for i in count(1))
        self.beside = Group()
        self.longest = max(self.long_seconds, LOAD_QUERY_SECONDS) + MARGIN
        self.waiting = FastHttpSession(
            base_url=self.host,
            request_event=environment.events.request,
            user=self,
            network_timeout=self.longest,
            connection_timeout=self.connection_timeout,
            max_retries=0,
            # As many as can be under way, or they would wait for each other.
            concurrency=2 * int(self.longest / options.period + 1),
        )

    def on_stop(self) -> None:
        """What waits may end: a request that is cut off would be neither a success nor a failure."""
        self.beside.join(timeout=self.longest)
        self.beside.kill()

    @task
    def round(self) -> None:
        self.beside.spawn(self.long_query)
        self.beside.spawn(self.load_query, self.random.randint(31, 37))
        self.client.get(f"{API}/ping", name="/ping")
        self.client.post(
            f"{API}/users", json={"username": next(self.sign_ups), "password": "correct horse"}, name="/users"
        )
        for _ in range(2):
            self.client.get(f"{API}/users/{self.random.choice(USERS)}", name="/users/[any]")
        for _ in range(4):
            self.client.get(f"{API}/users/{self.random.choice(self.popular)}", name="/users/[popular]")

    def long_query(self) -> None:
        self.waiting.get(f"{API}/long-query?seconds={self.long_seconds:g}", name="/long-query")

    def load_query(self, n: int) -> None:
        self.waiting.get(f"{API}/load-query/{n}", name="/load-query/[n]")
