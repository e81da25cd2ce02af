"""What no single key of a scenario shows: names that refer to each other, moments behind the end, answers that are
none.

The checks read plain data, not models, so that a wrong name is said beside a wrong number, in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rollback_console.errors import Problem
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy.lint import nearest
from rollback_console.policy.quantities import format_duration, format_percentage, parse_duration, parse_percentage
from rollback_console.policy.scenario import LABELS, METRICS, Scenario
from rollback_console.policy.yaml_marks import Document, Loc

_LASTS_S = 3_600.0
_HITS_DEPLOYMENT = ("deployment", "exporter")


@dataclass(frozen=True, slots=True)
class _World:
    """The names that a scenario's world has, as far as they can be read."""

    deployments: dict[str, dict[str, Any]]  # environment/name -> as written
    dependencies: frozenset[str]

    def ids(self, name: object) -> list[str]:
        """The deployments of that name, or of that environment/name."""
        return [each for each in self.deployments if name in (each, each.partition("/")[2])]

    @property
    def known(self) -> list[str]:
        return [each.partition("/")[2] for each in self.deployments]


def check_scenario(document: Document) -> Iterator[Problem]:
    """Errors between the parts of a scenario file, whether or not each part is right by itself."""
    world = _world(document.data)
    yield from _deployments(document)
    yield from _renamed(document)
    yield from _timeline(document, world)
    yield from _right(document, world)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(parse: Callable[[object], float], value: object) -> float | None:
    """What a quantity says; None where it says nothing, which is a problem of its own."""
    try:
        return parse(value) if value is not None else None
    except ValueError:
        return None


def _world(data: dict[str, Any]) -> _World:
    found: dict[str, dict[str, Any]] = {}
    dependencies: set[str] = set()
    for item in map(_mapping, _list(_mapping(data.get("world")).get("deployments"))):
        found.setdefault(f"{item.get('environment', 'production')}/{item.get('name')}", item)
        dependencies.update(each for each in _list(item.get("depends_on")) if isinstance(each, str))
    return _World(found, frozenset(dependencies))


def _versions(deployment: dict[str, Any]) -> list[str]:
    """Newest first, as the file names them; what a deployment has that names none."""
    if "versions" not in deployment:
        return ["2", "1"]
    return [str(_mapping(each).get("version")) for each in _list(deployment["versions"])]


def _serving(deployment: dict[str, Any]) -> str:
    serves, versions = deployment.get("serves"), _versions(deployment)
    return str(serves) if serves is not None else versions[0] if versions else ""


def _deployments(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, item in enumerate(_list(_mapping(document.data.get("world")).get("deployments"))):
        loc: Loc = ("world", "deployments", index)
        item = _mapping(item)
        here = f"{item.get('environment', 'production')}/{item.get('name')}"
        if seen.setdefault(here, index) != index:
            what = f"{plain(here, 120)} stands twice, first as deployments[{seen[here]}]"
            yield document.problem((*loc, "name"), what, "Keep one of them")
        versions = _versions(item)
        for place, name in enumerate(versions):
            if name in versions[:place]:
                yield document.problem((*loc, "versions", place, "version"), f"version {plain(name, 40)} stands twice",
                                       "Keep one of them")  # fmt: skip
        if versions and (serving := _serving(item)) not in versions:
            yield document.problem((*loc, "serves"), f"there is no version {plain(serving, 40)}",
                                   nearest(serving, list(dict.fromkeys(versions)), "Its versions"))  # fmt: skip
        yield from _impossible(document, item, loc)


def _impossible(document: Document, item: dict[str, Any], loc: Loc) -> Iterator[Problem]:
    """Versions that cannot be as they are said to be."""
    serving = _serving(item)
    for place, raw in enumerate(_list(item.get("versions"))):
        version = _mapping(raw)
        if str(version.get("version")) == serving and version.get("never_served") is True:
            yield document.problem((*loc, "versions", place, "never_served"), "it serves at the start",
                                   "Take `never_served` out, or name another version in `serves:`")  # fmt: skip
        yield from too_much(document, item, version, (*loc, "versions", place))


def too_much(document: Document, deployment: dict[str, Any], said: dict[str, Any], loc: Loc) -> Iterator[Problem]:
    """Effects that would make more orders than visits, or more failures than requests."""
    for key, normal in (("conversion", 0.4), ("errors", 0.003), ("unsafe", 0.0)):
        base = _number(parse_percentage, deployment[key]) if key in deployment else normal
        by = _number(parse_percentage, said.get(key))
        if base is None or by is None:
            continue
        total = base * (1.0 + by) if key == "conversion" else base + by
        if total > 1.0 + 1e-9:
            what = f"makes it {format_percentage(round(total, 6))}, of a normal {format_percentage(base)}"
            yield document.problem((*loc, key), what, "A share is 100% at most")


def _renamed(document: Document) -> Iterator[Problem]:
    for key, known, what in (("metrics", METRICS, "metric"), ("labels", LABELS, "label")):
        words = _mapping(_mapping(document.data.get("world")).get(key))
        taken: dict[str, str] = {}
        for name, renamed in words.items():
            loc = ("world", key, name)
            if name not in known:
                line, column = document.of_key(loc)
                yield Problem(document.file, line, column, document.path(loc), f"the world has no such {what}",
                              nearest(name, list(known), f"Its {what}s"))  # fmt: skip
            elif not isinstance(renamed, str):
                continue
            elif (other := taken.setdefault(renamed, name)) != name or (renamed in known and renamed not in words):
                other = other if other != name else renamed
                yield document.problem(loc, f"{plain(renamed, 60)} is what {other} is called", "Give each its own name")


def _timeline(document: Document, world: _World) -> Iterator[Problem]:
    lasts = _number(parse_duration, document.data["lasts"]) if "lasts" in document.data else _LASTS_S
    needs = _list(document.data.get("needs"))
    for index, item in enumerate(_list(document.data.get("timeline"))):
        event, loc = _mapping(item), ("timeline", index)
        at = event.get("at")
        moment = _number(parse_duration, at)
        if lasts is not None and moment is not None and moment >= lasts:
            what = f"is behind the end: the drill lasts {format_duration(lasts)}"
            yield document.problem((*loc, "at"), what, "Write an earlier moment, or a longer `lasts:`")
        yield from _aimed(document, world, event, loc)
        if (flipped := event.get("flip")) is not None:
            yield from _existing(document, world, flipped, (*loc, "flip"))
            yield from _has_version(document, world, flipped, event.get("to"), (*loc, "to"))
            yield from _before(document, world, event, loc)
        if event.get("approver") is not None and "quorum" not in needs:
            yield document.problem((*loc, "approver"), "asks for a quorum, which this console does not have yet",
                                   "Write `needs: [quorum]`")  # fmt: skip


def _before(document: Document, world: _World, event: dict[str, Any], loc: Loc) -> Iterator[Problem]:
    """A flip before the start leaves the pointer where `serves` says that it stands."""
    at, to, found = event.get("at"), event.get("to"), world.ids(event.get("flip"))
    if not isinstance(at, str) or not at.strip().startswith("-") or to is None or len(found) != 1:
        return
    serving = _serving(world.deployments[found[0]])
    if str(to) != serving:
        yield document.problem((*loc, "to"), f"is before the start, at which {plain(serving, 40)} serves",
                               f"Write `serves: \"{plain(to, 40)}\"` in the deployment, or a later moment")  # fmt: skip


def _aimed(document: Document, world: _World, event: dict[str, Any], loc: Loc) -> Iterator[Problem]:
    """What a fault hits, and whether that can be."""
    kind, target = event.get("fault"), event.get("target")
    if not isinstance(target, str):
        return
    where = (*loc, "target")
    if kind in _HITS_DEPLOYMENT or (kind == "tracking" and target not in world.dependencies):
        yield from _existing(document, world, target, where)
        hit = [world.deployments[each] for each in world.ids(target)]
    elif kind in ("dependency", "tracking"):
        hit = [item for item in world.deployments.values() if target in _list(item.get("depends_on"))]
        if not hit:
            yield document.problem(where, f"no deployment depends on {plain(target, 80)}",
                                   nearest(target, sorted(world.dependencies), "What they depend on"))  # fmt: skip
    else:
        return
    for item in hit[:1] if kind != "tracking" else []:
        yield from too_much(document, item, event, loc)


def _existing(document: Document, world: _World, name: object, loc: Loc) -> Iterator[Problem]:
    """There is one deployment of that name."""
    if not isinstance(name, str):
        return
    found = world.ids(name)
    if not found:
        yield document.problem(loc, f"the world has no deployment {plain(name, 80)}",
                               nearest(name, world.known, "Its deployments"))  # fmt: skip
    elif len(found) > 1:
        yield document.problem(loc, f"{plain(name, 60)} is in more than one environment", f"Write {found[0]}")


def _has_version(document: Document, world: _World, name: object, version: object, loc: Loc) -> Iterator[Problem]:
    """The one deployment of that name has that version."""
    found = world.ids(name)
    if version is None or len(found) != 1:
        return
    known = _versions(world.deployments[found[0]])
    if str(version) not in known:
        yield document.problem(loc, f"{plain(found[0], 80)} has no version {plain(version, 40)}",
                               nearest(str(version), known, "Its versions"))  # fmt: skip


def _right(document: Document, world: _World) -> Iterator[Problem]:
    right = _mapping(document.data.get("right"))
    moved: dict[str, int] = {}
    for index, item in enumerate(_list(right.get("rollback"))):
        move, loc = _mapping(item), ("right", "rollback", index)
        name, to = move.get("deployment"), move.get("to")
        yield from _existing(document, world, name, (*loc, "deployment"))
        yield from _has_version(document, world, name, to, (*loc, "to"))
        for found in world.ids(name):
            if moved.setdefault(found, index) != index:
                yield document.problem((*loc, "deployment"), f"{plain(found, 80)} stands twice", "Keep one of them")
            if to is not None and str(to) == _serving(world.deployments[found]):
                yield document.problem((*loc, "to"), "serves at the start already", "Name the version to go back to")
    for index, name in enumerate(_list(right.get("leave"))):
        loc = ("right", "leave", index)
        yield from _existing(document, world, name, loc)
        if any(found in moved for found in world.ids(name)):
            yield document.problem(loc, "is to be rolled back as well", "Keep it in one of the two lists")


def warnings(document: Document, scenario: Scenario) -> Iterator[Problem]:
    """What is allowed and probably not meant, in a scenario that is right."""
    if not scenario.timeline and not any(
        version.moves or version.silent for item in scenario.world.deployments for version in item.versions
    ):
        yield document.problem(
            (), "nothing happens in it", "Write a `timeline:`, or how a version misbehaves", "warning"
        )
    for index, move in enumerate(scenario.right.rollback):
        for item in scenario.world.deployments:
            version = next((v for v in item.versions if v.version == move.to), None)
            if move.deployment not in (item.name, f"{item.environment}/{item.name}") or version is None:
                continue
            if (version.moves or version.silent) and version.from_ is None:
                yield document.problem(("right", "rollback", index, "to"), "this version misbehaves too",
                                       "Is it truly right to go back to it", "warning")  # fmt: skip
    for index, event in enumerate(scenario.timeline):
        if event.on is None and event.for_ is not None and event.at + event.for_ < 0 and event.flip is None:
            yield document.problem(("timeline", index, "for"), "it is over before the drill begins",
                                   "It may stay: the past is looked at too", "warning")  # fmt: skip
    if scenario.bands.recover > scenario.lasts and "recover" in scenario.bands.model_fields_set:
        yield document.problem(("bands", "recover"), f"is longer than the drill, {format_duration(scenario.lasts)}",
                               "Write a longer `lasts:`", "warning")  # fmt: skip
