"""From settings to backends: the one place where a `kind:` of the settings meets a class, and secrets their values."""

from __future__ import annotations

from pathlib import Path
from random import Random

from rollback_console.clock import Clock
from rollback_console.model.value import dataclass
from rollback_console.observe.http import Auth
from rollback_console.observe.mlflow import MlflowRegistry
from rollback_console.observe.prometheus import PrometheusBackend
from rollback_console.observe.secrets import SecretPlace, resolve
from rollback_console.policy.settings import SecretRef, Server, Settings


@dataclass(frozen=True, slots=True)
class Backends:
    """What the settings name; `registry` is None where they name none."""

    metrics: PrometheusBackend
    registry: MlflowRegistry | None

    async def close(self) -> None:
        await self.metrics.close()
        if self.registry is not None:
            await self.registry.close()


def connect(settings: Settings, base: Path, *, clock: Clock, random: Random) -> Backends:
    """Build both backends; nothing is sent yet. Relative files are taken from `base`, the settings file's folder.

    Blocks while a keyring is asked (3 s at most each). Raises SecretError, or InputError for an address or a header
    that cannot be.
    """
    return Backends(
        prometheus(settings, base, clock=clock, random=random), registry(settings, base, clock=clock, random=random)
    )


def prometheus(settings: Settings, base: Path, *, clock: Clock, random: Random) -> PrometheusBackend:
    where = settings.prometheus
    return PrometheusBackend(
        where.url,
        auth=_auth(where, "prometheus", base),
        headers=_headers(where, "prometheus", base),
        clock=clock,
        random=random,
        timeout_s=where.timeout,
        max_body=where.max_body,
        max_in_flight=where.max_in_flight,
        queries_per_minute=settings.budget.queries_per_minute,
        ca_file=_ca_file(where, base),
    )


def registry(settings: Settings, base: Path, *, clock: Clock, random: Random) -> MlflowRegistry | None:
    where = settings.registry
    if where is None:
        return None
    return MlflowRegistry(
        where.url,
        auth=_auth(where, "registry", base),
        headers=_headers(where, "registry", base),
        clock=clock,
        random=random,
        timeout_s=where.timeout,
        max_body=where.max_body,
        queries_per_minute=settings.budget.queries_per_minute,
        ca_file=_ca_file(where, base),
    )


def _auth(where: Server, name: str, base: Path) -> Auth | None:
    auth = where.auth
    if auth.kind == "bearer" and auth.token is not None:
        return Auth("bearer", token=secret(auth.token, f"{name}.auth.token", base))
    if auth.kind == "basic" and auth.password is not None:
        password = secret(auth.password, f"{name}.auth.password", base)
        return Auth("basic", username=auth.username or "", password=password)
    return None


def _headers(where: Server, name: str, base: Path) -> dict[str, str]:
    return {
        header: value if isinstance(value, str) else secret(value, f"{name}.headers.{header}", base)
        for header, value in where.headers.items()
    }


def secret(reference: SecretRef, what: str, base: Path) -> str:
    """The secret that a reference of the settings names; `what` names the setting for messages. Raises SecretError."""
    kind = next(kind for kind in ("keyring", "env", "file") if getattr(reference, kind) is not None)
    return resolve(SecretPlace(kind, str(getattr(reference, kind))), what, base=base)


def _ca_file(where: Server, base: Path) -> str | None:
    return str(base / Path(where.tls.ca_file).expanduser()) if where.tls.ca_file else None
