"""The history of production: which version was put there when, by whom and why.

It lives as one tag of the registered model, so that every workspace and machine that shares the registry reads the
same one. The version that a rollback returns to is derived from it: promotions are stacked, a rollback takes the top
one off.
"""

import getpass
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

TAG = "deepfake.history"
MOST_EVENTS = 200
"""Older events leave the tag; the reports of the decisions remain."""


class Event(BaseModel):
    """A change of production.

    Attributes:
        action: ``promote``, ``rollback``, or ``external`` for an alias that somebody moved by hand.
        version: the version that is in production from now on.
        at: time in UTC, ISO 8601.
        by: user and machine.
        reason: why.
        forced: whether the gate had refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["promote", "rollback", "external"]
    version: str
    at: str
    by: str
    reason: str = ""
    forced: bool = False


_EVENTS = TypeAdapter(tuple[Event, ...])


def parse_history(text: str | None) -> tuple[Event, ...]:
    """Return the events that the tag holds, oldest first."""
    return _EVENTS.validate_json(text) if text else ()


def dump_history(events: Iterable[Event]) -> str:
    """Return the latest events as the tag's text."""
    return _EVENTS.dump_json(tuple(events)[-MOST_EVENTS:]).decode()


def reconcile(events: tuple[Event, ...], production: str | None) -> tuple[Event, ...]:
    """Return the history with what happened outside: an alias ``production`` that somebody moved by hand."""
    stack = production_stack(events)
    if production is None or (stack and stack[-1] == production):
        return events
    return (*events, Event(action="external", version=production, at=now(), by="unknown", reason="found so"))


def production_stack(events: Iterable[Event]) -> list[str]:
    """Return the versions that a chain of rollbacks would go through; the last one is in production."""
    stack: list[str] = []
    for event in events:
        if event.action == "rollback":
            stack = stack[:-1]
        if not stack or stack[-1] != event.version:
            stack.append(event.version)
    return stack


def previous_version(events: Iterable[Event]) -> str | None:
    """Return the version that a rollback would put into production."""
    stack = production_stack(events)
    return stack[-2] if len(stack) > 1 else None


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def who() -> str:
    """Return ``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
