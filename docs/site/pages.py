"""What mkdocs adds to the pages of `docs/` (a hook of mkdocs.yml), so that no fact is written down twice.

The README is the home page; the references are made from the parsers, the dataclasses and the presets; notebooks become
pages; and files that a page links to outside `docs/` come along as they are.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from jaxgan.commands import flags
from jaxgan.commands.main import COMMANDS, parser_of
from jaxgan.config import Config
from jaxgan.config.fields import sections
from jaxgan.config.preset_files import preset_files
from jaxgan.config.presets import load_config, variants_of

ROOT = Path(__file__).resolve().parents[2]
# Pages that are files outside docs/.
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
_LINK = re.compile(r'(\]\(|src=")([^)"#\s]+)(#[^)"]*)?(\)|")')


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages and what is linked to; called by mkdocs."""
    from mkdocs.structure.files import File

    def add(uri: str, **source: Any) -> None:
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, **source))

    for uri, name in PAGES.items():
        add(uri, content=(ROOT / name).read_text(encoding="utf-8"))
    for uri, page in (("commands", commands_page), ("configuration", configuration_page), ("presets", presets_page)):
        add(f"reference/{uri}.md", content=page())
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        add(f"notebooks/{notebook.stem}.md", content=notebook_page(notebook))
    for file in list(files.documentation_pages()):
        for _, link, _, _ in _LINK.findall(file.content_string):
            target = _target(file.src_uri, link)
            if target and target.startswith("source/"):
                add(target, abs_src_path=str(ROOT / target.removeprefix("source/")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Leads links to where their targets lie in the site; called by mkdocs."""
    uri = page.file.src_uri

    def lead(match: re.Match[str]) -> str:
        target = _target(uri, match[2])
        if target is None:
            return match[0]
        return f"{match[1]}{posixpath.relpath(target, posixpath.dirname(uri) or '.')}{match[3] or ''}{match[4]}"

    return _LINK.sub(lead, markdown)


def _target(uri: str, link: str) -> str | None:
    """The place in the site of what a page links to; None for the web, and for what is not there (mkdocs warns)."""
    if re.match(r"[a-z+]+:", link):
        return None
    place = posixpath.normpath(posixpath.join(posixpath.dirname(PAGES.get(uri, f"docs/{uri}")), link))
    for page, name in PAGES.items():
        if place == name:
            return page
    if place.startswith("docs/") and not place.startswith("docs/site/"):
        return place.removeprefix("docs/")
    return f"source/{place}" if (ROOT / place).is_file() else None


def commands_page() -> str:
    """Every command with its flags, from the parsers."""
    os.environ["COLUMNS"] = "100"  # argparse's own way to be told.
    parts = ["# Commands", "From the parsers: what `jaxgan COMMAND --help` says."]
    for name, (_, about) in COMMANDS.items():
        parser = parser_of(name)
        parts += [f"## jaxgan {name}", f"{about[0].upper()}{about[1:]}.", *_usage(parser), parser.description or ""]
        if name == "train":
            parts.append("Config fields are flags as well: see [configuration](configuration.md).")
        parts += _flags(parser)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for kind, sub in action.choices.items():
                    parts += [f"### jaxgan {name} {kind}", f"{sub.description or ''}", *_usage(sub), *_flags(sub)]
    return "\n\n".join(parts) + "\n"


def _usage(parser: flags.ArgumentParser | argparse.ArgumentParser) -> list[str]:
    usage = parser.format_usage().removeprefix("usage: ").strip()
    return ["```text\n" + re.sub(r"\n\s+", "\n    ", usage) + "\n```"]


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    rows = ["| flag | what |", "|---|---|"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
        flag = " ".join(part for part in (", ".join(action.option_strings), str(value)) if part) or action.dest
        text = parser._get_formatter()._expand_help(action) if action.help else ""
        if action.required:
            text = f"required; {text}"
        elif action.default not in (None, False, "", argparse.SUPPRESS) and "default" not in text and action.choices:
            text = f"{text} (default: {action.default})"
        rows.append(f"| {_code(flag)} | {_cell(text)} |")
    return ["\n".join(rows)] if len(rows) > 2 else []


def configuration_page() -> str:
    """Every field with its meaning, type and default, from the dataclasses."""
    parts = [
        "# Configuration",
        "From the dataclasses that check it. Any field is a flag, `--config.SECTION.FIELD=VALUE`, and a key of a"
        " preset's JSON or YAML file. Defaults are those of the classes: a preset sets others"
        " ([presets](presets.md)), and `--dry_run` prints what holds.",
    ]
    for section in sections():
        rows = ["| field | type | default |", "|---|---|---|"]
        rows += [
            f"| `{name}` | {_cell(kind)} | `{_cell(default)}` |" for name, (kind, default) in section.fields.items()
        ]
        parts += [f"## {section.name or 'All of it'}", section.prose, "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def presets_page() -> str:
    """Every preset: what its file says of itself, and what each variant sets."""
    parts = ["# Presets", "Each as its file describes itself, then what its variants set other than the defaults."]
    default = Config().fields()
    for name, path in preset_files().items():
        parts += [f"## {name}", ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""]
        for variant in variants_of(name):
            found = load_config(f"{name}:{variant}").fields()
            lines = [f"{field}={value}" for field, value in found.items() if value != default[field]]
            parts.append(
                f'??? note "{name}:{variant}"\n\n    ```text\n' + "".join(f"    {line}\n" for line in lines) + "    ```"
            )
    return "\n\n".join(parts) + "\n"


def notebook_page(path: Path) -> str:
    """A notebook's cells as a page, with a link to the notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    parts.insert(1, f"Download it: [{path.name}]({path.name}).")
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    # Between backticks Python-Markdown takes a bar for no column's end, and a backslash for itself.
    return f"`{text}`"
