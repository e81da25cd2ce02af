"""What a code block of a runbook gives to run: its commands, without prompts and without the output below them."""

from __future__ import annotations

import re

# Languages whose text is something to run. An unlabelled block counts as shell: a fifth of all have no label.
_SHELL = frozenset({"sh", "bash", "shell", "zsh", "ksh", "fish", "dash"})
_SESSION = frozenset({"console", "shell-session", "shellsession", "sh-session", "session", "terminal", "term"})
_WHOLE = frozenset(
    {"powershell", "ps1", "pwsh", "cmd", "bat", "batch", "dos", "sql", "psql", "mysql", "python", "python3", "py"}
)

# What an unlabelled block holds when it is plainly data: JSON, XML, a manifest.
_DATA = re.compile(r"\s*(?:\{\s*[\"'\n}]|\[\s*[\[{\"\n\]]|<[?!/a-zA-Z]|apiVersion:)")

_DOLLAR = re.compile(r"^\s*(?:\([\w.-]{1,40}\) ?)?(?:[\w.-]{1,40}@[\w.-]{1,80}(?:[: ][\w./~-]{0,200})?)?[$%] +(?=\S)")
_HASH = re.compile(r"^\s*(?:[\w.-]{1,40}@[\w.-]{1,80}(?:[: ][\w./~-]{0,200})?)?# +(?=\S)")
_HOST_HASH = re.compile(r"^\s*[\w.-]{1,40}@[\w.-]{1,80}(?:[: ][\w./~-]{0,200})?# +(?=\S)")
# `# systemctl restart x` is a prompt where `# restart it` is a comment: told apart by the first word.
_KNOWN = re.compile(
    r"^\s*# +(?:sudo|systemctl|journalctl|service|kubectl|oc|helm|docker|podman|crictl|nerdctl|etcdctl|curl|wget|ssh"
    r"|scp|apt|apt-get|yum|dnf|mlflow|promtool|amtool|aws|gcloud|az|terraform|ansible|git|make|psql|mysql|redis-cli"
    r"|df|du|ls|cat|grep|ps|top|kill|mount|umount|ip|ss|dig|tcpdump|vault|consul|nomad|ceph|zpool|pvesh|nginx|tail)\s"
)
# A script rather than a list of commands: to run one line of it alone would be wrong.
_SCRIPT = re.compile(
    r"<<-?[ \t]*['\"]?\w"
    r"|^[ \t]*(?:for|while|until|if|case|function|do|done|then|else|fi|esac|\{|\}|\||&&|\|\|)(?:\s|;|$)"
    r"|[|({][ \t]*$|\(\)[ \t]*\{|^[ \t]+\S",
    re.MULTILINE,
)


def commands(content: str, language: str) -> tuple[str, ...]:
    """The commands of one code block, in order. `language` is lower case, "" where the block has no label.

    With prompts, only the lines that carry one are commands, and the rest is their output. Without, every line is one
    (a trailing backslash joins the next), unless the block is a script: then it is one command as a whole.
    """
    if language in _WHOLE:
        text = content.strip("\n")
        return (text,) if text.strip() else ()
    if language and language not in _SHELL and language not in _SESSION:
        return ()
    if not language and _DATA.match(content[:200]):
        return ()
    lines = content.split("\n")
    prompted = _prompted(lines, language)
    if prompted is not None:
        return prompted
    if _SCRIPT.search(_without_continuations(lines)) or _open_quote(content):
        return (content.strip("\n").rstrip(),)
    return tuple(_join(lines))


def _prompted(lines: list[str], language: str) -> tuple[str, ...] | None:
    """The lines behind prompts, or None where the block has no prompts."""
    filled = [line for line in lines if line.strip()]
    dollar = any(_DOLLAR.match(line) for line in filled)
    # `#` alone is a prompt in a session, or where nothing else would be left to run; else it begins a comment.
    every = not dollar and bool(filled) and all(_HASH.match(line) for line in filled)
    found: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        match = _DOLLAR.match(line) or _HOST_HASH.match(line)
        if match is None and (language in _SESSION or every or (not dollar and _KNOWN.match(line))):
            match = _HASH.match(line)
        index += 1
        if match is None:
            continue
        parts = [line[match.end() :].rstrip()]
        while parts[-1].endswith("\\") and index < len(lines):
            parts.append(re.sub(r"^> ", "", lines[index]).rstrip())
            index += 1
        found.append("\n".join(parts))
    return tuple(found) if found else None


def _without_continuations(lines: list[str]) -> str:
    """The lines that begin a command: indentation after a trailing backslash does not make a script."""
    return "\n".join(
        line for index, line in enumerate(lines) if index == 0 or not lines[index - 1].rstrip().endswith("\\")
    )


def _open_quote(content: str) -> bool:
    """A quote that spans lines: some line has an odd number of one kind outside the other."""
    for line in content.split("\n"):
        quote = ""
        escaped = False
        for char in line:
            if escaped:
                escaped = False
            elif char == "\\" and quote != "'":
                escaped = True
            elif quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "#":
                break
        if quote:
            return True
    return False


def _join(lines: list[str]) -> list[str]:
    """Logical lines: comments and blanks gone, trailing backslashes joined."""
    found: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index].strip()
        index += 1
        if not line or line.startswith("#"):
            continue
        parts = [line]
        while parts[-1].endswith("\\") and index < len(lines):
            parts.append(lines[index].rstrip())
            index += 1
        found.append("\n".join(parts))
    return found
