"""docs/add-a-driver.md keeps its word: its files, put into the project, work as they stand."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from daq.bus.resource import parse_resource
from daq.driver import Chamber, find_driver, installed
from daq.labfile import InstrumentModel

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-driver.md"
FILES = ["drivers/my_chamber.py", "simulators/my_chamber.py", "tests/wire/test_my_chamber.py"]
SCRIPT = "look.py"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"# (\S+\.py)(, continued)?\n")


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(PAGE.read_text()) if kind == language]


def files() -> dict[str, str]:
    """The page's Python files, each put together from its pieces."""
    found: dict[str, str] = {}
    for text in blocks("python"):
        header = HEADER.match(text)
        assert header, f"a snippet does not say which file it belongs to: {text[:60]!r}"
        path, continued = header.groups()
        assert bool(continued) == (path in found), f"{path}: begun twice, or never"
        separator = "\n\n" if path.startswith("tests") else "\n"
        body = text[header.end() :]
        found[path] = f"{found[path]}{separator}{body}" if continued else body
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project plus the page's files, as a newcomer's working tree would be."""
    tree = tmp_path_factory.mktemp("newcomer")
    (tree / "daq").symlink_to(ROOT / "daq")
    for folder in ("drivers", "simulators", "tests", "tests/exchange", "tests/wire"):
        (tree / folder).mkdir()
        for entry in (ROOT / folder).iterdir():
            if not (tree / folder / entry.name).exists() and entry.name not in ("wire", "exchange"):
                (tree / folder / entry.name).symlink_to(entry)
    for path, text in files().items():
        assert not (tree / path).exists(), f"{path} is in the project already"
        (tree / path).write_text(text)
    return tree


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half of the time that it takes
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_new_instrument_is_three_files(project: Path) -> None:
    assert sorted(files()) == sorted([*FILES, SCRIPT])
    assert all((project / path).is_file() and not (project / path).is_symlink() for path in FILES)


def test_the_pages_own_tests_pass(project: Path) -> None:
    done = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", FILES[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^5 passed", done.stdout, re.MULTILINE), done.stdout


def test_the_pages_tests_fail_when_off_does_not_look(project: Path) -> None:
    """They would be worth nothing if a careless driver passed them."""
    path = project / FILES[0]
    careful = path.read_text()
    path.write_text(careful.replace("if found != mode:", "if False:"))
    try:
        done = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", FILES[2])
    finally:
        path.write_text(careful)
    assert re.search(r"^2 failed, 3 passed", done.stdout, re.MULTILINE), done.stdout


def test_the_script_prints_what_the_page_says(project: Path) -> None:
    done = run(project, SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == blocks("text")[0]


def test_the_pages_code_is_as_tidy_as_it_asks_for(project: Path) -> None:
    check = ["-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    terse = ["--ignore", "D1", *FILES, SCRIPT]
    done = run(project, *check, *terse)
    assert done.returncode == 0, done.stdout


def test_the_one_line_has_the_form_of_the_installed_ones(project: Path) -> None:
    (name, target), *others = tomllib.loads(blocks("toml")[0])["project"]["entry-points"][
        "daq.drivers"
    ].items()
    assert not others
    module, _, attribute = target.partition(":")
    code = f"from daq.driver import find_driver; print(find_driver({target!r}).__name__)"
    assert run(project, "-c", code).stdout.strip() == attribute
    assert module == f"drivers.{name}"
    assert all(value.startswith(f"drivers.{known}:") for known, value in installed().items())


def test_the_lab_files_entry_is_a_valid_one() -> None:
    (entry,) = YAML(typ="safe", pure=True).load(blocks("yaml")[0])["instruments"].values()
    model = InstrumentModel.model_validate(entry)
    assert parse_resource(model.resource).port == 10001


@pytest.mark.parametrize("name", ["binder", "espec"])
def test_the_chambers_that_the_page_points_to_are_installed(name: str) -> None:
    assert issubclass(find_driver(name), Chamber)
    assert f"../drivers/{name}.py" in PAGE.read_text()


def test_every_file_that_the_page_links_to_exists() -> None:
    links = re.findall(r"\]\((\.\./[^)]+)\)", PAGE.read_text())
    assert links
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []
