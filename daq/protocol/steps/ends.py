"""Which conditions can end which kinds of steps: quantity, and True for `>=`.

A condition that holds from the beginning would end its step at once, and is in none of these.
"""

from daq.protocol.condition import MOVED, Quantity
from daq.protocol.site import Ends

_BOTH = (True, False)
_SURROUNDINGS: Ends = frozenset(
    (quantity, at_least)
    for quantity in (Quantity.TEMPERATURE, Quantity.CHAMBER, Quantity.SENSOR)
    for at_least in _BOTH
)
_GROWING: Ends = frozenset(
    (quantity, True)
    for quantity in Quantity
    if quantity in MOVED or (quantity.startswith(("cycle.", "run.")))
)

EVER: Ends = (
    _SURROUNDINGS
    | _GROWING
    | {(Quantity.TIME, True), (Quantity.DROP, True)}
    | {(Quantity.SLOPE, at_least) for at_least in _BOTH}
    | {(Quantity.WARMING, at_least) for at_least in _BOTH}
)
"""What may end a step of any kind that moves charge."""
EITHER_WAY: Ends = EVER | {(Quantity.CURRENT, False), (Quantity.POWER, False)}
"""What may end a step at a current."""
SETTLING: Ends = EITHER_WAY | {(Quantity.SOC, at_least) for at_least in _BOTH}
"""What may end a step at a voltage."""
ANYTHING: Ends = (
    SETTLING
    | {(Quantity.VOLTAGE, at_least) for at_least in _BOTH}
    | {(quantity, True) for quantity in (Quantity.CURRENT, Quantity.POWER)}
)
"""What may end a step whose values go up and down."""
RESTING: Ends = (
    _SURROUNDINGS
    | {(Quantity.VOLTAGE, at_least) for at_least in _BOTH}
    | {(Quantity.SLOPE, False), (Quantity.WARMING, False), (Quantity.RUN_TIME, True)}
    | {(Quantity.CYCLE_TIME, True), (Quantity.TIME, True)}
)
"""What may end a rest."""
