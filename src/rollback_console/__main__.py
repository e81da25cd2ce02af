"""The entry point. `--version` answers here, before the command-line library loads."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from rollback_console.version import __version__

        print(f"rollback-console {__version__}")
        return 0
    from rollback_console.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
