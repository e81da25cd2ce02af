"""A real Prometheus with its own configuration, data and history."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from servers.processes import Server, answers_200, binary

Sample = tuple[Mapping[str, str], float, float | str]  # labels, Unix seconds, value


def escape(value: str) -> str:
    """A label's value as OpenMetrics writes it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def make_openmetrics(metrics: Mapping[str, Iterable[Sample]], types: Mapping[str, str] | None = None) -> str:
    """OpenMetrics text for back-filling: name -> samples (labels, Unix seconds, value), any order.

    A name that ends in `_total` is a counter unless `types` says otherwise; everything else is a gauge. Values may be
    floats or words (`NaN`, `+Inf`). Samples of one series are written together, oldest first, as promtool wants.
    """
    lines: list[str] = []
    for name, samples in metrics.items():
        kind = (types or {}).get(name, "counter" if name.endswith("_total") else "gauge")
        family = name.removesuffix("_total") if kind == "counter" else name
        lines.append(f"# TYPE {family} {kind}")
        rows = sorted((tuple(sorted(labels.items())), at, value) for labels, at, value in samples)
        for labels, at, value in rows:
            inside = ",".join(f'{label}="{escape(text)}"' for label, text in labels)
            lines.append(f"{name}{{{inside}}} {value} {at:.3f}")
    lines.append("# EOF")
    return "\n".join(lines) + "\n"


class Prometheus:
    """One real Prometheus. `directory` is empty and its own.

    `openmetrics` is history to back-fill before it starts. `scrape_configs` and `rule_files` go into its
    configuration as they are (JSON is YAML). `interval` is the scrape and evaluation interval.
    """

    def __init__(
        self,
        directory: Path,
        *,
        openmetrics: str | None = None,
        scrape_configs: Sequence[Mapping[str, object]] = (),
        rule_files: Sequence[Path] = (),
        interval: str = "1s",
        flags: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.data = directory / "data"
        if openmetrics is not None:
            self._backfill(directory, openmetrics)
        config = directory / "prometheus.yml"
        every = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
        config.write_text(
            json.dumps(
                {
                    "global": every,
                    "rule_files": [str(path) for path in rule_files],
                    "scrape_configs": list(scrape_configs),
                }
            )
        )
        self.server = Server(
            lambda port: [
                binary("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={self.data}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
                "--log.level=warn",
                *flags,
            ],
            directory / "prometheus.log",
            ready=answers_200("/-/ready"),
            port=port,
        )

    def _backfill(self, directory: Path, openmetrics: str) -> None:
        history = directory / "history.om"
        history.write_text(openmetrics)
        done = subprocess.run(
            [
                binary("promtool"),
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                # wide blocks: history of weeks would be hundreds of two-hour ones
                "--max-block-duration=1440h",
                str(history),
                str(self.data),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"promtool could not back-fill: {done.stderr or done.stdout}")

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port

    def get(self, path: str, **params: object) -> dict[str, object]:
        """One API call by the plainest means, for tests to compare with. Raises on anything but success."""
        query = urllib.parse.urlencode({name: str(value) for name, value in params.items()})
        with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=30) as answer:
            found = json.loads(answer.read())
        assert found["status"] == "success", found
        return dict(found["data"])

    def wait_for(self, promql: str, seconds: float = 30.0) -> None:
        """Until an instant query at the wall's now has at least one series. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.get("/api/v1/query", query=promql)["result"]:
                return
            time.sleep(0.1)
        raise TimeoutError(f"{promql} had nothing for {seconds} s")

    def stop(self) -> None:
        self.server.stop()
