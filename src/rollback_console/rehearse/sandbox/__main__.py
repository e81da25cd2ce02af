"""``python -m rollback_console.rehearse.sandbox``: the real stack on one machine, and the console on it."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rollback_console.errors import ConsoleError, InputError
from rollback_console.model.text import plain
from rollback_console.policy.quantities import parse_duration
from rollback_console.rehearse.sandbox.rest import RestProblem
from rollback_console.rehearse.sandbox.stack import Stack, Wanted

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Asked(Exception):
    """A signal asked the sandbox to end: as an exception, so that `with` ends everything."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 ended as asked; 1 something died; 2 something is not installed; 3 a server would not start."""
    asked = _parser().parse_args(arguments)
    folder = Path(asked.state) if asked.state else Path(tempfile.mkdtemp(prefix="rollback-console-sandbox-"))
    for number in _SIGNALS:
        signal.signal(number, _end)
    try:
        stack = Stack(Wanted(folder.absolute(), asked.prometheus, asked.dwell, asked.target, asked.seed))
        print("starting Prometheus, MLflow, three services and their traffic; the first time takes a while", flush=True)
        with stack:
            _tell(stack, asked.fault_after)
            return _run(stack, asked)
    except _Asked:
        return 0
    except (ConsoleError, RestProblem) as problem:
        print(f"sandbox: {plain(problem, 600)}", file=sys.stderr)
        return problem.exit_code if isinstance(problem, ConsoleError) else 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rollback_console.rehearse.sandbox",
        description="The real stack on one machine, and the console on it.",
        epilog="example: python -m rollback_console.rehearse.sandbox --no-console --fault-after 60s --for 10m",
    )
    parser.add_argument("--state", default="", help="folder for everything (else a new temporary one)")
    parser.add_argument("--prometheus", default="", help="path of the program (else from PATH)")
    parser.add_argument(
        "--fault-after", type=_seconds, default=90.0, metavar="60s", help="when v8 is released; 0: at start"
    )
    parser.add_argument("--no-fault", action="store_true", help="never release v8")
    parser.add_argument("--for", dest="lasts", type=_seconds, default=1800.0, metavar="30m", help="ends by itself then")
    parser.add_argument("--dwell", default="30s", help="the policy's dwell")
    parser.add_argument("--target", default="last_known_good", help="of the recovery path; or a version, like 7")
    parser.add_argument("--seed", type=int, default=1, help="of the visitors")
    parser.add_argument(
        "--no-console", action="store_true", help="only the stack; the command for a console is printed"
    )
    return parser


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except (ValueError, InputError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration like 60s or 30m") from error


def _end(_number: int, _frame: object) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise _Asked


def _tell(stack: Stack, fault_after: float) -> None:
    places = stack.places
    print(f"Prometheus  {stack.prometheus_url}")
    print(f"MLflow      {stack.registry_url}")
    for name, port in stack.ports.items():
        print(f"service     http://127.0.0.1:{port}  {name} v{stack.serving(name)}")
    print(f"state       {places.folder}   logs in logs/, settings.yaml, policy.yaml, roster.yaml")
    print(f"v8          is released after {fault_after:.0f} s")
    key = f'ROLLBACK_CONSOLE_KEY="$(cat {shlex.quote(str(places.key))})"'
    print(f"console     {key} {' '.join(shlex.quote(word) for word in _console(stack))}", flush=True)


def _console(stack: Stack) -> list[str]:
    return [sys.executable, "-m", "rollback_console", "--config", str(stack.places.settings)]


def _run(stack: Stack, asked: argparse.Namespace) -> int:
    """Release v8 in time; end when the time is over, the console was left, or something died."""
    begin = time.monotonic()
    fault_at = None if asked.no_fault else begin + asked.fault_after
    console = None
    if not asked.no_console:
        console = subprocess.Popen(_console(stack), env=stack.console_environment())  # noqa: S603 - our own program
    try:
        while time.monotonic() - begin < asked.lasts:
            if fault_at is not None and time.monotonic() >= fault_at:
                stack.release("8")
                fault_at = None
                if console is None:
                    print("v8 of checkout-ranker is released", flush=True)
            if console is not None and console.poll() is not None:
                return console.returncode
            if dead := stack.group.dead():
                print(f"sandbox: {dead} died; its log is in {stack.places.logs}", file=sys.stderr)
                return 1
            time.sleep(0.25)  # the sandbox has nothing to do but to notice
    finally:
        if console is not None and console.poll() is None:
            console.terminate()
            console.wait(10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
