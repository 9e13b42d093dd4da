"""The audit as one HTML page: findings, and the pairs in question side by side; no network, no path, no name."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from PIL import Image

from vesalius.data.audit.audit import NOT_COVERED, to_json
from vesalius.data.audit.checks import Audited
from vesalius.data.audit.duplicates import middle_images
from vesalius.data.audit.findings import CHECKS, Finding

_PAIRS, _SAMPLES = 24, 12
_PIXELS = 112
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem }
table { border-collapse: collapse } td, th { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top }
.error { color: #b3261e } .warning { color: #a15c00 } .note, .dim { color: #616e7c }
.pairs { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; font-size: 12px; max-width: 250px }
figure img { width: 112px; image-rendering: pixelated; margin-right: 4px; background: #000 }
"""


def audit_page(audited: Audited, findings: Sequence[Finding], title: str) -> str:
    """The page as text.

    Args:
        audited: for the pictures.
        findings: of the audit, in the order to show them.
        title: of the page.
    """
    told = to_json(audited, findings, full=True)
    splits = ", ".join(f"{name} {count}" for name, count in told["splits"].items())
    clean = [name for name in told["checked"] if name not in {finding.check for finding in findings}]
    missing = "; ".join(f"{CHECKS[name]} ({why})" for name, why in told["not_checked"].items())
    rows = {name: row for row, name in enumerate(audited.ids)}
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<meta name='viewport' content='width=device-width'><title>{escape(title)}</title><style>{_STYLE}</style>",
        f"</head><body><h1>{escape(title)}</h1>",
        f"<p>{told['samples']} samples of {told['groups']} patients ({splits}).</p>",
        _summary(findings),
        *(_section(audited, finding, rows) for finding in findings),
        f"<h2>Nothing found</h2><p>{escape(', '.join(CHECKS[name] for name in clean)) or 'No check was clean.'}</p>",
        f"<h2>Not looked for</h2><p>{escape(missing)}.</p>" if missing else "",
        f"<h2>Not covered</h2><p class='dim'>No check here can see {escape('; '.join(NOT_COVERED))}.</p></body></html>",
    ]
    return "\n".join(parts)


def _summary(findings: Sequence[Finding]) -> str:
    cells = [(finding.severity, finding.check, finding.count) for finding in findings]
    lines = [
        f"<tr><td class='{grave}'>{grave}</td><td>{check}</td><td>{count}</td></tr>" for grave, check, count in cells
    ]
    return f"<table><tr><th></th><th>check</th><th>how many</th></tr>{''.join(lines)}</table>" if lines else ""


def _section(audited: Audited, finding: Finding, rows: dict[str, int]) -> str:
    pairs = [
        _figure(
            audited,
            [rows[a], rows[b]],
            f"{_named(audited, rows[a])}, {_named(audited, rows[b])}: {alike:.3f}",
        )
        for a, b, alike in finding.pairs[:_PAIRS]
    ]
    singles = [_figure(audited, [rows[name]], name) for name in finding.samples[:_SAMPLES] if name in rows]
    if finding.check == "text_in_pixels":  # the text may be a name, and a page is passed on more easily than images
        singles = [f"<p>{escape(', '.join(finding.samples))}: not shown here.</p>"]
    return (
        f"<h2 class='{finding.severity}'>{escape(CHECKS[finding.check])}</h2><p>{escape(finding.message)}</p>"
        f"<div class='pairs'>{''.join(pairs + singles)}</div>"
    )


def _named(audited: Audited, row: int) -> str:
    return f"{audited.ids[row]} ({audited.split[row] or 'in no split'})"


def _figure(audited: Audited, rows: list[int], caption: str) -> str:
    images = "".join(f"<img alt='' src='{_data_uri(audited, row)}'>" for row in rows)
    return f"<figure>{images}<br>{escape(caption)}</figure>"


def _data_uri(audited: Audited, row: int) -> str:
    """A small PNG, stretched to its own range of grey."""
    image = middle_images(audited.store, torch.tensor([row]))[0].to(torch.float32).numpy()
    low, high = float(image.min()), float(image.max())
    scaled = np.rint((image - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    picture = Image.fromarray(scaled.transpose(1, 2, 0) if len(scaled) == 3 else scaled[0])
    picture.thumbnail((_PIXELS, _PIXELS))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
