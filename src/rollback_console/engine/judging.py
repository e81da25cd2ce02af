"""Judging afterwards, done: signed, over nobody's head, and told to the registry where a version is to blame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.engine.acting import Acting
from rollback_console.errors import BackendError, InputError, Refused, UsageError
from rollback_console.journal.kinds import Body, FollowedUp, Intent, Judged, Outcome, Tagged, Told
from rollback_console.journal.locks import ExecutionLock
from rollback_console.model.identity import DeploymentId
from rollback_console.model.judgement import (
    CAUSES,
    COUNTS_AS,
    GATES,
    MARGINS,
    RIGHT,
    Docket,
    FollowUp,
    Judgement,
    Subject,
    WantedTag,
)
from rollback_console.model.message import Message, Template
from rollback_console.model.operator import Permission
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.execute.protocol import Driver

_LONGEST = 4_000  # characters of one answer
_MOST = 50  # lessons, or deviations, of one judgement
_LISTED = "`rollback-console judge --list` names what can be judged"
_SAID = (
    "root_cause",
    "right",
    "counts_as",
    "expected",
    "actual",
    "deviations",
    "margins",
    "gate",
    "lessons",
    "published",
)


class Judging(Acting):
    """The part of `engine.acts.Acts` that judges. Every judgement and follow-up is a signed entry."""

    causes: Sequence[str] = CAUSES  # set, like the next two, by whoever put the console together
    gates: Sequence[str] = GATES
    templates: Sequence[Template] = ()
    _drivers: Mapping[str, Driver]

    async def docket(self) -> Docket:
        """What can be judged, what was made of it, what waits. Looking: needs no permission."""
        from rollback_console.review.docket import docket

        return await self._do(lambda: docket(self._journal, self.causes, self.gates))

    async def judge(self, judgement: Judgement) -> Judgement:
        """Write a judgement down. `supersedes` must name the last one on its subject (0: there is none), so that nobody
        overwrites what they have not seen: Refused, with the entry to read, where it does not. What the registry is to
        know of it is set at once where there is one; what could not be set stays pending."""
        found = await self.docket()
        subject = find_subject(found, judgement.subject)
        await self._may_judge("judging", subject.deployments)
        said = self._checked(replace(judgement, subject=subject.id))
        _follows(found.judgement(said.subject), said)
        body = Judged.model_validate({
            **{name: getattr(said, name) for name in _SAID}, "subject": said.subject, "supersedes": said.supersedes,
            "deviations": list(said.deviations), "lessons": list(said.lessons),
        })  # fmt: skip
        from rollback_console.review.judgements import last

        def still() -> None:
            _follows(last(self._journal).get(said.subject), said)

        await self._append_if(body, subject, still)
        await self._set([tag for tag in (await self.docket()).pending if tag.subject == said.subject])
        return await self._do(lambda: last(self._journal)[said.subject])

    async def follow_up(self, subject: str, what: str, owner: str, due: str) -> FollowUp:
        """Something to do, by whom and until which day (2026-12-24)."""
        about = find_subject(await self.docket(), subject)
        await self._may_judge("judging", about.deployments)
        if not what.strip() or not owner.strip():
            raise InputError("a follow-up says what is to be done, and who does it", "give --follow-up and --owner")
        name = f"fu-{self._random.getrandbits(32):08x}"
        body = FollowedUp(
            event="opened", id=name, incident=about.id, what=_text(what), owner=_text(owner, 100), due=_day(due)
        )
        await self._append_if(body, about, lambda: None)
        return next(each for each in (await self.docket()).follow_ups if each.id == name)

    async def end_follow_up(self, follow_up: str, reason: str = "", *, dropped: bool = False) -> FollowUp:
        """It is done, or dropped with a reason."""
        found = await self.docket()
        known = next((each for each in found.follow_ups if each.id == follow_up), None)
        if known is None:
            raise UsageError(f"no follow-up {plain(follow_up, 60)} was opened in this journal", _LISTED)
        if known.state != "open":
            raise Refused(f"{known.id} is {known.state} already, by {known.ended_by or 'somebody'}", _LISTED)
        if dropped and not reason.strip():
            raise InputError("dropping a follow-up needs a reason", "say why it is no longer needed")
        about = found.subject(known.incident)
        await self._may_judge("judging", about.deployments if about is not None else ())
        body = FollowedUp(
            event="dropped" if dropped else "done", id=known.id, incident=known.incident, what=known.what,
            owner=known.owner, due=known.due, reason=_text(reason),
        )  # fmt: skip
        await self._append_if(body, about, lambda: None)
        return next(each for each in (await self.docket()).follow_ups if each.id == known.id)

    async def set_tags(self) -> tuple[tuple[WantedTag, str], ...]:
        """Set every tag that is pending; each with "" or why it is still pending."""
        pending = (await self.docket()).pending
        await self._may_judge("judging", [tag.deployment for tag in pending])
        return await self._set(pending)

    async def drafts(self, incident: str) -> tuple[Message, ...]:
        """What could be told of an incident now, by every template there is. Looking: needs no permission."""
        from rollback_console.review.case import case_of
        from rollback_console.review.messages import SHIPPED, drafts, with_own

        def make() -> tuple[Message, ...]:
            return drafts(case_of(self._journal, incident), with_own(SHIPPED, self.templates))

        return await self._do(make)

    async def told(self, message: Message, how: str, to: str = "") -> None:
        """Somebody copied, wrote out or sent a message: word for word into the journal."""
        await self._gate("telling", Permission.NOTE, None)
        body = Told.model_validate({
            "incident": message.incident, "template": message.template, "audience": message.audience,
            "text": message.text, "how": how, "to": to,
        })  # fmt: skip
        await self._append(body, "")

    # -- how ---------------------------------------------------------------------------------------------------------

    def _checked(self, said: Judgement) -> Judgement:
        """With the words of this team, and nothing that is only white space. Raises InputError."""
        from rollback_console.review.causes import chosen

        found = replace(
            said,
            root_cause=chosen("root cause", said.root_cause, self.causes, "causes"),
            gate=chosen("validation gate", said.gate, self.gates, "gates"),
            expected=_text(said.expected), actual=_text(said.actual), published=_text(said.published),
            deviations=_texts(said.deviations), lessons=_texts(said.lessons),
        )  # fmt: skip
        for name, value, words in (
            ("right", found.right, RIGHT), ("counts as", found.counts_as, COUNTS_AS),
            ("margins", found.margins, MARGINS),
        ):  # fmt: skip
            if value and value not in words:
                raise InputError(f"{name}: {plain(value, 40)!r} is none of the answers", f"say {', '.join(words)}")
        if not any(getattr(found, name) for name in _SAID):
            raise InputError("the judgement says nothing", "answer at least one question, such as --root-cause")
        return found

    async def _may_judge(self, act: str, deployments: Sequence[DeploymentId]) -> None:
        """Gate it in every environment that it is about; of nothing known, in all of the fleet's."""
        about = list(deployments) or list(self.engine.index)
        for deployment in {name.environment: name for name in about}.values():
            await self._gate(act, Permission.JUDGE, deployment)

    async def _append_if(self, body: Body, subject: Subject | None, look: Callable[[], None]) -> None:
        """Sign, then look once more and write, in one turn of the journal's thread."""
        only = subject.deployments if subject is not None else ()
        deployment = str(only[0]) if len(only) == 1 else ""
        signed = await self._signed(body, deployment)

        def write() -> None:
            # Held from the look to the append: another process on this journal may judge the same this moment.
            path, about = Path(self.engine.options.journal_path), subject.id if subject is not None else ""
            lock = ExecutionLock(path, f"judgement of {about}") if path.is_file() else None
            if lock is not None and not lock.try_acquire("judging"):
                raise Refused("somebody else writes a judgement on it this moment", "look at theirs first, then again")
            try:
                look()
                self._journal.append(signed, deployment=deployment, operator=self._operator)
            finally:
                if lock is not None:
                    lock.release()

        await self._do(write)
        self._seen()

    async def _set(self, tags: Sequence[WantedTag]) -> tuple[tuple[WantedTag, str], ...]:
        """Each version's tags: the intent first, then the registry, then what came of it. Setting one that is set
        already changes nothing, so that a crash in between is mended by doing it again."""
        versions: dict[tuple[str, str], list[WantedTag]] = {}
        for tag in tags:
            versions.setdefault((tag.model, tag.version), []).append(tag)
        done: list[tuple[WantedTag, str]] = []
        for mine in versions.values():
            problem = await self._set_version(mine)
            done.extend((tag, problem) for tag in mine)
        return tuple(done)

    async def _set_version(self, tags: Sequence[WantedTag]) -> str:
        """Set one version's tags; "" or why not."""
        first = tags[0]
        driver = self._driver_of(first.deployment)
        if driver is None:
            return "no registry is at hand"
        where, words = str(first.deployment), ", ".join(f"{tag.key} = {tag.value}" for tag in tags)
        run = f"judgement-{first.subject}"
        detail = f"v{first.version} of {first.model}: {words}"
        await self._append(Intent(execution=run, step="tag", detail=detail), where)
        try:
            await driver.mark(first.model, first.version, tuple((tag.key, tag.value) for tag in tags))
        except BackendError as error:
            await self._append(Outcome(execution=run, step="tag", state="failed", detail=str(error)), where)
            return str(error)
        for tag in tags:
            body = Tagged(model=tag.model, version=tag.version, key=tag.key, value=tag.value, subject=tag.subject)
            await self._append(body, where)
        return ""

    def _driver_of(self, deployment: DeploymentId) -> Driver | None:
        index = self.engine.index.get(deployment)
        paths = self.engine.rules[index].recovery if index is not None else ()
        return next((self._drivers[path.driver] for path in paths if path.driver in self._drivers), None)


def find_subject(found: Docket, name: str) -> Subject:
    """The subject that is named, also by an unmistakable beginning of its id."""
    if (subject := found.subject(name)) is not None:
        return subject
    begun = [each for each in found.subjects if len(name) > 3 and each.id.startswith(name)]
    if len(begun) != 1:
        what = "no incident, execution or move is called" if not begun else "several begin with"
        raise UsageError(f"{what} {plain(name, 60)}", _LISTED)
    return begun[0]


def _follows(known: Judgement | None, said: Judgement) -> None:
    """Raises Refused where it does not name the last judgement on its subject."""
    seq = known.seq if known is not None else 0
    if said.supersedes == seq:
        return
    if known is None:
        raise Refused(f"{said.subject} has no judgement that could be superseded", "leave --supersedes out")
    look = f"read it (`rollback-console judge {said.subject} --show`), then name it: --supersedes {seq}"
    raise Refused(f"{known.by or 'somebody'} judged {said.subject} in entry {seq}", look)


def _text(text: str, limit: int = _LONGEST) -> str:
    words = text.strip()
    if len(words) > limit:
        raise InputError(f"{plain(words, 40)!r} has {len(words):,} characters, more than {limit:,}", "say it shorter")
    return words


def _texts(texts: Sequence[str]) -> tuple[str, ...]:
    found = tuple(words for text in texts if (words := _text(text)))
    if len(found) > _MOST:
        raise InputError(f"{len(found)} of them are more than {_MOST}", "say fewer")
    return found


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise InputError(f"--due {plain(text, 40)!r} is no day", "write it as 2026-12-24") from None
