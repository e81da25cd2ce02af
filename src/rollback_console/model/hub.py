"""How a journal stands with the hub, as the header, `journal status` and `doctor` say it."""

from __future__ import annotations

from enum import StrEnum

from rollback_console.model.text import plain, span
from rollback_console.model.value import dataclass

NOT_CONFIGURED = "hub not configured"
OFFLINE = "hub offline: you cannot see others"


class Link(StrEnum):
    """What is known of the way to the hub."""

    NOT_CONFIGURED = "not configured"
    UNKNOWN = "not heard yet"
    OK = "ok"
    OFFLINE = "offline"
    REFUSED = "refused"  # it is there and will not take us: a token, a revoked device, another key


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a hub did that an honest one does not, or that this chain has two ends. Kept as evidence. `at` in Unix
    seconds; `sentence` for people; `accepted` once somebody decided to go on with the hub as it is."""

    id: int
    at: float
    kind: str
    sentence: str
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class HubState:
    """Where a journal stands with its hub. Times in Unix seconds; `receipt_seq` is the last entry that the hub gave a
    receipt for, which proves every entry before it too."""

    link: Link = Link.NOT_CONFIGURED
    url: str = ""
    waiting: int = 0  # entries not yet proven to be there
    blobs_waiting: bool = False
    receipt_seq: int = 0
    receipt_at: float | None = None  # the hub's clock
    checkpoint_size: int = 0  # leaves in the hub's log, by the newest checkpoint held
    contact_at: float | None = None  # when the hub last answered
    problem: str = ""
    closed: str = ""  # why this chain takes no more receipts: it was copied, or restored
    alarms: tuple[Alarm, ...] = ()

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        return tuple(alarm for alarm in self.alarms if not alarm.accepted)


def words(state: HubState) -> str:
    """The header's few words."""
    if state.link is Link.NOT_CONFIGURED:
        return NOT_CONFIGURED
    if state.closed:
        return "hub: this journal was copied or restored"
    if state.open_alarms:
        return "hub ALARM: journal status says which"
    if state.link is Link.UNKNOWN:
        return "hub: not heard yet"
    if state.link is Link.OFFLINE:
        return OFFLINE
    if state.link is Link.REFUSED:
        return "hub refuses us: journal status says why"
    return f"hub ok, {state.waiting:,} to send" if state.waiting else "hub ok"


def alarms(state: HubState) -> tuple[str, ...]:
    """What the console's list of alarms says of the hub."""
    closed = (f"hub: {state.closed}; a new journal begins at the next start",) if state.closed else ()
    return closed or tuple(f"hub: {alarm.sentence}" for alarm in state.open_alarms)


def sentences(state: HubState, now: float) -> tuple[str, ...]:
    """Everything there is to say, a line each, for `journal status` and `doctor`."""
    if state.link is Link.NOT_CONFIGURED:
        return ("hub not configured: nobody but this machine holds these entries",)
    lines = [f"{plain(state.url, 120)}: {words(state)}" + (f" ({plain(state.problem, 300)})" if state.problem else "")]
    many = "1 entry waits" if state.waiting == 1 else f"{state.waiting:,} entries wait"
    lines.append(f"{many} to be sent" if state.waiting else "every entry is at the hub")
    if state.receipt_at is None:
        lines.append("no receipt yet: a cut-off end of this journal would not be found")
    else:
        age = span(max(0.0, now - state.receipt_at))
        lines.append(
            f"last receipt: entry {state.receipt_seq:,}, {age} old; the hub's log holds {state.checkpoint_size:,} heads"
        )
    if state.closed:
        lines.append(plain(state.closed, 400))
    lines.extend(f"alarm {alarm.id}: {plain(alarm.sentence, 400)}" for alarm in state.open_alarms)
    return tuple(lines)
