"""A month to backtest, as a file: `python tests/benchmarks/month.py FOLDER [deployments] [days]` writes policy.yaml and
samples.csv, three signals a deployment judged by evidence, a row a minute of each. Then, in that folder:

    time rollback-console backtest policy.yaml --samples samples.csv --jobs 1
    time rollback-console backtest policy.yaml --samples samples.csv
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

END = 1_763_942_400  # 2025-11-24 00:00 UTC
RATES = {"conversion": 0.03, "errors": 0.01, "slow": 0.05}
_DRAWN = 99_991  # normal numbers, used in turn


def policy_text(deployments: int) -> str:
    rows = "".join(
        f"  - name: ranker-{k:03d}\n    environment: production\n"
        f"    model: {{name: ranker-{k:03d}, alias: champion}}\n    labels: {{deployment: ranker-{k:03d}}}\n"
        for k in range(deployments)
    )
    signals = "".join(
        f"  {name}:\n    area: {'business' if name == 'conversion' else 'technical'}\n"
        f"    worse: {'lower' if name == 'conversion' else 'higher'}\n"
        f"    x: sum by (deployment) (increase({name}_total[$window]))\n"
        f"    n: sum by (deployment) (increase({name}_of_total[$window]))\n"
        "    window: 1m\n    maturity: 0s\n    baseline: {kind: seasonal, history: 28d}\n"
        for name in RATES
    )
    head = "schema: rollback-console/policy/v1\nname: month\nversion: 1\nmode: advise\n"
    return f"{head}deployments:\n{rows}signals:\n{signals}trigger: {{dwell: 5m, hold: 5m}}\n"


def write_samples(path: Path, deployments: int, days: int) -> None:
    """A day that swings by half, a rate that swings by a tenth; one deployment loses half its conversions for an hour
    in the middle."""
    draw = random.Random(1)
    normal = [draw.gauss(0.0, 1.0) for _ in range(_DRAWN)]
    minutes, taken = days * 1440, 0
    with path.open("w", encoding="utf-8") as file:
        file.write("time,deployment,signal,x,n\n")
        for minute in range(minutes):
            at = END - 60 * (minutes - 1 - minute)
            day = math.sin(2 * math.pi * at / 86_400)
            for k in range(deployments):
                for name, rate in RATES.items():
                    taken += 2
                    n = round(1000 * (1 + 0.5 * day) + 31 * normal[taken % _DRAWN])
                    mean = n * rate * (1 + 0.1 * day)
                    if k == 3 and name == "conversion" and minutes // 2 <= minute < minutes // 2 + 60:
                        mean /= 2
                    x = max(0, round(mean + math.sqrt(mean) * normal[taken * 7 % _DRAWN]))
                    file.write(f"{at},ranker-{k:03d},{name},{x},{n}\n")


def main() -> None:
    folder = Path(sys.argv[1])
    deployments = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    days = int(sys.argv[3]) if len(sys.argv) > 3 else 30
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(policy_text(deployments), encoding="utf-8")
    write_samples(folder / "samples.csv", deployments, days)


if __name__ == "__main__":
    main()
