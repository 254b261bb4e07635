"""Alarms: what somebody must look at, told once, with its root, until it is over.

Anybody may raise one from any thread; that takes an append to a deque and never waits. The
supervisor's loop drains it into the book, which joins what belongs together, and what comes of
that goes into the journal as events. See docs/alarms.md.
"""

from daq.control.alarms.alarm import Alarm, Place, State
from daq.control.alarms.alarms import Alarms
from daq.control.alarms.causes import Cause

__all__ = ["Alarm", "Alarms", "Cause", "Place", "State"]
