"""Makes CANDIDATE the primary in place of LEADER, and prints for how long nobody took a write.

Runs on a member, where Patroni's own Python modules are. Writes are transactions like an
application's: they wait for the replicas. They leave nothing behind but WAL.
"""

import base64
import itertools
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

import psycopg2

env = os.environ
acknowledged: list[float] = []
ending = threading.Event()


def keep_writing() -> None:
    connection = None
    while not ending.wait(0.02):
        try:
            if connection is None:
                connection = psycopg2.connect(
                    host=f"{env['LEADER']},{env['CANDIDATE']}",
                    port=env["PORT"],
                    user="postgres",
                    password=env["PASSWORD"],
                    target_session_attrs="read-write",
                    connect_timeout=2,
                    tcp_user_timeout=3000,
                )
                connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_logical_emit_message(true, 'switchover', '')")
            acknowledged.append(time.monotonic())
        except psycopg2.Error:
            connection = None


def wait_for_writes(since: float) -> None:
    until = time.monotonic() + 60
    while sum(moment > since for moment in acknowledged[-50:]) < 20:
        if time.monotonic() > until:
            sys.exit("No write was acknowledged for a minute: see patronictl list and the members' logs.")
        time.sleep(0.05)


writer = threading.Thread(target=keep_writing, daemon=True)
writer.start()
begun = time.monotonic()
wait_for_writes(begun)

token = base64.b64encode(f"patroni:{env['RESTAPI_PASSWORD']}".encode()).decode()
request = urllib.request.Request(
    f"http://{env['LEADER']}:{env['RESTAPI_PORT']}/switchover",
    data=json.dumps({"leader": env["LEADER_NAME"], "candidate": env["CANDIDATE_NAME"]}).encode(),
    headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
)


def leads() -> bool:
    try:
        with urllib.request.urlopen(f"http://{env['CANDIDATE']}:{env['RESTAPI_PORT']}/primary", timeout=5):
            return True
    except OSError:
        return False


def switch_over() -> str:
    """Asks again when Patroni refuses: all was well, so a member was slow or etcd just changes its leader."""
    until = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            refusal = error.read().decode()
        except OSError as error:
            refusal = str(error)
        if leads():
            return f'Switched over to "{env["CANDIDATE_NAME"]}" ({refusal}).'
        if time.monotonic() > until:
            sys.exit(f"Patroni refuses: {refusal}")
        time.sleep(1)


said = switch_over()
wait_for_writes(time.monotonic())
ending.set()
writer.join(5)
gap = max(after - before for before, after in itertools.pairwise(acknowledged))
print(json.dumps({"said": said, "gap": round(gap, 2)}))
