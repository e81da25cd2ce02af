"""Bounded real traffic for the sandbox's services: visitors who buy what they like, if it is what they are shown.

``python -m rollback_console.rehearse.sandbox.traffic --target PORT:RATE:EAGERNESS:VALUE ...``: visitors a second, on
loopback. One thread a target, one connection each; what cannot be sent in time is dropped, never queued.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import sys
import threading
import time
from typing import Any

from rollback_console.model.value import dataclass
from rollback_console.rehearse.sandbox.model import Visitor

_LATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """A service and who visits it."""

    port: int
    rate: float  # visitors a second
    eagerness: float  # the chance to buy what one wants most
    value: float  # of an order

    @classmethod
    def parse(cls, text: str) -> Target:
        """``PORT:RATE:EAGERNESS:VALUE``; ValueError for anything else, or a rate above 500."""
        port, rate, eagerness, value = text.split(":")
        target = cls(int(port), float(rate), float(eagerness), float(value))
        if not 0.0 < target.rate <= 500.0:
            raise ValueError("rates are above 0 and at most 500 a second")
        return target


def drive(target: Target, seed: int, stopped: threading.Event) -> None:
    """Send visitors at the target's rate until `stopped`."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=5.0)
    number, due = 0, time.monotonic()
    while not stopped.is_set():
        wait = due - time.monotonic()
        if wait > 0:
            stopped.wait(wait)
            continue
        if wait < -_LATE_S:
            due = time.monotonic()  # fell behind: those visitors went elsewhere
        due += 1.0 / target.rate
        number += 1
        try:
            visit(connection, target, seed, number)
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()  # opened again by the next request
            stopped.wait(0.2)


def visit(connection: http.client.HTTPConnection, target: Target, seed: int, number: int) -> bool | None:
    """One visitor: asks for a ranking, looks at its first offer, buys or not. None where the service failed them."""
    visitor = Visitor.numbered(seed, number)
    asked = {"visitor": visitor.id, "likes": visitor.likes, "tenure_d": visitor.tenure_d}
    status, answer = _post(connection, "/predict", asked)
    if status != 200:
        return None
    if not visitor.buys(seed, int(answer["ranking"][0]), target.eagerness):
        return False
    _post(connection, "/order", {"value": target.value})
    return True


def _post(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="visitors for the sandbox's services")
    parser.add_argument("--target", action="append", required=True, type=Target.parse)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    threads = [
        threading.Thread(target=drive, args=(target, asked.seed + 1000 * place, stopped), daemon=True)
        for place, target in enumerate(asked.target)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
