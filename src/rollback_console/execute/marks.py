"""What the program leaves in a registry for others to read: the names of its tags, and their words."""

from __future__ import annotations

from datetime import UTC, datetime

PREFIX = "rollback-console"
LOCK_TAG = f"{PREFIX}.lock"  # on the registered model, followed by the alias: two deployments may share a model
ROLLED_BACK_TAG = f"{PREFIX}.rolled_back"
KNOWN_BAD_TAG = f"{PREFIX}.known_bad"
PAUSED_TAG = f"{PREFIX}.paused"  # on the registered model: names of re-promoting jobs that somebody paused


def rollback_tags(execution: str, before: str, after: str, at: float, operator: str) -> tuple[tuple[str, str], ...]:
    """What the version that was rolled back from is tagged with, whatever comes of it. `at` is the request's time, so
    that a resumed execution writes the same words."""
    return ((ROLLED_BACK_TAG, f"{execution} from v{before} to v{after} at {utc(at)} by {operator or 'unknown'}"),)


def bad_tags(execution: str, at: float) -> tuple[tuple[str, str], ...]:
    """The mark that keeps it from being gone back to: only where the signals recovered without it."""
    return ((KNOWN_BAD_TAG, f"rolled back from by {execution} at {utc(at)}"),)


def utc(at: float) -> str:
    """Unix seconds as RFC 3339 UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
