"""What changed around a deployment, as lines: the version diff, pointer moves in the fleet, versions, links."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from rollback_console.model.registry import Difference, ModelVersion, PointerMove
from rollback_console.model.snapshot import DeploymentDetail, DeploymentView
from rollback_console.model.text import plain, span
from rollback_console.tui.widgets.lines import clip, fit, heading, line, paragraph, utc, version_word

_ORDER = ("param", "metric", "tag", "signature", "source")
_NAMES = {
    "param": "Parameters",
    "metric": "Training metrics",
    "tag": "Tags",
    "signature": "Signature",
    "source": "Source",
}


def state_of_detail(detail: DeploymentDetail | None, width: int) -> list[Text]:
    """What stands between the operator and the details: still fetching, or a problem. Empty when all is there."""
    if detail is None or detail.loading:
        return [line(("… asking the registry what changed", "dim"))]
    if detail.problem:
        return paragraph(detail.problem, width, "blind", first="? cannot tell what changed: ", indent="  ")
    return []


def difference_lines(detail: DeploymentDetail | None, width: int) -> list[Text]:
    """The diff between two versions, grouped by where it was found."""
    compared = detail.compared if detail else None
    note = f"{version_word(compared[0])} → {version_word(compared[1])}" if compared else ""
    rows = [heading("What changed", width, note), *state_of_detail(detail, width)]
    if detail is None or detail.loading or (detail.problem and not detail.differences):
        return rows
    if compared is None:
        return [*rows, line(("no two versions to compare", "dim"))]
    if not detail.differences:
        return [*rows, *paragraph("the registry knows no difference between the two but their numbers", width, "dim")]
    places = [*_ORDER, *sorted({d.where for d in detail.differences} - set(_ORDER))]
    for where in places:
        group = [d for d in detail.differences if d.where == where]
        if group:
            rows.append(line((clip(f"{_NAMES.get(where, where)} ({len(group)})", width), "bold")))
            for difference in group:
                rows += _difference(difference, width)
    return rows


def _difference(difference: Difference, width: int) -> list[Text]:
    sign, role = (
        ("+", "accent") if difference.before is None else ("−", "warn") if difference.after is None else ("~", "")
    )
    before = plain(difference.before if difference.before is not None else "(none)", 2_000)
    after = plain(difference.after if difference.after is not None else "(none)", 2_000)
    name = fit(difference.name, min(22, max(8, width // 3)))
    short = f"{before} → {after}"
    if len(short) <= width - len(name) - 5:
        return [line((f" {sign} ", role), name, " ", (before, "dim"), " → ", (after, "bold"))]
    rows = [line((f" {sign} ", role), clip(difference.name, width - 3))]
    rows += paragraph(before, width, "dim", first="     was ", most=4)
    return rows + paragraph(after, width, "bold", first="     now ", most=4)


def move_lines(detail: DeploymentDetail | None, width: int, onset: float | None, here: str) -> list[Text]:
    """Every pointer that moved in the fleet in the two hours before onset, newest first."""
    rows = [heading("Pointer moves in the fleet", width, "two hours before onset")]
    if detail is None or detail.loading:
        return [*rows, line(("… asking", "dim"))]
    if not detail.moves:
        return [*rows, line(("none", "dim"))]
    for move in detail.moves:
        rows += _move(move, width, onset, here)
    return rows


def _move(move: PointerMove, width: int, onset: float | None, here: str) -> list[Text]:
    before = f"{span(onset - move.at)} before" if onset is not None and onset >= move.at else ""
    mark = "▸" if move.deployment == here else " "
    what = f"{version_word(move.before)} → {version_word(move.after)}"
    by = f"by {plain(move.by, 40)}" if move.by else "by unknown"
    lead = f"{mark} {utc(move.at, seconds=False)} "
    body = f"{plain(move.deployment, 60)} @{plain(move.alias, 30)}  {what}  {by}{'  ' + before if before else ''}"
    return paragraph(body, width, "bold" if mark == "▸" else "", first=lead)


def version_lines(view: DeploymentView, detail: DeploymentDetail | None, width: int) -> list[Text]:
    """The versions, newest first: what the registry says of each, which one the pointer names, which one serves."""
    rows = [heading("Versions", width, plain(view.deployment.model, 60)), *state_of_detail(detail, width)]
    if detail is None:
        return rows
    if not detail.versions and not detail.loading and not detail.problem:
        return [*rows, line(("the registry has no versions of this model", "dim"))]
    serving = view.verdict.version if view.verdict else None
    for version in detail.versions:
        rows += _version(version, view, serving, width)
    return rows


def _version(version: ModelVersion, view: DeploymentView, serving: str | None, width: int) -> list[Text]:
    marks = []
    if version.version == view.registry_version:
        marks.append(f"@{plain(view.deployment.alias, 24)}")
    if version.version == serving:
        marks.append("serving")
    status_role = "ok" if version.status == "READY" else "warn"
    head = line(
        (fit(version_word(version.version), 6), "bold"),
        (fit(version.status, 20 if width >= 64 else 10), status_role),
        (f" {utc(version.created_at, date=True)} ", "dim"),
    )
    if marks:
        head.append(clip(" ".join(marks), max(4, width - head.cell_len)), "accent")
    rows = [head]
    tags = [f"{plain(k, 40)}={plain(v, 60)}" for k, v in version.tags]
    if tags:
        rows += paragraph(" ".join(tags), width, "dim", first="      ", most=3)
    if version.description:
        rows += paragraph(version.description, width, "dim", first="      ", most=2)
    return rows


def link_lines(view: DeploymentView, width: int) -> list[Text]:
    """The policy's links as text; a terminal that knows OSC 8 makes them clickable where the URL is a plain one."""
    rows = [heading("Links", width)]
    if not view.deployment.links:
        return [*rows, line(("the policy names none", "dim"))]
    for title, url in view.deployment.links:
        lead = fit(title, 12) + " "
        safe = safe_url(url)
        for index, row in enumerate(paragraph(url, width, "link", first=lead, most=4)):
            if safe:
                row.stylize(Style(link=safe), len(lead) if index == 0 else 0)
            rows.append(row)
    return rows


def safe_url(url: str) -> str | None:
    """`url` where it may go into an OSC 8 sequence: http(s), printable ASCII without spaces or controls; else None."""
    fine = url.startswith(("https://", "http://")) and len(url) <= 2_000
    return url if fine and all("!" <= char <= "~" for char in url) else None
