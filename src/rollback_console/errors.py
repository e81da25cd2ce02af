"""Every error this program raises on purpose.

::

    ConsoleError                 a sentence, a next step, an exit code
    ├── InputError               2  something a person wrote is wrong
    │   ├── UsageError           2  a command's words
    │   └── FileProblems         2  a file's lines: several at once, each a Problem with file:line:column
    ├── BackendError             3  a backend could not be reached or made no sense
    │   ├── BackendUnreachable   3  no connection, no answer in time
    │   ├── BackendRefused       3  401, 403, or the backend says the request is wrong
    │   └── BackendNonsense      3  HTML, half a document, a redirect, too large
    ├── NotAuthorized            4  a rule said no; it is named, and who could allow it
    ├── Refused                  5  a precheck or a lock said no
    │   ├── PreflightFailed      5
    │   ├── LockHeld             5
    │   └── WorldChanged         5  the pointer is not where the plan says
    └── JournalError             1
        ├── JournalUnwritable    1  nothing may be executed: its intent could not be recorded
        │   └── JournalBusy      1  another process holds the file, and whoever asked does not wait
        ├── OtherEngine          1  a decision that an engine made which decides otherwise than this program
        └── JournalBroken        1  the chain does not verify

Inside the engine an error is a value (a blind reading, a failed check, a `Refusal`); these are raised at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass


class ConsoleError(Exception):
    """What went wrong in one line, and what to do about it. `str()` gives both."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}: {self.next_step}" if self.next_step else self.message


class InputError(ConsoleError):
    exit_code = 2


class UsageError(InputError):
    pass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where (line and column from 1, path as `deployments[2].labels`), what, the remedy."""

    file: str
    line: int
    column: int
    path: str
    message: str
    remedy: str = ""
    severity: str = "error"  # error | warning

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what}" + (f". {self.remedy}" if self.remedy else "")


class FileProblems(InputError):
    """All that is wrong with a file, at once, in the order of its lines."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class BackendError(ConsoleError):
    exit_code = 3


class BackendUnreachable(BackendError):
    pass


class BackendRefused(BackendError):
    pass


class BackendNonsense(BackendError):
    pass


class NotAuthorized(ConsoleError):
    exit_code = 4


class Refused(ConsoleError):
    exit_code = 5


class PreflightFailed(Refused):
    pass


class LockHeld(Refused):
    pass


class WorldChanged(Refused):
    pass


class JournalError(ConsoleError):
    exit_code = 1


class JournalUnwritable(JournalError):
    pass


class OtherEngine(JournalError):
    pass


class JournalBusy(JournalUnwritable):
    pass


class JournalBroken(JournalError):
    pass
