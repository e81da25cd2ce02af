"""The newest evaluation as one row beside the journal: what a console shows that follows another process.

A derived cache: no entry rests on it, it may be thrown away, and what is read from it goes through `decide` again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from rollback_console.engine.board import Board
from rollback_console.engine.record import layout_bytes, memory_document, memory_from, pack, unpack
from rollback_console.journal.entry import Recorder
from rollback_console.model.observation import Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerMemory


def live_bytes(tick: Tick, board: Board, layout: str) -> bytes:
    """A tick with the memories before it. Most are calm: only the others are written out."""
    memories: dict[str, object] = {}
    calm_at: float | None = None
    for index, memory in board.before.items():
        if memory == TriggerMemory(at=memory.at, known=True):
            calm_at = memory.at
        else:
            memories[str(index)] = memory_document(memory)
    head = json.dumps({"v": 1, "calm_at": calm_at, "memories": memories}, separators=(",", ":")).encode()
    return head + b"\n" + pack(tick, layout)


def live_state(journal: Recorder, rules: Sequence[DeploymentRule]) -> tuple[Tick, list[TriggerMemory]] | None:
    """The recorder's newest evaluation, or None where there is none for these rules."""
    found = journal.get_live()
    if found is None:
        return None
    line, _, data = found[1].partition(b"\n")
    try:
        head = json.loads(line)
        ours = layout_bytes(rules)
        tick = unpack(data, lambda digest: ours if digest == hashlib.sha256(ours).hexdigest() else None)
    except (ValueError, KeyError, TypeError):
        return None  # another version's, or another configuration's: as good as none
    calm = TriggerMemory(at=head["calm_at"], known=True)
    return tick, [
        memory_from(head["memories"][str(index)]) if str(index) in head["memories"] else calm
        for index in range(len(rules))
    ]
