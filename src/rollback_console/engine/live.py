"""The newest evaluation as one row beside the journal: what a console shows that follows another process.

A derived cache: no entry rests on it, it may be thrown away, and what is read from it goes through `decide` again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from rollback_console.engine.record import layout_bytes, memory_document, memory_from, unpack
from rollback_console.journal.entry import Recorder
from rollback_console.model.observation import Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerMemory


def live_bytes(packed: bytes, before: Mapping[int, TriggerMemory]) -> bytes:
    """A packed tick with the memories before it. Most are calm: only the others are written out."""
    memories: dict[str, object] = {}
    calm_at: float | None = None
    for index, memory in before.items():
        if memory == TriggerMemory(at=memory.at, known=True):
            calm_at = memory.at
        else:
            memories[str(index)] = memory_document(memory, compact=True)
    head = json.dumps({"v": 1, "calm_at": calm_at, "memories": memories}, separators=(",", ":")).encode()
    return head + b"\n" + packed


def live_state(journal: Recorder, rules: Sequence[DeploymentRule]) -> tuple[Tick, list[TriggerMemory]] | None:
    """The recorder's newest evaluation, or None where there is none for these rules. Raises `JournalError`."""
    found = journal.get_live()
    return read_live(found[1], rules) if found is not None else None


def read_live(written: bytes, rules: Sequence[DeploymentRule]) -> tuple[Tick, list[TriggerMemory]] | None:
    """What `live_bytes` made, or None where it is none for these rules.

    Nothing vouches for these bytes, so nothing is believed of them but what fits: each memory must be of the one
    evaluation before the tick's.
    """
    line, _, data = written.partition(b"\n")
    try:
        head = json.loads(line)
        ours = layout_bytes(rules)
        tick = unpack(data, lambda digest: ours if digest == hashlib.sha256(ours).hexdigest() else None)
        calm = TriggerMemory(at=head["calm_at"], known=True)
        found = {int(index): memory_from(document) for index, document in head["memories"].items()}
        memories = [found.get(index, calm) for index in range(len(rules))]
        fits = all(
            (memory.at is None or memory.at < tick.at)
            and {len(memory.evidence), len(memory.held), len(memory.last_known)} <= {0, len(rule.signals)}
            for memory, rule in zip(memories, rules, strict=True)
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError):
        return None  # another version's, or another configuration's: as good as none
    return (tick, memories) if fits else None
