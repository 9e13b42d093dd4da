"""`python -m vesalius.commands.audit DIR`: look the data over that the frozen config in DIR names."""

import sys
from pathlib import Path

from vesalius.config.build import build
from vesalius.config.errors import InputError, RunFailed
from vesalius.config.targets import check_config
from vesalius.data.audit.audit import NOT_COVERED, full_audit, gate, to_json
from vesalius.data.audit.datamodule import AuditData
from vesalius.data.audit.findings import Finding, check_names
from vesalius.data.audit.page import audit_page
from vesalius.evaluation.tables import make_console
from vesalius.runs.folder import RunFolder, write_atomically, write_json
from vesalius.runs.process import enter

COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def audit(path: Path) -> None:
    """Print what was found, and write it as JSON and as a page."""
    folder = RunFolder(path)
    try:
        findings = _audit(folder)
    except InputError:
        folder.discard()
        raise
    refused = gate(findings, folder.config["audit"]["fail_on"])
    if refused:
        raise RunFailed(
            f"audit.fail_on: {', '.join(dict.fromkeys(finding.check for finding in refused))} found something."
        )


def _audit(folder: RunFolder) -> list[Finding]:
    config = folder.config
    check_names(config["audit"]["fail_on"], "audit.fail_on")
    check_config(config)
    data: AuditData = build(config["data"], "data")
    data.setup()
    audited = data.audited
    findings = full_audit(audited)
    write_json(folder.path / "audit.json", to_json(audited, findings))
    title = f"Audit: {folder.path.parent.name.removeprefix('audit_')}"
    write_atomically(folder.path / "audit.html", audit_page(audited, findings, title))
    console = make_console()
    console.print(f"{len(audited.table)} samples of {audited.table['group_id'].nunique()} patients", style="bold")
    for finding in findings:
        console.print(f"[{COLOURS[finding.severity]}]{finding.severity}[/] [bold]{finding.check}[/]", highlight=False)
        console.print(f"  {finding.message}", highlight=False, markup=False)
    if not findings:
        console.print("No check found anything.")
    console.print(f"Not covered: {'; '.join(NOT_COVERED)}.", style="dim", highlight=False, markup=False)
    console.print(f"Page: {folder.path / 'audit.html'}", soft_wrap=True, highlight=False, markup=False)
    return findings


if __name__ == "__main__":
    sys.exit(enter(audit, sys.argv[1:]))
