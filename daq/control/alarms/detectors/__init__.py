"""What a cell does that no limit forbids: small rules on rates of change. Alarms only.

Each is sans-I/O: it is given observations and says what is wrong, empty when nothing is. None
switches anything; the guard does that, on every sample, by its own rules. These look once a
second, and in lab time, so they are the same on a simulated bench that runs faster.
"""

from daq.control.alarms.detectors.availability import Availability
from daq.control.alarms.detectors.fade import Fade
from daq.control.alarms.detectors.runaway import Runaway
from daq.control.alarms.detectors.self_discharge import SelfDischarge
from daq.control.alarms.detectors.short import InternalShort

__all__ = ["Availability", "Fade", "InternalShort", "Runaway", "SelfDischarge"]
