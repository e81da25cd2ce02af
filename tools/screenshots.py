"""Pictures of the screens, from real runs: the demo in a real terminal (tmux), driven by keys, written as SVG and PNG.

Usage: python tools/screenshots.py [--only TEXT] [--out FOLDER] [--seed N]

Nothing is drawn by hand. Every step waits for words on the screen. The seed decides the story; the dates are today's.
"""

# ruff: noqa: S603, S607 - it runs our own program, and tmux and fontconfig by their names
from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = str(Path(sys.executable).with_name("rollback-console"))
DEPLOYMENT = "production/checkout-ranker"
_CONF = "set -g status off\nset -g default-terminal tmux-256color\nset -g remain-on-exit on\nset -sg escape-time 0\n"
_GROUNDS = {"dark": ((16, 21, 28), (217, 224, 232)), "light": ((252, 252, 250), (26, 36, 48)),
            "mono": ((0, 0, 0), (204, 204, 204))}  # fmt: skip
_ANSI = [(0, 0, 0), (205, 49, 49), (13, 188, 121), (229, 229, 16), (36, 114, 200), (188, 63, 188), (17, 168, 205),
         (229, 229, 229)]  # fmt: skip


# ── the terminal


class Terminal:
    """A program in a pane of a tmux server of its own."""

    def __init__(self, command: Sequence[str], columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._folder = tempfile.TemporaryDirectory(prefix="rollback-console-shots-")
        home = Path(self._folder.name)
        (home / "conf").write_text(_CONF)
        (home / "tmp").mkdir()
        self._tmux = ["tmux", "-S", str(home / "s"), "-f", str(home / "conf")]
        kept = {name: os.environ[name] for name in ("PATH", "LC_ALL") if name in os.environ}
        self._env = {
            **kept,
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "COLORTERM": "truecolor",
        }
        size = ["-x", str(columns), "-y", str(rows)]
        self._run("new-session", "-d", *size, f"exec {shlex.join(command)}")

    def _run(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], env=self._env, capture_output=True, text=True, check=True)
        return done.stdout

    def text(self) -> str:
        return self._run("capture-pane", "-p")

    def wait(self, pattern: str, seconds: float = 60.0) -> str:
        """Until the screen matches `pattern` (a regular expression). Raises TimeoutError with the screen."""
        end = time.monotonic() + seconds
        while True:
            shown = self.text()
            if re.search(pattern, shown):
                return shown
            if time.monotonic() > end:
                raise TimeoutError(f"{pattern!r} did not come on the screen:\n{shown}")
            time.sleep(0.05)

    def keys(self, *names: str) -> None:
        """Keys by tmux' names (Enter, Escape, j)."""
        self._run("send-keys", *names)

    def type(self, text: str) -> None:
        """Text, key by key at a person's pace: the console takes a burst for a paste."""
        for char in text:
            self._run("send-keys", "-l", "--", char)
            time.sleep(0.04)

    def ansi(self) -> str:
        """The screen once it has stood still for a moment, but for its clocks."""
        before = ""
        for _ in range(40):
            time.sleep(0.15)
            now = re.sub(r"\d", "0", self.text())
            if now == before:
                break
            before = now
        return self._run("capture-pane", "-p", "-e", "-N")

    def journals(self) -> list[Path]:
        """The journals that programs in this terminal made."""
        return sorted(Path(self._env["TMPDIR"]).rglob("journal.db"))

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], env=self._env, capture_output=True, check=False)
        self._folder.cleanup()


@contextlib.contextmanager
def terminal(command: Sequence[str], size: tuple[int, int]) -> Iterator[Terminal]:
    opened = Terminal(command, *size)
    try:
        yield opened
    finally:
        opened.close()


# ── pictures


def styled(ansi: str, columns: int) -> list[Text]:
    lines = [Text.from_ansi(line, no_wrap=True, end="") for line in ansi.split("\n")]
    for line in lines:
        line.truncate(columns, pad=True)
    return lines


def theme_of(name: str) -> TerminalTheme:
    background, foreground = _GROUNDS[name]
    return TerminalTheme(background, foreground, _ANSI, _ANSI)


def svg(lines: Sequence[Text], columns: int, theme: str, title: str) -> str:
    """The screen as SVG, one cell a column."""
    console = Console(
        record=True, width=columns, height=len(lines), file=io.StringIO(), force_terminal=True,
        color_system="truecolor", legacy_windows=False,
    )  # fmt: skip
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop", crop=True, soft_wrap=False)
    drawn = console.export_svg(title=title, theme=theme_of(theme), unique_id="screen")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


class Font:
    """DejaVu Sans Mono, or the best monospace font there is; a fallback for what it lacks."""

    def __init__(self, size: int = 16) -> None:
        from PIL import ImageFont

        self._size = size
        self._fonts: dict[tuple[str, bool], Any] = {}
        self._plain = _match("DejaVu Sans Mono:style=Book")
        self._bold = _match("DejaVu Sans Mono:style=Bold")
        self._truetype = ImageFont.truetype
        self._others: dict[str, str] = {}
        base = self._font(self._plain)
        ascent, descent = base.getmetrics()
        self.width, self.height, self.ascent = round(base.getlength("M")), ascent + descent, ascent

    def _font(self, path: str) -> Any:
        key = (path, False)
        if key not in self._fonts:
            self._fonts[key] = self._truetype(path, self._size)
        return self._fonts[key]

    def of(self, char: str, bold: bool) -> Any:
        """The font that has this character."""
        if char.isascii():
            return self._font(self._bold if bold else self._plain)
        if char not in self._others:
            self._others[char] = _having(ord(char), (self._plain,))
        path = self._others[char]
        return self._font(self._bold if bold and path == self._plain and _has(self._bold, ord(char)) else path)


def _match(pattern: str) -> str:
    found = subprocess.run(["fc-match", "-f", "%{file}", pattern], capture_output=True, text=True, check=True).stdout
    if not found:
        raise SystemExit("no font was found: install a DejaVu package (fonts-dejavu-core)")
    return found


def _has(path: str, point: int) -> bool:
    return path in _files_with(point)


_KNOWN: dict[int, list[str]] = {}


def _files_with(point: int) -> list[str]:
    if point not in _KNOWN:
        listed = subprocess.run(
            ["fc-list", f":charset={point:x}", "-f", "%{file}\n"], capture_output=True, text=True, check=True
        ).stdout
        _KNOWN[point] = sorted(listed.split("\n"))
    return _KNOWN[point]


def _having(point: int, preferred: Sequence[str]) -> str:
    files = [path for path in _files_with(point) if path]
    for path in preferred:
        if path in files or not files:
            return path
    return next((path for path in files if "Mono" in path), files[0])


def png(lines: Sequence[Text], columns: int, theme: str, font: Font) -> Any:
    """The screen as a picture: cells of one size, blocks and braille as shapes so that they join as in a terminal."""
    from PIL import Image, ImageDraw

    ground, ink = _GROUNDS[theme]
    margin = font.height // 2
    size = (columns * font.width + 2 * margin, len(lines) * font.height + 2 * margin)
    image = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(image)
    console = Console(width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for row, line in enumerate(lines):
        column = 0
        for segment in Segment.filter_control(line.render(console)):
            front, back = _colours(segment.style or Style(), ground, ink, theme)
            for char in segment.text:
                wide = max(1, Segment(char).cell_length)
                left, top = margin + column * font.width, margin + row * font.height
                box = (left, top, left + wide * font.width - 1, top + font.height - 1)
                if back != ground:
                    draw.rectangle(box, fill=back)
                _glyph(draw, char, box, front, font, segment.style or Style())
                column += wide
    return image


def _colours(style: Style, ground: Any, ink: Any, theme: str) -> tuple[Any, Any]:
    def rgb(color: Color | None, default: Any) -> Any:
        if color is None or color.is_default:
            return default
        return tuple(color.get_truecolor(theme_of(theme)))

    front, back = rgb(style.color, ink), rgb(style.bgcolor, ground)
    if style.reverse:
        front, back = back, front
    if style.dim:
        front = tuple((a * 6 + b * 4) // 10 for a, b in zip(front, back, strict=True))
    return front, back


def _glyph(draw: Any, char: str, box: tuple[int, int, int, int], ink: Any, font: Font, style: Style) -> None:
    left, top, right, bottom = box
    point = ord(char)
    if 0x2800 <= point <= 0x28FF:
        _braille(draw, point - 0x2800, box, ink)
    elif char in _BLOCKS:
        for x0, y0, x1, y1 in _BLOCKS[char]:
            wide, high = right - left + 1, bottom - top + 1
            area = (left + x0 * wide, top + y0 * high, left + x1 * wide - 1, top + y1 * high - 1)
            draw.rectangle(tuple(round(edge) for edge in area), fill=ink)
    elif not char.isspace():
        draw.text((left, top + font.ascent), char, font=font.of(char, bool(style.bold)), fill=ink, anchor="ls")
    if style.underline:
        draw.line((left, bottom - 1, right, bottom - 1), fill=ink)


def _braille(draw: Any, dots: int, box: tuple[int, int, int, int], ink: Any) -> None:
    left, top, right, bottom = box
    wide, high = right - left + 1, bottom - top + 1
    for bit, (x, y) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))):
        if dots >> bit & 1:
            middle_x, middle_y = left + (0.25 + 0.5 * x) * wide, top + (0.125 + 0.25 * y) * high
            draw.ellipse((middle_x - 1.2, middle_y - 1.2, middle_x + 1.2, middle_y + 1.2), fill=ink)


def _blocks() -> Mapping[str, list[tuple[float, float, float, float]]]:
    """Block elements as rectangles in shares of a cell."""
    found: dict[str, list[tuple[float, float, float, float]]] = {
        chr(0x2580 + n): [(0, 1 - n / 8, 1, 1)] for n in range(1, 9)
    }
    found |= {chr(0x2590 - n): [(0, 0, n / 8, 1)] for n in range(1, 8)}
    found |= {"▀": [(0, 0, 1, 0.5)], "▐": [(0.5, 0, 1, 1)], "▔": [(0, 0, 1, 0.125)], "▕": [(0.875, 0, 1, 1)]}
    quarter = {1: (0, 0, 0.5, 0.5), 2: (0.5, 0, 1, 0.5), 4: (0, 0.5, 0.5, 1), 8: (0.5, 0.5, 1, 1)}
    for char, mask in {"▖": 4, "▗": 8, "▘": 1, "▙": 13, "▚": 9, "▛": 7, "▜": 11, "▝": 2, "▞": 6, "▟": 14}.items():
        found[char] = [area for bit, area in quarter.items() if mask & bit]
    return found


_BLOCKS = _blocks()


# ── the scenes


@dataclass(frozen=True)
class Camera:
    """Takes a picture of a terminal as NAME.svg and NAME.png."""

    out: Path
    font: Font
    only: str

    def wants(self, name: str) -> bool:
        return self.only in name

    def take(self, shown: Terminal, name: str, theme: str) -> None:
        if not self.wants(name):
            return
        lines = styled(shown.ansi(), shown.columns)[: shown.rows]
        (self.out / f"{name}.svg").write_text(svg(lines, shown.columns, theme, "rollback-console"), encoding="utf-8")
        png(lines, shown.columns, theme, self.font).save(self.out / f"{name}.png", optimize=True)
        print(f"{name}: {shown.columns}x{shown.rows}", flush=True)


def demo(seed: int, speed: float, theme: str, *more: str) -> list[str]:
    return [PROGRAM, "demo", "--seed", str(seed), "--speed", f"{speed:g}", "--theme", theme, *more]


def fleets(camera: Camera, seed: int, size: tuple[int, int], theme: str) -> None:
    """The fleet once both incidents are on it."""
    name = f"fleet-{size[0]}x{size[1]}-{theme}"
    if not camera.wants(name):
        return
    with terminal(demo(seed, 20, theme), size) as shown:
        shown.wait(r"FIRED +checkout-ranker", 90)
        shown.keys("space")
        shown.wait("paused")
        _gone(shown, "paused: space goes on")
        camera.take(shown, name, theme)


def story(camera: Camera, seed: int, size: tuple[int, int], theme: str = "dark") -> None:
    """One incident, from the deployment's screen to the review of its journal."""
    where = f"{size[0]}x{size[1]}"
    shots = ("deployment", "why", "runbook", "plan", "reason", "confirm", "execution", "recovered", "timeline", "keys")
    if not any(camera.wants(f"{shot}-{where}") for shot in (*shots, "review")):
        return

    def take(shot: str) -> None:
        camera.take(shown, f"{shot}-{where}", theme)

    with terminal(demo(seed, 20, theme, DEPLOYMENT), size) as shown:
        shown.wait(r"▲ FIRED +for", 90)
        _slow(shown)
        _gone(shown, "speed x1")
        take("deployment")
        shown.keys("2")
        shown.wait(r"\[2 Why\]")
        take("why")
        shown.keys("b")
        shown.wait(r"\b0 of \d+|\b1/\d+")
        for done in range(1, 3):
            _until(shown, "Enter", rf"\b{done} of \d+|\b{done + 1}/\d+")
        take("runbook")
        shown.keys("Escape")
        shown.wait("1 Signals")
        shown.keys("r")
        shown.wait("ready: x asks")
        take("plan")
        shown.keys("x")
        shown.wait("enter +goes on")
        shown.type("conversion fell with v8, v7 held")
        take("reason")
        shown.keys("Enter")
        shown.wait("type exactly")
        time.sleep(0.6)  # keys that come at once with the dialog are swallowed, on purpose
        phrase = "rehearsal production/checkout-ranker v7"
        shown.type(phrase[:-4])
        take("confirm")
        shown.type(phrase[-4:])
        shown.keys("Enter")
        shown.wait("has begun")
        _gone(shown, "has begun")
        shown.wait("VERIFYING")
        take("execution")
        _fast(shown)
        shown.wait(r"ROLLED BACK|\bDONE\b", 120)
        _slow(shown)
        _gone(shown, "speed x1")
        take("recovered")
        shown.keys("t")
        shown.wait("Timeline")
        take("timeline")
        shown.keys("?")
        shown.wait("What can be done here")
        take("keys")
        shown.keys("Escape")
        shown.wait("Timeline")
        journal = shown.journals()[-1]
        with terminal([PROGRAM, "review", str(journal)], size) as review:
            review.wait("REVIEW")
            camera.take(review, f"review-{where}", theme)


def drill(camera: Camera, seed: int, size: tuple[int, int], theme: str = "dark") -> None:
    """A newcomer's drill: the story, the tutorial's strip, the report."""
    where = f"{size[0]}x{size[1]}"
    if not any(camera.wants(f"{shot}-{where}") for shot in ("drill-story", "drill-tutorial", "drill-report")):
        return
    command = [PROGRAM, "rehearse", "conversion-regression", "--tutorial", "--seed", str(seed)]
    with terminal(command, size) as shown:
        shown.wait("nothing here is real")
        shown.wait(r"journal ✓")
        camera.take(shown, f"drill-story-{where}", theme)
        shown.keys("Enter")
        shown.wait("On-call")
        _until(shown, ">", r"FIRED +checkout-ranker")
        _gone(shown, " on: ")
        shown.keys("Enter")
        shown.wait("▸ Read who else")
        camera.take(shown, f"drill-tutorial-{where}", theme)
        shown.keys("r")
        shown.wait("ready: x asks")
        shown.keys("x")
        shown.wait("enter +goes on")
        shown.type("conversion fell with v8, v7 held")
        shown.keys("Enter")
        shown.wait("type exactly")
        time.sleep(0.6)  # keys that come at once with the dialog are swallowed, on purpose
        shown.type("rehearsal production/checkout-ranker v7")
        shown.keys("Enter")
        shown.wait("VERIFYING")
        for _ in range(20):
            if "PASSED" in shown.text():
                break
            shown.keys(">")
            time.sleep(2.0)
        shown.wait("best: the perfect")
        camera.take(shown, f"drill-report-{where}", theme)


def _gone(shown: Terminal, words: str) -> None:
    """Until `words` are no longer on the screen."""
    end = time.monotonic() + 15
    while words in shown.text() and time.monotonic() < end:
        time.sleep(0.1)


def _until(shown: Terminal, key: str, pattern: str) -> None:
    """Press `key`, again where it came too early to be heard, until the screen matches."""
    for _ in range(5):
        shown.keys(key)
        with contextlib.suppress(TimeoutError):
            shown.wait(pattern, 4)
            return
    shown.wait(pattern, 1)


def _slow(shown: Terminal) -> None:
    _speed(shown, "-", "x1 ")


def _fast(shown: Terminal) -> None:
    _speed(shown, "+", "x20 ")


def _speed(shown: Terminal, key: str, until: str) -> None:
    """Press `key` until the notice says the wanted speed."""
    for _ in range(8):
        shown.keys(key)
        time.sleep(0.4)
        if f"speed {until}".strip() + " " in shown.text().replace("\n", " ") + " ":
            return
    raise TimeoutError(f"the speed did not become {until}:\n{shown.text()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "screenshots", help="where the pictures go")
    parser.add_argument("--only", default="", help="only pictures whose name contains this")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    camera = Camera(asked.out, Font(), asked.only)
    scenes: list[Callable[[], None]] = [
        *(lambda size=size, theme=theme: fleets(camera, asked.seed, size, theme)  # type: ignore[misc]
          for size, theme in [((80, 24), "dark"), ((120, 40), "dark"), ((120, 40), "light"), ((120, 40), "mono"),
                              ((200, 60), "dark")]),
        *(lambda size=size: story(camera, asked.seed, size) for size in ((80, 24), (120, 40), (200, 60))),  # type: ignore[misc]
        *(lambda size=size: drill(camera, asked.seed, size) for size in ((80, 24), (120, 40))),  # type: ignore[misc]
    ]  # fmt: skip
    for scene in scenes:
        scene()


if __name__ == "__main__":
    main()
