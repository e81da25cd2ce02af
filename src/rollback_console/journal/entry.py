"""One entry as it is read back, and what a writer of entries offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.journal.kinds import Body  # pydantic: 80 ms that the first states do without


@dataclass(frozen=True, slots=True)
class Entry:
    """One signed line of the journal. `body` is the exact stored RFC 8785 bytes.

    `at` is the wall's time in Unix seconds, `mono` the writer's monotonic seconds. `deployment` and `operator` are ""
    where none applies.
    """

    chain: str
    seq: int
    at: float
    mono: float
    kind: str
    deployment: str
    operator: str
    body: bytes
    prev: str
    hash: str
    signature: bytes

    def parsed(self) -> Body | None:
        """The body as its kind's model; None for a kind (or a version of it) that this program does not know."""
        from rollback_console.journal.kinds import KINDS

        model = KINDS.get(self.kind)
        if model is None:
            return None
        try:
            return model.model_validate_json(self.body)
        except ValueError:
            return None


class Recorder(Protocol):
    """Who can write to a journal and read it back. All raise `JournalError` and nothing else."""

    chain: str

    def append(self, body: Body, *, deployment: str = "", operator: str = "") -> Entry:
        """Durable when it returns. Raises `JournalUnwritable` when nothing was recorded."""
        ...

    def append_all(self, items: Sequence[tuple[Body, str, str]], blobs: Sequence[bytes] = ()) -> tuple[Entry, ...]:
        """Several (body, deployment, operator), in order, and blobs they name, in one transaction."""
        ...

    def put_live(self, data: bytes, at: float) -> None:
        """The newest evaluation for those who follow: a derived cache of one row, covered by no signature."""
        ...

    def get_live(self) -> tuple[float, bytes] | None: ...

    def put_blob(self, data: bytes) -> str:
        """Content-addressed bytes (compressed at rest); returns their SHA-256, hex."""
        ...

    def get_blob(self, digest: str) -> bytes | None: ...

    def entries(self, after: int = 0, kinds: Sequence[str] = (), limit: int | None = None) -> Iterator[Entry]:
        """Entries with seq > after, oldest first."""
        ...

    def head(self) -> tuple[int, str]:
        """(seq, hash) of the last entry; (0, "") before the first."""
        ...

    def without_waiting(self, limit_s: float = 0.05) -> AbstractContextManager[None]:
        """Within, reads wait for nobody: they raise `JournalBusy`."""
        ...
