"""A detector's memory as one short text, for the live row: that is written at every evaluation, for every deployment,
and as JSON a thousand of them would hold up a key for longer than anybody should wait."""

from __future__ import annotations

import array
import itertools
import math
import sys
from base64 import b64decode, b64encode

from rollback_console.decide.evidence import COUNT
from rollback_console.model.verdict import EvidenceMemory

_NAN = math.nan
_HEAD = 24  # numbers before the lists: the plain fields, and how long each list is


def evidence_packed(memory: EvidenceMemory) -> str:
    """Doubles, little-endian, in base64 (NaN where there is none); the version after a space."""
    m = memory
    times = (m.at, m.full_since, m.calm_since, m.onset, m.frozen_at, m.released_at, m.acted_at, m.drop)
    column = array.array("d", [_NAN if each is None else each for each in times])
    column.extend((m.meter, m.recovered, *m.seen, *m.tally, *m.arms))
    column.extend((len(m.sums), len(m.walks), len(m.since), len(m.release_sums)))
    column.extend(m.sums)
    column.extend(m.walks)
    column.extend(itertools.chain.from_iterable(m.since))
    column.extend(m.release_sums)
    if sys.byteorder == "big":
        column.byteswap()
    packed = b64encode(column.tobytes()).decode()
    return packed if m.version is None else f"{packed} {m.version}"


def evidence_unpacked(text: str) -> EvidenceMemory:
    """What `evidence_packed` made. Raises ValueError where it is anything else."""
    packed, named, version = text.partition(" ")
    column = array.array("d")
    column.frombytes(b64decode(packed, validate=True))
    if sys.byteorder == "big":
        column.byteswap()
    if len(column) < _HEAD:
        raise ValueError("it is too short")
    at, full, calm, onset, frozen, released, acted, drop = (None if each != each else each for each in column[:8])
    meter, recovered, missing, expected = column[8:12]
    tally = (column[12], column[13], column[14], column[15])
    if not all(map(math.isfinite, column[8:])):
        raise ValueError("it has numbers that are none")
    arms = (column[16], column[17], column[18], column[19])
    counts = [int(each) for each in column[20:_HEAD]]
    ends = list(itertools.accumulate((counts[0], counts[1], 3 * counts[2], counts[3]), initial=_HEAD))
    if not set(counts) <= {0, COUNT, 2 * COUNT} or counts[1] != counts[2] or ends[-1] != len(column):
        raise ValueError("its numbers do not fit its head")
    sums, walks, since, release = (tuple(column[low:high]) for low, high in itertools.pairwise(ends))
    triples = tuple((since[k], since[k + 1], since[k + 2]) for k in range(0, len(since), 3))
    return EvidenceMemory(
        at, sums, full, calm, onset, frozen, walks, triples, tally, version if named else None, released, release,
        acted, (missing, expected), drop, meter, bool(recovered), arms,
    )  # fmt: skip
