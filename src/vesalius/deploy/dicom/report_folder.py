"""A folder of reports, one for each study of the input."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra
from vesalius.deploy.inputs import InputFile
from vesalius.deploy.predictor import Predictor


class ReportFolder:
    """Where the DICOM objects of an input are written to.

    Args:
        path: of a folder that is new or empty.
        options: `explain`, the method of heat maps that are written too, None for none; `explain_target`, their target.

    Raises:
        InputError: for one that holds files, or where the package that writes reports is not installed.
    """

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        self.path, self._options = path, options
        import_extra("highdicom", f"reports={path}")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"reports={path} exists already: name a new folder, or empty it.")
        if not path.parent.is_dir():
            raise InputError(f"reports={path}: there is no folder {path.parent}: create it.")

    def write(self, model: Predictor, files: Sequence[InputFile], table: pd.DataFrame) -> list[str]:
        """Write a report for each study.

        Args:
            model: that predicted.
            files: the inputs.
            table: what was predicted for them, row by row.

        Returns:
            One sentence for what was written, and one where inputs are in no report.

        Raises:
            InputError: if no input can be reported.
        """
        from vesalius.deploy.dicom.heat_maps import build_heat_maps
        from vesalius.deploy.dicom.model_description import ModelDescription
        from vesalius.deploy.dicom.reports import build_reports

        reports, problems = build_reports(ModelDescription.of(model), files, table)
        if not reports:
            raise InputError([f"reports={self.path}: there is nothing to report.", *problems[:1]])
        method, target = self._options["explain"], self._options["explain_target"]
        maps = [] if method is None else build_heat_maps(model, files, table, method, target)
        self.path.mkdir(exist_ok=True)
        for kind, objects in (("report", reports), ("heat_map", maps)):
            for number, one in enumerate(objects, 1):
                one.save_as(self.path / f"{kind}_{number}.dcm", enforce_file_format=True)
        missing = f"{len(problems)} input(s) are in no report: {problems[0]}" if problems else ""
        drawn = f", and {len(maps)} heat map(s)," if maps else ""
        return [f"Reports of {len(reports)} study(ies){drawn} are in: {self.path}", *[missing] * bool(missing)]
