"""Copying that survives SSH and tmux: OSC 52, and tmux's own buffer where there is one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollback_console.tui.app import ConsoleApp

_TMUX_LIMIT_S = 1.0
_OSC52_LIMIT = 74_994  # many terminals drop a longer sequence without a word


async def copy(app: ConsoleApp, text: str) -> str:
    """Copy `text`, and return the sentence that says how: OSC 52 alone is lost in tmux's default setting, and no
    terminal answers it, so the sentence says "sent", not "arrived", where only that way was taken."""
    lines = text.count("\n") + 1
    what = f"{lines} line" + ("" if lines == 1 else "s")
    ways = []
    if os.environ.get("TMUX") and await _tmux(text):
        ways.append("tmux buffer")
    if len(base64.b64encode(text.encode())) <= _OSC52_LIMIT:
        app.copy_to_clipboard(text)
        ways.append("OSC 52")
    if not ways:
        return f"could not copy {what}: too long for OSC 52, and no tmux here"
    if ways == ["OSC 52"]:
        return f"copied {what} (sent by OSC 52)"
    return f"copied {what} ({' and '.join(ways)})"


async def _tmux(text: str) -> bool:
    """`tmux load-buffer -w -`: into tmux's buffer, and on to the outer terminal's clipboard."""
    tmux = shutil.which("tmux")
    if tmux is None:
        return False
    process = await asyncio.create_subprocess_exec(
        tmux,
        "load-buffer",
        "-w",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.wait_for(process.communicate(text.encode()), _TMUX_LIMIT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return False
    return process.returncode == 0
