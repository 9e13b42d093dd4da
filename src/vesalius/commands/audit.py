"""`python -m vesalius.commands.audit DIR`: audit the data of the frozen config in DIR."""

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from vesalius.config.build import build
from vesalius.config.checks import check_config
from vesalius.config.errors import RunFailed
from vesalius.data.audit.audit import NOT_COVERED, Audit, run_audit
from vesalius.data.audit.datamodule import AuditData
from vesalius.data.audit.findings import check_names
from vesalius.data.audit.page import audit_page
from vesalius.data.datamodules.summary import print_data
from vesalius.launch.worker import enter, leave
from vesalius.runs.run_folder import RunFolder, write_atomically, write_json
from vesalius.terminal import command_console, command_table

COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def audit(path: Path) -> None:
    """Print what was found, and write it as JSON and as a page."""
    with RunFolder(path).discard_if_refused() as folder:
        failures = _audit(folder)
    if failures:
        raise RunFailed(failures)


def _audit(folder: RunFolder) -> list[str]:
    """Audit the data set and write the results; the failures of `audit.fail_on`."""
    config = folder.config
    check_names(config["audit"]["fail_on"], "audit.fail_on")
    check_config(config)
    data: AuditData = build(config["data"], "data")
    data.on_split = print_data(data.source)
    data.setup()
    result = run_audit(data.audit_input, config["audit"]["fail_on"], full=True)
    write_json(folder.path / "audit.json", result.report)
    title = f"Audit: {folder.path.parent.name.removeprefix('audit_')}"
    write_atomically(folder.path / "audit.html", audit_page(data.audit_input, result, title))
    console = command_console()
    _print(result, console)
    console.print(f"Page: {folder.path / 'audit.html'}", soft_wrap=True, highlight=False, markup=False)
    return result.failures


def _print(result: Audit, console: Console) -> None:
    """One row per finding, then the checks that found nothing, and what was not checked."""
    report, findings = result.report, result.findings
    console.print(f"{report['samples']} samples of {report['groups']} patients", style="bold")
    if findings:
        table = command_table()
        table.add_column("severity")
        table.add_column("check", no_wrap=True)
        table.add_column("count", justify="right")
        table.add_column("what, and what to do", overflow="fold")
        for finding in findings:
            severity = Text(finding.severity, style=COLOURS[finding.severity])
            table.add_row(severity, finding.check, str(finding.count), Text(finding.message))
        console.print(table)
    clean = [name for name in report["checked"] if name not in {finding.check for finding in findings}]
    missing = [f"{name} ({why})" for name, why in report["not_checked"].items()]
    lines = {"Nothing found by": ", ".join(clean), "Not checked": "; ".join(missing)}
    lines["Not covered"] = "; ".join(NOT_COVERED)
    for title, text in lines.items():
        if text:
            console.print(f"{title}: {text}.", style="dim", highlight=False, markup=False)


if __name__ == "__main__":
    leave(enter(audit, sys.argv[1:]))
