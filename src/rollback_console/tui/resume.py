"""Stopped and continued without being asked (SIGSTOP, a debugger): the terminal is still ours, nothing has to start.

Textual 8.2 starts its application mode anew at every SIGCONT, also where no SIGTSTP had ended it. The threads of the
first start are then forgotten: two readers share the keys, and leaving may hang for ever.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType


def guard_resume() -> None:
    """Let a SIGCONT through to Textual only where its application mode had ended: where the terminal gathers lines
    again. Call it once the driver has started; elsewhere than on a Unix terminal it does nothing."""
    try:
        import termios
    except ImportError:
        return
    try:
        terminal = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
        termios.tcgetattr(terminal)
        textual = signal.getsignal(signal.SIGCONT)
    except (AttributeError, OSError, ValueError, termios.error):
        return

    def resumed(number: int, frame: FrameType | None) -> None:
        if termios.tcgetattr(terminal)[3] & termios.ICANON and callable(textual):
            textual(number, frame)

    signal.signal(signal.SIGCONT, resumed)
