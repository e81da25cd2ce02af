"""What stakeholders are told: templates with places to fill, and the messages made of them."""

from __future__ import annotations

from rollback_console.model.value import dataclass

AUDIENCES = ("internal", "external")
# What a template may have filled in, and what stands there. In external wording nobody is named, and no machine.
PLACEHOLDERS = {
    "time": "when the facts were read: 2026-11-20 14:06 UTC",
    "incident": "the incident's id, to refer to",
    "state": "`going on` or `over`",
    "since": "when it began",
    "duration": "how long it has lasted, or lasted",
    "decision": "what was decided, and what was done so far",
    "scope": "what is affected",
    "expected": "when what comes next is expected",
    "risk": "the quantified risk: users, and inside also money, with its total",
    "cause": "where it likely comes from",
    "detected": "when it was noticed",
    "decided": "when it was decided, or `not yet`",
    "recovered": "when it was over, or `not yet`",
    "next_update": "when the next message is due; `none: it is over`",
    "users": "users affected so far",
    "revenue": "revenue lost so far; outside only where a template asks for it by this name",
}
INTERNAL = {
    "deployments": "environment/name of each deployment",
    "versions": "from which version to which",
    "commander": "who commands the incident",
    "responders": "who worked on it",
    "evidence": "the sentences with their numbers on which it was decided",
    "advice": "what the console advises",
    "links": "the policy's links, for the first deployment",
    "journal": "which entries of the journal tell of it, and the hash of the last",
}


@dataclass(frozen=True, slots=True)
class Template:
    """Wording with places to fill. `text` is as written: `{name}` is filled, `{{` and `}}` are braces; `file` is where
    it was read from, "" for one that comes with the console."""

    name: str
    audience: str  # one of AUDIENCES
    text: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it would be sent."""

    incident: str
    template: str
    audience: str
    text: str
