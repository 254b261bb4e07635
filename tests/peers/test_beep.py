"""The public samples of vendors' formats, as beep ships them: all of each is mapped, or named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from daq.protocol.exchange.convert import Result, imported
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.findings import Findings
from daq.protocol.exchange.formats import guess

STEPS = (b"Charge ", b"Dischrge", b" Rest ", b"Chg Func", b"FastWave")
"""What of a Maccor procedure does something; the rest are loops and counters."""

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
    Sample("schedule_templates/20170630-3_6C_9per_5C.sdu", "arbin", 15, 5, 0, 5),
    Sample("procedure_templates/EXP.000", "maccor", 13, 13, 5, 13),
    Sample("procedure_templates/diagnosticV1.000", "maccor", 47, 57, 1, 45),
    Sample("procedure_templates/diagnosticV2.000", "maccor", 47, 59, 1, 45),
    Sample("procedure_templates/diagnosticV3.000", "maccor", 62, 84, 10, 63),
    Sample("procedure_templates/diagnosticV4.000", "maccor", 62, 84, 10, 63),
    Sample("procedure_templates/diagnosticV5.000", "maccor", 62, 84, 0, 63),
    Sample("procedure_templates/BioTest_000001.000", "maccor", 62, 84, 0, 63),
    Sample("procedure_templates/drivingV1.000", "maccor", 60, 82, 2, 63),
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
    assert result.mistake is None
    for error in [*findings.refused, *exactly.refused]:
        assert error.place and error.place.line > 1 and error.message


def test_every_step_of_a_procedure_is_mapped_or_refused_and_none_is_lost(samples):
    """Counted in the file's own text."""
    for path in sorted((samples / "procedure_templates").glob("*.000")):
        kinds = re.findall(rb"<StepType>(.*?)</StepType>", path.read_bytes())
        doing = [kind for kind in kinds if any(word in kind + b" " for word in STEPS)]
        result, findings = converted(path, approximate=True)
        back = [error for error in findings.refused if "goes back" in error.message]
        assert result.steps + len(findings.refused) - len(back) == len(doing), path.name
