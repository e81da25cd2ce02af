"""Decisions as an engine made and recorded them, kept in `golden/`: this engine must make them again, or be raised.

``python tests/engine/golden_tools.py`` makes each of them again and says what comes out otherwise; with ``--write`` it
plays the streams anew and keeps what this engine decides. It refuses while decisions that are kept come out otherwise
and `decide.version.ENGINE` is still the one that made them: raise its first number where a state, a number or a memory
differs, its second where only words do.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import tempfile
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import compress, decompress

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from engine_tools import START, STEP, VERSIONS, Stream, engine_on, new_journal, random_stream, ticks
from evidence_tools import BEGIN, MINUTE, EvidenceStream, evidence_stream, watch

from rollback_console.decide.baselines import Hours, follow, learn
from rollback_console.decide.calendar import DAY_S, HOUR_S, Calendar
from rollback_console.decide.version import ENGINE, LEARNING, decides_alike
from rollback_console.engine.record import recompute
from rollback_console.errors import OtherEngine
from rollback_console.journal.entry import Entry
from rollback_console.journal.store import Journal
from rollback_console.model.observation import Series
from rollback_console.model.rules import DeploymentRule, Stretch
from rollback_console.policy.load import parse_policy

FOLDER = Path(__file__).resolve().parent / "golden"
KEPT = FOLDER / "decisions.json"
POLICIES = ("evidence.yaml", "bounds.yaml")
_ANCHOR = 1_763_942_400.0  # Monday 2025-11-24, 00:00 UTC
_MOST = 14  # transitions kept of one deployment


def kept() -> dict[str, Any]:
    """The decisions that are kept: the engine that made them, entries, blobs."""
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def entries(document: dict[str, Any]) -> Iterator[Entry]:
    """Each recorded transition, as a journal would give it."""
    for seq, each in enumerate(document["entries"], start=1):
        body = json.dumps(each["body"]).encode()
        yield Entry("golden", seq, 0.0, 0, "transition", each["deployment"], "", body, "", "", b"")


def blob_of(document: dict[str, Any], digest: str) -> bytes | None:
    for name in POLICIES:
        data = (FOLDER / name).read_bytes()
        if sha256(data).hexdigest() == digest:
            return data
    packed = document["blobs"].get(digest)
    return decompress(b64decode(packed)) if packed is not None else None


@lru_cache(maxsize=8)
def rules(data: bytes, digest: str) -> tuple[DeploymentRule, ...]:
    return parse_policy(data, f"policy {digest[:12]}").rules


def differences(document: dict[str, Any]) -> list[str]:
    """What this engine decides otherwise, a line each; empty where it decides and speaks alike."""
    found = []
    for entry in entries(document):
        try:
            message = recompute(entry, lambda digest: blob_of(document, digest), rules)
        except OtherEngine as error:
            message = error.message
        if message:
            found.append(f"{entry.deployment} at {json.loads(entry.body)['at']:.0f}: {message}")
    return found


def learned() -> list[float]:
    """What this program learns of three histories (a month, five days, ten hours): profile, level, noise."""
    draw, found = random.Random(7), []
    for days, excluded in ((33.0, ()), (5.0, (Stretch(_ANCHOR - 2 * DAY_S, _ANCHOR - DAY_S, "a sale"),)), (0.42, ())):
        count = round(days * 24)
        start = _ANCHOR - count * HOUR_S
        n = [round(draw.gauss(30_000.0, 170.0) * (1 + 0.4 * math.sin(k / 24 * 6.283))) for k in range(count)]
        x = [round(each * (0.03 + 0.003 * math.sin(k / 24 * 6.283)) + draw.gauss(0, 40)) for k, each in enumerate(n)]
        hours = Hours(start, array("f", x), array("f", n))
        profile = learn(hours, _ANCHOR, 28 * DAY_S, Calendar("Europe/Berlin"), excluded)
        assert profile is not None
        level = follow(profile, hours, _ANCHOR, Calendar("Europe/Berlin"), excluded)
        found += [profile.slow, profile.scale, profile.per_minute, profile.level.rate, level.rate, level.variance]
        found += [*profile.factors[::11], *profile.spreads[::23], *profile.trials[::31]]
        found += [block.phi for block in profile.long]
    return found


def learns_alike(document: dict[str, Any]) -> bool:
    """Does this program learn what it learned, to nine digits."""
    kept, now = document["learned"]["numbers"], learned()
    return len(kept) == len(now) and all(
        math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-15) for one, other in zip(kept, now, strict=True)
    )


# -- making them ------------------------------------------------------------------------------------------------------


async def _by_evidence(folder: Path) -> dict[str, Any]:
    drawn = evidence_stream(9, minutes=620)
    data = (FOLDER / "evidence.yaml").read_bytes()
    found = parse_policy(data, "evidence.yaml").rules
    series: dict[str, list[Series]] = {VERSIONS: drawn.series[VERSIONS]}
    for signal in found[0].signals:
        for promql, name in ((signal.x, f"{signal.name}_x"), (signal.n, f"{signal.name}_n")):
            if promql is not None:
                series[promql] = drawn.series[name]
    series["max by (deployment) (latency)"] = drawn.series["max by (deployment) (latency)"]
    stream = EvidenceStream(found, series, drawn.minutes)
    with new_journal(folder / "evidence.db", BEGIN) as journal:
        engine = stream.engine(BEGIN + 320 * MINUTE, journal=journal)
        await engine.start()
        await watch(engine, 321, drawn.minutes - 1)
        await engine.close()
        return _taken(journal)


async def _by_bounds(folder: Path) -> dict[str, Any]:
    drawn = random_stream(11, deployments=2, ticks=260)
    found = parse_policy((FOLDER / "bounds.yaml").read_bytes(), "bounds.yaml").rules
    stream = Stream(found, drawn.series, drawn.ticks)
    with new_journal(folder / "bounds.db", START) as journal:
        engine = engine_on(stream, START + 30 * STEP, journal=journal)
        await engine.start()
        await ticks(engine, 31, drawn.ticks - 1)
        await engine.close()
        return _taken(journal)


def _taken(journal: Journal) -> dict[str, Any]:
    """The first transitions of each deployment, and the blobs that they name."""
    found: list[dict[str, Any]] = []
    blobs: dict[str, str] = {}
    counts: dict[str, int] = {}
    for entry in journal.entries(kinds=("transition",)):
        counts[entry.deployment] = counts.get(entry.deployment, 0) + 1
        if counts[entry.deployment] > _MOST:
            continue
        body = json.loads(entry.body)
        found.append({"deployment": entry.deployment, "body": body})
        data = journal.get_blob(body["tick"])
        assert data is not None
        layout = json.loads(data.partition(b"\n")[0])["layout"]
        for digest in (body["tick"], layout):
            blob = journal.get_blob(digest)
            assert blob is not None
            blobs[digest] = b64encode(compress(blob)).decode()
    return {"entries": found, "blobs": blobs}


def made() -> dict[str, Any]:
    """The streams played by this engine."""
    with tempfile.TemporaryDirectory() as folder:
        parts = [asyncio.run(_by_evidence(Path(folder))), asyncio.run(_by_bounds(Path(folder)))]
    return {
        "engine": ENGINE,
        "learned": {"version": LEARNING, "numbers": learned()},
        "entries": [each for part in parts for each in part["entries"]],
        "blobs": {digest: data for part in parts for digest, data in sorted(part["blobs"].items())},
    }


def main() -> int:
    differing: list[str] = []
    if KEPT.exists():
        document = kept()
        differing = differences(document)
        for line in differing:
            print(line)
        print(
            f"{len(document['entries'])} decisions of engine {document['engine']}, {len(differing)} come out otherwise"
        )
        if "--write" in sys.argv and differing and document["engine"] == ENGINE:
            words = all(".sentence" in line or ".note" in line for line in differing)
            which = "second number: only words differ" if words else "first number: it decides otherwise"
            print(f"raise ENGINE in src/rollback_console/decide/version.py by its {which}, and run this again")
            return 1
        alike = learns_alike(document)
        print("learns what it learned" if alike else "learns otherwise than it did")
        if "--write" in sys.argv and not alike and document["learned"]["version"] == LEARNING:
            print("raise LEARNING in src/rollback_console/decide/version.py, and run this again")
            return 1
        if "--write" in sys.argv and not decides_alike(document["engine"]):
            print("(those cannot be made again: the engine was raised)")
    if "--write" not in sys.argv:
        return 1 if differing or not learns_alike(kept()) else 0
    document = made()
    KEPT.write_text(json.dumps(document, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(document['entries'])} decisions of engine {ENGINE} kept in {KEPT.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
