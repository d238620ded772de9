"""A model card's Markdown as HTML: headings, paragraphs, lists, tables, code; all else stands as it is written."""

from __future__ import annotations

import html
import re

_SPANS = ((r"`([^`]+)`", r"<code>\1</code>"), (r"\*\*([^*]+)\*\*", r"<strong>\1</strong>"))


def to_html(text: str, level: int = 2) -> str:
    """Converts the Markdown that cards are written in; HTML in it is shown, not obeyed.

    Args:
      text: the card.
      level: added to the level of headings, so that "#" fits below the page's own.

    Returns:
      HTML without scripts, links or pictures.
    """
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # front matter
    parts = []
    for i, part in enumerate(re.split(r"^```.*\n((?:.*\n)*?)```$", text, flags=re.MULTILINE)):
        if i % 2:
            parts.append(f"<pre>{html.escape(part.rstrip())}</pre>")
        else:
            blocks = (block.strip("\n").splitlines() for block in re.split(r"\n\s*\n", part.strip()))
            parts += [_block(lines, level) for lines in blocks if lines]
    return "\n".join(parts)


def _block(lines: list[str], level: int) -> str:
    first = lines[0]
    if heading := re.match(r"(#{1,6})\s+(.*)", first):
        size = min(6, len(heading[1]) + level)
        rest = _block(lines[1:], level) if len(lines) > 1 else ""
        return f"<h{size}>{_inline(heading[2])}</h{size}>\n{rest}"
    if first.lstrip().startswith("|"):
        return _table([line for line in lines if line.lstrip().startswith("|")])
    if re.match(r"\s*[-*]\s", first):
        items = re.split(r"(?m)^\s*[-*]\s+", "\n".join(lines))[1:]
        return "<ul>" + "".join(f"<li>{_inline(' '.join(item.split()))}</li>" for item in items) + "</ul>"
    return f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    ruled = len(rows) > 1 and all(re.fullmatch(r":?-+:?", cell) for cell in rows[1])
    head, body = (rows[0], rows[2:]) if ruled else ([], rows)
    parts = []
    if any(head):
        parts.append("<tr>" + "".join(f"<th>{_inline(cell)}</th>" for cell in head) + "</tr>")
    parts += ["<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return '<div class="scroll"><table>' + "".join(parts) + "</table></div>"


def _inline(text: str) -> str:
    text = html.escape(re.sub(r"!?\[([^\]]*)\]\(([^)]*)\)", r"\1 (\2)", text))
    for pattern, replacement in _SPANS:
        text = re.sub(pattern, replacement, text)
    return text
