"""Text from elsewhere, made safe to show: nothing that a label, a tag, a runbook or an error says comes through raw.

Control characters (C0, C1, DEL), bidirectional overrides and isolates, zero-width joiners and other format characters,
line and paragraph separators and lone surrogates become visible or go; combining marks are kept but bounded.
"""

from __future__ import annotations

import unicodedata

_MAX_MARKS = 2  # combining characters a base may carry before the rest is dropped ("zalgo")
_ELLIPSIS = "…"


def plain(text: object, limit: int = 400) -> str:
    """`text` as one safe line of at most `limit` characters (an ellipsis stands for the rest).

    Newlines and tabs become spaces; other control and format characters become `·`.
    """
    out: list[str] = []
    marks = 0
    for char in str(text):
        if len(out) > limit:
            break
        if " " <= char <= "~":
            out.append(char)
            marks = 0
            continue
        category = unicodedata.category(char)
        if char in "\n\r\t\v\f" or category in ("Zl", "Zp", "Zs"):
            out.append(" ")
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn"):
            out.append("·")
        elif category in ("Mn", "Me", "Mc"):
            marks += 1
            if marks <= _MAX_MARKS and out:
                out.append(char)
            continue
        else:
            out.append(char)
        marks = 0
    line = "".join(out)
    return line if len(line) <= limit else line[: limit - 1] + _ELLIPSIS


def plain_block(text: object, limit: int = 20_000) -> str:
    """Several lines, each made safe as `plain` does; tabs become four spaces."""
    lines = str(text)[: limit + 1].replace("\r\n", "\n").replace("\r", "\n").expandtabs(4).split("\n")
    block = "\n".join(plain(line, 2_000) for line in lines)
    return block if len(block) <= limit else block[: limit - 1] + _ELLIPSIS


def duration(seconds: float) -> str:
    """Seconds as people read them on a clock: `4:07`, `1:02:09`; negative ones as zero."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def span(seconds: float) -> str:
    """Seconds as a policy writes them: `45s`, `5m`, `1h30m`, `7d`."""
    whole = max(0, round(seconds))
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def number(value: float | None, unit: str = "") -> str:
    """A value in at most six characters and its unit; a `%` unit multiplies by 100. None is a dash."""
    if value is None:
        return "–"
    if unit == "%":
        return f"{value * 100:.3g} %" if abs(value) < 10 else f"{value * 100:,.0f} %"
    size = abs(value)
    if size >= 1e6:
        text = f"{value / 1e6:.3g}M"
    elif size >= 1e4:
        text = f"{value / 1e3:.3g}k"
    elif size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}"
    return f"{text} {unit}".rstrip()
