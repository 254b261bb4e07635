"""The few of many inputs that reach all that the many reach.

    python -m tests.fuzz.distil FOLDER

takes what `tests.fuzz.engine` left in FOLDER and adds to each target's corpus the inputs that
execute lines which no committed one does, smallest first, a few at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets import CORPUS, TARGETS, run, seeds

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / name) for name in ("daq", "drivers", "simulators"))
MOST_NEW = 12
LARGEST = 1000  # bytes
MOST_CANDIDATES = 150

Line = tuple[str, int]


def lines_of(name: str, data: bytes) -> set[Line]:
    """The lines of ours that an input executes."""
    reached: set[Line] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if not file.startswith(OURS):
            return None
        reached.add((file, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        run(name, data)
    finally:
        sys.settrace(None)
    return reached


def distil(name: str, found: Path) -> int:
    """Add to one target's corpus; how many."""
    reached: set[Line] = set()
    for seed in seeds(name):
        reached |= lines_of(name, seed.read_bytes())
    contents = sorted({file.read_bytes() for file in found.iterdir()}, key=len)
    added = 0
    for data in contents[:MOST_CANDIDATES]:
        if len(data) > LARGEST or added == MOST_NEW:
            break
        new = lines_of(name, data) - reached
        if new:
            reached |= new
            (CORPUS / name / f"reaches-{sha1(data).hexdigest()[:8]}").write_bytes(data)
            added += 1
    return added


if __name__ == "__main__":
    for target in TARGETS:
        folder = Path(sys.argv[1]) / target
        if folder.is_dir():
            print(target, distil(target, folder), flush=True)
