"""The driver that moves an MLflow alias. Comparing is honest about its race: MLflow's alias has no compare-and-set, the
last writer wins and no history is kept; so the pointer is read just before the move and again after, and watched.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from rollback_console.errors import BackendNonsense
from rollback_console.execute import preflight as checks
from rollback_console.execute.marks import KNOWN_BAD_TAG, LOCK_TAG, PAUSED_TAG, utc
from rollback_console.execute.protocol import Pointer
from rollback_console.model.plan import Check, Plan
from rollback_console.model.registry import ModelVersion


class AliasRegistry(Protocol):
    """What this driver needs of a registry: `observe.mlflow.MlflowRegistry`, or a rehearsal's. All raise
    `BackendError` and nothing else."""

    async def read_pointer(self, model: str, alias: str) -> str | None: ...

    async def write_pointer(self, model: str, alias: str, version: str) -> None: ...

    async def read_tags(self, model: str, version: str | None) -> dict[str, str]:
        """Tags of a version, or of the registered model (`version` None)."""
        ...

    async def write_tag(self, model: str, version: str | None, key: str, value: str) -> None: ...

    async def delete_tag(self, model: str, version: str | None, key: str) -> None: ...

    async def version(self, model: str, version: str) -> ModelVersion | None: ...


class MlflowAliasDriver:
    """`execute.protocol.Driver` over a registry's aliases. `now` is the clock's (for the lock's expiry); `base_url` and
    `curl_options` (as typed in a shell, never a secret itself) are for the manual equivalent alone."""

    name = "mlflow-alias"

    def __init__(
        self, registry: AliasRegistry, *, now: Callable[[], float], base_url: str = "", curl_options: str = ""
    ) -> None:
        self._registry = registry
        self._now = now
        self._base_url = _without_secrets(base_url) or "http://REGISTRY"
        self._curl_options = curl_options

    async def current(self, pointer: Pointer) -> str | None:
        return await self._registry.read_pointer(pointer.model, pointer.alias)

    async def preflight(self, plan: Plan) -> tuple[Check, ...]:
        registry = self._registry
        current = await registry.read_pointer(plan.model, plan.alias)
        after = await registry.version(plan.model, plan.to_version)
        before = await registry.version(plan.model, plan.from_version)
        tags = await registry.read_tags(plan.model, plan.to_version) if after is not None else {}
        holder = await self.lock_holder(Pointer(plan.model, plan.alias))
        body = {"name": plan.model, "version": plan.to_version, "key": KNOWN_BAD_TAG}
        remedy = self._curl("DELETE", "model-versions/delete-tag", body)
        return (
            checks.check_pointer(plan, current),
            checks.check_exists(plan, after),
            checks.check_not_known_bad(plan, tags, KNOWN_BAD_TAG, remedy),
            checks.check_signatures(before, after),
            checks.check_advisory(holder),
        )

    async def move(self, pointer: Pointer, to_version: str) -> None:
        await self._registry.write_pointer(pointer.model, pointer.alias, to_version)

    async def mark(self, model: str, version: str, tags: tuple[tuple[str, str], ...]) -> None:
        """Writes only what is not there yet, so that marking twice is marking once."""
        have = await self._registry.read_tags(model, version)
        for key, value in tags:
            if have.get(key) != value:
                await self._registry.write_tag(model, version, key, value)

    async def paused(self, model: str) -> tuple[str, ...]:
        """Jobs that somebody marked as paused, by a tag on the registered model (comma-separated)."""
        tag = (await self._registry.read_tags(model, None)).get(PAUSED_TAG, "")
        return tuple(name.strip() for name in tag.split(",") if name.strip())

    async def lock_holder(self, pointer: Pointer) -> str | None:
        """Who holds the advisory lock, in words; None when it is free or expired."""
        holder, until = await self._read_lock(pointer)
        if holder is None or until <= self._now():
            return None
        return f"{holder} (until {utc(until)})"

    async def hold_lock(self, pointer: Pointer, holder: str, until: float) -> str | None:
        """Read, write, read again: two that write at once both see one of them. Between the first read and the write
        the race is open, which is why this lock is called advisory. An expired one is taken over."""
        other, expires = await self._read_lock(pointer)
        if other is not None and other != holder and expires > self._now():
            return f"{other} (until {utc(expires)})"
        value = json.dumps({"holder": holder, "until": round(until, 3), "advisory": True}, ensure_ascii=True)
        await self._registry.write_tag(pointer.model, None, _lock_tag(pointer), value)
        kept, expires = await self._read_lock(pointer)
        return None if kept == holder else f"{kept or 'somebody'} (until {utc(expires)})"

    async def free_lock(self, pointer: Pointer, holder: str) -> None:
        """Removes the lock if it is this holder's; somebody else's stays."""
        other, _ = await self._read_lock(pointer)
        if other == holder:
            await self._registry.delete_tag(pointer.model, None, _lock_tag(pointer))

    async def _read_lock(self, pointer: Pointer) -> tuple[str | None, float]:
        tag = (await self._registry.read_tags(pointer.model, None)).get(_lock_tag(pointer))
        if not tag:
            return None, 0.0
        try:
            value = json.loads(tag)
            return str(value["holder"]), float(value["until"])
        except (ValueError, KeyError, TypeError) as error:
            # Fail closed: it may be a newer program's lock.
            remedy = self._curl(
                "DELETE", "registered-models/delete-tag", {"name": pointer.model, "key": _lock_tag(pointer)}
            )
            raise BackendNonsense(
                f"the advisory lock on {pointer.model} cannot be read", f"if nobody executes, remove it: {remedy}"
            ) from error

    def manual(self, plan: Plan) -> tuple[str, ...]:
        """Compare, set, verify, tag: curl lines, every value quoted for a POSIX shell."""
        query = f"registered-models/alias?name={quote(plan.model, safe='')}&alias={quote(plan.alias, safe='')}"
        read = self._curl("GET", query, None)
        target = {"name": plan.model, "alias": plan.alias, "version": plan.to_version}
        mark = {
            "name": plan.model,
            "version": plan.from_version,
            "key": KNOWN_BAD_TAG,
            "value": f"rolled back from, by hand, to v{plan.to_version}",
        }
        return (
            read,
            self._curl("POST", "registered-models/alias", target),
            read,
            self._curl("POST", "model-versions/set-tag", mark),
        )

    def _curl(self, method: str, path: str, body: dict[str, str] | None) -> str:
        parts = ["curl --silent --show-error --fail-with-body"]
        if self._curl_options:
            parts.append(self._curl_options)
        if method != "GET":
            parts.append(f"--request {method}")
        if body is not None:
            parts.append(f"--header 'Content-Type: application/json' --data {shlex.quote(json.dumps(body))}")
        parts.append(shlex.quote(f"{self._base_url}/api/2.0/mlflow/{path}"))
        return " ".join(parts)


def _lock_tag(pointer: Pointer) -> str:
    return f"{LOCK_TAG}.{pointer.alias}"


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
