"""The public samples of vendors' formats, as beep ships them: all of each is mapped, or named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from daq.protocol.exchange.convert import Result, imported
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.findings import Findings
from daq.protocol.exchange.formats import guess

FIND = """
import importlib.util, pathlib
found = importlib.util.find_spec("beep")
print(pathlib.Path(found.origin).parent / "protocol")
"""


@dataclass(frozen=True)
class Sample:
    """A file, and what comes of it: with approximations steps, changes and refusals; and refusals
    without."""

    file: str
    kind: str
    steps: int
    changed: int = 0
    refused: int = 0
    refused_exactly: int = 0


SAMPLES = [
    Sample("biologic_templates/formationV1.mps", "biologic", 13),
    Sample(
        "biologic_templates/BCS - 171.64.160.115_Ta19_ourprotocol_gdocSEP2019_CC7.mps",
        "biologic",
        46,
    ),
    Sample("schedule_templates/20170630-3_6C_9per_5C.sdu", "arbin", 14, 5, 0, 5),
]


@pytest.fixture(scope="session")
def samples(peer) -> Path:
    return Path(peer("beep").run(FIND).strip())


def converted(path: Path, *, approximate: bool) -> tuple[Result, Findings]:
    content = path.read_bytes()
    findings = Findings(approximate)
    task = Task(path.name, findings, capacity_Ah=1.1)
    return imported(content, guess(content, path.name), task), findings


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file.rpartition("/")[2])
def test_a_public_sample_is_mapped_or_refused_by_name(sample, samples, figure):
    path = samples / sample.file
    assert guess(path.read_bytes(), path.name) == sample.kind
    result, findings = converted(path, approximate=True)
    figure(f"steps of {path.name}", result.steps, "steps")
    came_to = (result.steps, len(findings.changed), len(findings.refused))
    assert came_to == (sample.steps, sample.changed, sample.refused)
    _, exactly = converted(path, approximate=False)
    assert len(exactly.refused) == sample.refused_exactly
    for error in [*findings.refused, *exactly.refused]:
        assert error.place and error.place.line > 1 and error.message
