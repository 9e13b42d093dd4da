"""The audit as one HTML page: findings, and the images in question side by side; no network, no path, no name."""

import base64
import io
from html import escape

import numpy as np
import torch
from PIL import Image

from vesalius.data.audit.audit import NOT_COVERED, Audit
from vesalius.data.audit.audit_input import AuditInput
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


def audit_page(data: AuditInput, audit: Audit, title: str) -> str:
    """The page as text.

    Args:
        data: gives the images.
        audit: a full audit of it.
        title: of the page.
    """
    report, findings = audit.report, audit.findings
    splits = ", ".join(f"{name} {count}" for name, count in report["splits"].items())
    clean = [CHECKS[name] for name in report["checked"] if name not in {finding.check for finding in findings}]
    missing = "; ".join(f"{CHECKS[name]} ({why})" for name, why in report["not_checked"].items())
    rows = {name: row for row, name in enumerate(data.ids)}
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<meta name='viewport' content='width=device-width'><title>{escape(title)}</title><style>{_STYLE}</style>",
        f"</head><body><h1>{escape(title)}</h1>",
        f"<p>{report['samples']} samples of {report['groups']} patients ({splits}).</p>",
        _summary(findings),
        *(_section(data, finding, rows) for finding in findings),
        f"<h2>Nothing found</h2><p>{escape(', '.join(clean)) or 'Every check found something.'}</p>",
        f"<h2>Not checked</h2><p>{escape(missing)}.</p>" if missing else "",
        f"<h2>Not covered</h2><p class='dim'>No check here finds {escape('; '.join(NOT_COVERED))}.</p></body></html>",
    ]
    return "\n".join(parts)


def _summary(findings: list[Finding]) -> str:
    cells = [(finding.severity, finding.check, finding.count) for finding in findings]
    lines = [
        f"<tr><td class='{grave}'>{grave}</td><td>{check}</td><td>{count}</td></tr>" for grave, check, count in cells
    ]
    return f"<table><tr><th></th><th>check</th><th>how many</th></tr>{''.join(lines)}</table>" if lines else ""


def _section(data: AuditInput, finding: Finding, rows: dict[str, int]) -> str:
    pairs = [
        _figure(data, [rows[a], rows[b]], f"{_caption(data, rows[a])}, {_caption(data, rows[b])}: {alike:.3f}")
        for a, b, alike in finding.pairs[:_PAIRS]
    ]
    singles = [_figure(data, [rows[name]], name) for name in finding.samples[:_SAMPLES] if name in rows]
    if finding.check == "text_in_pixels":  # the text may be a name, and a page is passed on more easily than images
        singles = [f"<p>{escape(', '.join(finding.samples))}: not shown here.</p>"]
    return (
        f"<h2 class='{finding.severity}'>{escape(CHECKS[finding.check])}</h2><p>{escape(finding.message)}</p>"
        f"<div class='pairs'>{''.join(pairs + singles)}</div>"
    )


def _caption(data: AuditInput, row: int) -> str:
    return f"{data.ids[row]} ({data.split[row] or 'in no split'})"


def _figure(data: AuditInput, rows: list[int], caption: str) -> str:
    images = "".join(f"<img alt='' src='{_data_uri(data, row)}'>" for row in rows)
    return f"<figure>{images}<br>{escape(caption)}</figure>"


def _data_uri(data: AuditInput, row: int) -> str:
    """A small PNG, stretched to its own range of grey."""
    image = data.store.middle_frames(torch.tensor([row]))[0].to(torch.float32).numpy()
    low, high = float(image.min()), float(image.max())
    scaled = np.rint((image - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    picture = Image.fromarray(scaled.transpose(1, 2, 0) if len(scaled) == 3 else scaled[0])
    picture.thumbnail((_PIXELS, _PIXELS))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
