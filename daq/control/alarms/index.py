"""`python -m daq.control.alarms.index`: the table of all runbooks, from the rules and the pages."""

from __future__ import annotations

from pathlib import Path

from daq.control.alarms.causes import RULES, Cause, Rule

FOLDER = Path(__file__).parents[3] / "docs" / "runbooks"
_HEAD = """# Runbooks

One page for each cause of an alarm: what it means, what the daemon has done already, what you do
now, when to call whom, how it ends. Every alarm carries the link to its page. Replace `A1`, `17`
and the like by what the alarm says; see [alarms.md](../alarms.md) for how alarms work.

A **page** is for a person, now. A **ticket** is for tomorrow.

<!-- made by python -m daq.control.alarms.index -->

| cause | severity | in maintenance | is over |
|---|---|---|---|
"""


def text() -> str:
    """The page."""
    return _HEAD + "".join(_row(cause) for cause in Cause)


def _row(cause: Cause) -> str:
    rule = RULES[cause]
    heard = "heard all the same" if rule.always_heard else "suppressed"
    link = f"[{cause.value}]({cause.value}.md)"
    return f"| {link} | {rule.severity.value} | {heard} | {_end(cause, rule)} |\n"


def _end(cause: Cause, rule: Rule) -> str:
    if rule.momentary:
        return "when acknowledged"
    return "when cleared" if cause.value.startswith("trip-") else "by itself"


def write() -> None:
    """Write it."""
    (FOLDER / "README.md").write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    write()
