"""One self-contained HTML page: no script, nothing from anywhere else, good on paper.

Whatever comes from people (names, metadata, reasons) is escaped. A policy in the page itself
forbids everything but its own style and its own pictures.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from daq.report.identity import identity
from daq.report.pictures import pictures
from daq.report.style import data_uri
from daq.report.summary import Summary
from daq.report.tables import NONE, Table, moment, tables

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.45 system-ui, sans-serif; color: #222; max-width: 1080px;
       margin: 2em auto; padding: 0 1em; background: #fff; }
h1 { font-size: 1.6em; margin-bottom: 0; }
h2 { font-size: 1.15em; margin: 2em 0 .4em; border-bottom: 1px solid #ddd; }
p.lead { color: #666; margin: .2em 0 1.5em; }
p.note { color: #555; font-size: .9em; margin: .4em 0; }
figure { margin: 0; } img { max-width: 100%; height: auto; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9em; }
th, td { padding: .2em .7em; text-align: right; vertical-align: top; white-space: nowrap; }
th { border-bottom: 1px solid #999; font-weight: 600; vertical-align: bottom; white-space: normal; }
tr:nth-child(even) td { background: #f6f6f6; }
.word { text-align: left; }
table.facts td { white-space: normal; overflow-wrap: anywhere; text-align: left; }
table.facts td:first-child { color: #666; white-space: nowrap; }
td:last-child.word { white-space: normal; min-width: 14em; }
@media screen and (max-width: 720px) {
  figure { overflow-x: auto; } figure img { max-width: none; width: 720px; }
}
@media print {
  body { margin: 0; max-width: none; font-size: 10px; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
  div.wide { overflow: visible; } th, td { padding: .15em .4em; }
}
"""


def write_page(summary: Summary, out: Path) -> Path:
    """Write the page; what stood there is replaced."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(summary), encoding="utf-8")
    return out


def page(summary: Summary) -> str:
    """The page of a run."""
    facts = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in identity(summary)
    )
    parts = [f'<table class="facts">{facts}</table>']
    parts += [_picture(*one) for one in pictures(summary)]
    parts += [table_html(table) for table in tables(summary)]
    lead = f"Run {summary.data.run}, {outcome(summary)}, {_span(summary)}"
    return whole(summary.data.cell or summary.data.run, lead, parts)


def outcome(summary: Summary) -> str:
    """How the run went, in a word."""
    return str(summary.data.facts.get("outcome") or "running")


def _span(summary: Summary) -> str:
    begun, ended = (summary.data.facts.get(f"{name}_utc_s") for name in ("started", "ended"))
    words = [moment(float(at)) if at is not None else NONE for at in (begun, ended)]
    return f"{words[0]} to {words[1]} UTC"


def whole(title: str, lead: str, parts: list[str]) -> str:
    """A page from parts that are HTML already; title and lead are text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n'
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _picture(title: str, caption: str, figure: object) -> str:
    note = f'<p class="note">{escape(caption)}</p>' if caption else ""
    return (
        f"<h2>{escape(title)}</h2>\n<figure>"
        f'<img alt="{escape(title)}" src="{data_uri(figure)}"></figure>\n{note}'
    )


def table_html(table: Table) -> str:
    """A table with its title and its note."""
    head = "".join(_cell("th", text, n in table.words) for n, text in enumerate(table.headings))
    body = "".join(
        "<tr>"
        + "".join(_cell("td", text, n in table.words) for n, text in enumerate(row))
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<h2>{escape(table.title)}</h2>\n<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>\n{note}"
    )


def _cell(tag: str, text: str, word: bool) -> str:
    kind = ' class="word"' if word else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"
