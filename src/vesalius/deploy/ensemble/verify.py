"""Whether an ensemble's files are as they were, and its numbers follow from its predictions."""

from pathlib import Path

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.ensemble.evaluate import decision_options, score_mean
from vesalius.deploy.ensemble.folder import EnsembleFolder
from vesalius.evaluation.verification import Verification, check_hashes, compare_numbers, read_tables
from vesalius.runs.reading import describe_error
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint


def verify_ensemble(path: str | Path) -> Verification:
    """Check the hashes of an ensemble and of its members, and the metrics that follow from its own predictions.

    Raises:
        InputError: for a folder that is no ensemble, and for members whose files were changed.
    """
    ensemble, found = EnsembleFolder(path), Verification()
    members, metrics = [RunFolder(member) for member in ensemble.members], ensemble.metrics
    check_hashes(ensemble, found)
    facts = Facts.from_dict(load_checkpoint(members[0].best)["facts"])
    options = decision_options([one.config for one in members], ensemble.config.get("decision"), facts.task)
    tables = read_tables(ensemble.predictions, found, [split for split in ("val", "test") if metrics.get(split)])
    known = {name: table for name, table in tables.items() if name in ("val", "test")}
    if "val" not in known and "test" in known and "out_of_fold" in tables:
        known["val"] = tables["out_of_fold"].drop(columns="fold", errors="ignore")  # what the decision is fitted on
    if "val" in known:
        try:
            again = score_mean(known, facts, options)
        except (KeyError, ValueError, TypeError, IndexError, InputError) as error:
            found.problems.append(f"the predictions are not a table of this task: {describe_error(error)}")
            return found
        compare_numbers({part: value for part, value in metrics.items() if part != "schema"}, again, found)
    left = [part for part in ("members", "members_mean", "out_of_fold", "reference") if part in metrics]
    if left:
        found.notes.append(f"{', '.join(left)}: not computed again, which needs the members' own runs: verify those.")
    return found
