"""Text from elsewhere, made safe to show: nothing that a label, a tag, a runbook or an error says comes through raw.

Control characters (C0, C1, DEL), bidirectional overrides and isolates, zero-width joiners and other format characters,
line and paragraph separators, lone surrogates and letters that show nothing become visible or go; combining marks are
kept but bounded. Every function here is total and idempotent, and its result is bounded.
"""

from __future__ import annotations

import math
import unicodedata

_MAX_MARKS = 2  # combining characters a base may carry before the rest is dropped ("zalgo")
_ELLIPSIS = "…"
_FOREVER = 1e10  # seconds (317 years): nothing on a clock is longer

# Letters that draw nothing (Hangul fillers, Braille blank): two names that look alike would differ by them.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def _invisible_mark(char: str) -> bool:
    """Marks that draw nothing themselves and make a terminal's idea of the width differ from ours."""
    return (
        "\ufe00" <= char <= "\ufe0f"
        or "\U000e0100" <= char <= "\U000e01ef"
        or "\u180b" <= char <= "\u180f"
        or char in "\u034f\u17b4\u17b5"
    )


def plain(text: object, limit: int = 400) -> str:
    """`text` as one safe line of at most `limit` characters (an ellipsis stands for the rest).

    Newlines and tabs become spaces; other control and format characters become `·`.
    """
    source = str(text)
    if limit <= 0:
        return ""
    if source.isascii() and source.isprintable():
        return source if len(source) <= limit else source[: limit - 1] + _ELLIPSIS
    longest = 8 * limit + 64  # so that ten megabytes of marks that are dropped cost nothing
    cut = len(source) > longest
    out: list[str] = []
    marks = 0
    for char in source[:longest]:
        if len(out) > limit:
            break
        if " " <= char <= "~":
            out.append(char)
            marks = 0
            continue
        category = unicodedata.category(char)
        if char in "\n\r\t\v\f" or category in ("Zl", "Zp", "Zs"):
            out.append(" ")
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn") or char in _FILLERS:
            out.append("·")
        elif category in ("Mn", "Me", "Mc"):
            marks += 1
            if marks <= _MAX_MARKS and out and not _invisible_mark(char):
                out.append(char)
            continue
        else:
            out.append(char)
        marks = 0
    line = "".join(out)
    if len(line) > limit:
        return line[: limit - 1] + _ELLIPSIS
    return line[: limit - 1] + _ELLIPSIS if cut else line


def plain_block(text: object, limit: int = 20_000) -> str:
    """Several lines of at most 2,000 characters, `limit` in all, each safe as `plain` makes it; tabs become spaces."""
    if limit <= 0:
        return ""
    source = str(text)
    cut = len(source) > limit + 1
    lines = source[: limit + 1].replace("\r\n", "\n").replace("\r", "\n").expandtabs(4).split("\n")
    block = "\n".join(plain(line, 2_000) for line in lines)
    return block[: limit - 1] + _ELLIPSIS if cut or len(block) > limit else block


def _whole(seconds: float) -> int | None:
    """Seconds as a whole number, negative ones as zero; None for what no clock shows."""
    if math.isnan(seconds) or seconds >= _FOREVER:
        return None
    return max(0, round(max(seconds, 0.0)))


def _endless(seconds: float) -> str:
    return "–" if math.isnan(seconds) else "∞"


def duration(seconds: float) -> str:
    """Seconds as people read them on a clock: `4:07`, `1:02:09`; negative ones as zero; `∞` and `–` for no number."""
    whole = _whole(seconds)
    if whole is None:
        return _endless(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def span(seconds: float) -> str:
    """Seconds as a policy writes them: `45s`, `5m`, `1h30m`, `7d`; `∞` and `–` for no number."""
    whole = _whole(seconds)
    if whole is None:
        return _endless(seconds)
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def about(seconds: float) -> str:
    """An estimate of seconds, no finer than it is: `≈ 1 m`, `≈ 6 m`, `≈ 40 m`, `≈ 3 h`, `≈ 2 days or more`."""
    if not seconds < 48 * 3600:
        return "≈ 2 days or more"
    minutes = max(1, round(seconds / 60))
    if minutes > 20:
        minutes = round(minutes / 5) * 5
    return f"≈ {minutes} m" if minutes < 100 else f"≈ {round(minutes / 60)} h"


def _digits(value: float) -> str:
    """A finite number in at most six characters and a sign."""
    size = abs(value)
    if size >= 999.5:
        return f"{value:,.0f}" if size < 99_999.5 else f"{value:.0e}"
    if size and size < 0.0009995:
        return f"{value:.0e}"
    return f"{value:.2g}" if 0 < size < 0.0095 else f"{value:.3g}"


def number(value: float | None, unit: str = "") -> str:
    """A value in at most six characters, a sign and its unit; a `%` unit multiplies by 100. None is a dash."""
    if value is None:
        return "–"
    value = value + 0.0  # -0.0 reads as 0
    if not math.isfinite(value):
        text = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    elif unit == "%":
        text = _digits(value * 100) if abs(value) < 1e300 else f"{value:.0e}"
    else:
        size = abs(value)
        scale, suffix = (1e6, "M") if size >= 999_500 else (1e3, "k") if size >= 9_999.5 else (1.0, "")
        scaled = value / scale
        text = _digits(scaled) + suffix
        if abs(scaled) >= 999.5 and suffix:  # past the millions: powers of ten
            text = f"{value:.0e}"
    return f"{text} {plain(unit, 24)}".rstrip()
