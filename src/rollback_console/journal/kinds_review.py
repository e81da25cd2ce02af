"""Kinds that are written afterwards: judgements, follow-ups, what stakeholders were told, tags in a registry."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rollback_console.journal.body import Body, Free, Name, PersonSignature


class Judged(Body):
    """What a person made of an incident, an execution or a move afterwards. A later one on the same subject supersedes
    an earlier one and erases nothing."""

    kind = "judgement"
    subject: Name  # an incident's or an execution's id, or `move:SEQ` of the pointer or adopt entry
    root_cause: Name = ""  # one of `review.causes.CAUSES`, or the team's own word; "": not known yet
    right: Literal["", "right", "wrong", "cannot tell"] = ""  # was rolling back, or not rolling back, right?
    counts_as: Literal["", "unplanned", "planned", "mistake"] = ""  # how rates take its move; "": as recorded
    expected: Free = ""  # what was expected to come of it
    actual: Free = ""
    deviations: list[Free] = Field(default_factory=list)  # from the plan, with reasons
    margins: Literal["", "held", "too tight", "too wide"] = ""
    gate: Name = ""  # which validation gate would have caught the cause
    lessons: list[Free] = Field(default_factory=list)
    published: Free = ""  # where the analysis stands; "": nowhere yet
    supersedes: int = 0  # seq of the judgement that this one replaces; 0: the first on its subject
    person: PersonSignature | None = None


class FollowedUp(Body):
    """Something to do that came out of an incident, or its end."""

    kind = "follow-up"
    event: Literal["opened", "done", "dropped"]
    id: Name
    incident: Name
    what: Free
    owner: Name = ""
    due: Name = ""  # a day, 2026-12-24
    reason: Free = ""
    person: PersonSignature | None = None


class Told(Body):
    """A message to stakeholders, word for word: copied by a person, or sent."""

    kind = "message"
    incident: Name
    template: Name
    audience: Literal["internal", "external"]
    text: Free
    how: Literal["copied", "written", "sent"]
    to: Free = ""


class Tagged(Body):
    """A tag of a model version in the registry was set, so that who finds it there knows why it was rolled back."""

    kind = "tag"
    model: Name
    version: Name
    key: Name
    value: Free
    subject: Name  # of the judgement it tells of
