"""The site builds without a warning, and holds what the program says, once."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgan.commands.main import COMMANDS, parser_of
from jaxgan.config import Config
from jaxgan.config.preset_files import preset_files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    said = [line for line in done.stderr.splitlines() if line.startswith(("WARNING", "ERROR"))]
    assert done.returncode == 0 and not said, done.stderr[-3000:]
    return folder


def text_of(site, page):
    from html import unescape

    return unescape(re.sub(r"<[^>]+>", "", (site / page / "index.html").read_text()))


def test_every_command_flag_and_field_is_there(site):
    commands, configuration = text_of(site, "reference/commands"), text_of(site, "reference/configuration")
    missing = [
        flag for name in COMMANDS for flag in parser_of(name).flags() if flag not in commands and "-h" not in flag
    ]
    assert not missing
    assert not [field for field in Config().fields() if field not in configuration]
    assert "auto|never|CHECKPOINT" in commands and "runs/<preset>-<time>" in commands
    presets = text_of(site, "reference/presets")
    assert all(name in presets for name in preset_files())


def test_the_home_page_is_the_readme_and_its_links_lead_somewhere(site):
    assert "A resume is exact." in text_of(site, "")
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text()):
            if re.match(r"[a-z]+:", link) or link.startswith("//") or page.name == "404.html":
                continue
            target = (page.parent / link).resolve()
            assert target.exists(), f"{page.relative_to(site)}: {link}"


def test_no_page_needs_the_network(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)', page.read_text())
        assert not [address for address in loaded if "canonical" not in address], page


def messages():
    """What the program may say: the constant parts of all strings in the source, one string a line."""
    found = []
    for path in (ROOT / "jaxgan").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_the_messages_of_the_troubleshooting_page_are_those_of_the_program():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert len(quoted) > 20
    said = messages()
    for message in quoted:
        parts = [part.strip() for part in message.split("…")]
        assert max(map(len, parts)) >= 8, message
        unknown = [part for part in parts if len(part) > 3 and part not in said]
        assert not unknown, f"{message}: the program does not say {unknown}"
