"""The entry point. `--version` answers here, before the command-line library loads."""

from __future__ import annotations

import gc
import os
import sys

# Python's own thresholds (700, 10, 10) walk every object of a fleet of a thousand at each evaluation: 40 to 90 ms in
# which no key is answered. What an evaluation makes holds no cycles and is freed without the collector.
COLLECT_AT = (30_000, 10, 50)


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from rollback_console.version import __version__

        print(f"rollback-console {__version__}")
        return 0
    gc.set_threshold(*COLLECT_AT)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # we use none, and to look for some takes 10 ms
    from rollback_console.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
