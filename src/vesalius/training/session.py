"""A training in four steps: prepare the data, check them, build the model, fit it."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from vesalius.config.build import build, build_named
from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError, RunFailed, VesaliusError
from vesalius.data.audit.audit import run_audit
from vesalius.data.audit.audit_input import AuditInput
from vesalius.data.audit.findings import check_names
from vesalius.data.datamodules.acquired import training_acquisition
from vesalius.data.datamodules.base import ImageDataModule
from vesalius.data.datamodules.skipped import write_skipped
from vesalius.data.splits.file import split_hash, write_split
from vesalius.launch.worker import rank
from vesalius.metrics.baselines.principal_components import MAX_TRAIN
from vesalius.models.family import FamilyModule
from vesalius.models.nets.lora import merge_lora
from vesalius.runs.provenance.code import code_version
from vesalius.runs.provenance.origin import provenance
from vesalius.runs.reading import describe_error
from vesalius.runs.run_folder import DIFF, PROVENANCE, SPLIT, RunFolder, write_atomically, write_json
from vesalius.terminal import command_console
from vesalius.training.checkpoints import CheckpointMetadata, check_size, check_weights, load_initial
from vesalius.training.frozen_features import KeepFeatures, load_features
from vesalius.training.history import EpochProgress, History
from vesalius.training.position import EpochPosition
from vesalius.training.rank_consistency import RankConsistency, killed_rank
from vesalius.training.resuming import Start
from vesalius.training.rng_state import RngState
from vesalius.training.sample_grids import SampleGrids
from vesalius.training.setting_errors import setting_error
from vesalius.training.stopping import PruneOnRequest, ValidateAtMaxSteps
from vesalius.training.tracking.base import TrackEpochs, Tracker, trackers_of

logger = logging.getLogger("vesalius")

#: Loads a function from images (B, C, H, W) in 0..1 to features (B, F), and F.
LoadFeatures = Callable[[], tuple[Callable[[Tensor], Tensor], int]]


class Session:
    """One training run: `prepare_data`, `check`, `build_model`, `fit`, in this order.

    Creating it seeds the random generators and builds loggers, trainer and datamodule; no sample is read yet.

    Args:
        folder: of the run; a run that was stopped is continued.

    Attributes:
        dry_run: `trainer.fast_dev_run`: a few steps are tried, and nothing is audited, tracked or evaluated.
        data: the datamodule.
        fingerprint: of the data, once they are prepared.
        model: once it is built.
        last: the checkpoint from which training goes on; None for a run that begins.
    """

    fingerprint: str
    model: FamilyModule

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.config = folder, folder.config
        self.dry_run = bool(self.config["trainer"].get("fast_dev_run"))
        pl.seed_everything(self.config["seed"], workers=True, verbose=False)
        tracked = rank() == 0 and not self.dry_run
        self._loggers = list(build_named(self.config["logger"], "logger").values()) if tracked else []
        self._start = Start(folder, self.config)
        self.last, self._stopped = self._start.path, self._start.content
        self._metadata, self._ranks, self._track = CheckpointMetadata(), RankConsistency(), TrackEpochs()
        self._trainer = self._build_trainer()
        init_from = self.config["init_from"]
        self._initial = None if init_from is None else load_initial(RunFolder(init_from).best)
        self._weights: list[dict[str, Any]] = []
        self.data: ImageDataModule = build(self.config["data"], "data")

    @property
    def trackers(self) -> list[Tracker]:
        """The dashboards that follow this run; none on other ranks than the first."""
        return trackers_of(self._loggers)

    def _build_trainer(self) -> pl.Trainer:
        callbacks = [
            self._ranks,
            RngState(),
            EpochPosition(),
            ValidateAtMaxSteps(),
            History(),
            EpochProgress(),
            SampleGrids(),
            KeepFeatures(),
            self._track,
            self._metadata,
            *build_named(self.config["callbacks"], "callbacks").values(),
            PruneOnRequest(),
        ]
        trainer: pl.Trainer = build(
            self.config["trainer"],
            "trainer",
            callbacks=callbacks,
            logger=self._loggers,
            default_root_dir=str(self.folder.path),
        )
        return trainer

    def prepare_data(self) -> None:
        """List, split and decode the samples."""
        check_names(self.config["audit"]["fail_on"], "audit.fail_on")
        split, written = self._start.split, self._start.written_split()
        if split.exists() or (self.last is not None and written is None):
            self.data.reuse_split(split, written)  # a resumed run keeps its patients in their splits
        self.data.setup()
        if self.last is not None and not split.exists():
            if split_hash(self.data.split) != written:
                raise InputError(f"{split} is gone, and these data are split otherwise now: take it from a backup.")
            logger.warning("split.csv was gone, and is written again: the samples are in the same splits as before.")
        self.fingerprint = self.data.source.fingerprint()
        self._start.check_data(self.fingerprint)

    def check(self) -> None:
        """Run the quick audit and the checks of `audit.fail_on`, before time is spent on training.

        Raises:
            RunFailed: where a check of `audit.fail_on` found something, or could not be run.
        """
        if rank() != 0 or self.dry_run:
            return
        real, path = self.data.real_store, self.folder.path / "audit.json"
        audit_input = AuditInput(real.table, real, self.data.source, train_classes=self.data.train_classes)
        audit = run_audit(audit_input, self.config["audit"]["fail_on"])
        write_json(path, audit.report)
        for finding in audit.findings:
            level = logging.INFO if finding.severity == "note" else logging.WARNING
            logger.log(level, "audit: %s: %s", finding.check, finding.message)
        if audit.failures:
            raise RunFailed([*audit.failures, f"{path} has the details."])

    def build_model(self, features: LoadFeatures | None = None) -> None:
        """Build the model for these data.

        Args:
            features: what a generator's images are compared in after each epoch; None for the model's own choice.

        Raises:
            InputError: for a `monitor.name` that the model does not log for these data.
        """
        if self.last is not None:
            check_size(self._stopped["state_dict"], self.config["model"], self.data.facts)
        self.model = build(self.config["model"], "model", facts=self.data.facts)
        if features is not None:
            self.model.set_feature_extractor(features)
        check_monitor(self.config["monitor"]["name"], self.model)
        if self.last is not None:
            check_weights(self._stopped["state_dict"], self.model)
            self._weights = self._stopped["provenance"].get("weights") or []
            self._stopped = self._start.content = {}  # Lightning reads the file again

    def load_start(self, model: FamilyModule) -> None:
        """Give a new model what it starts from: pretrained weights, those of `init_from`, what is fitted to data."""
        record = model.load_pretrained()
        self._weights = [] if record is None else [record.to_dict()]
        model.initialize(lambda: self.data.pixels(self.data.spread_rows("train", MAX_TRAIN)))
        if self._initial is not None:
            self._weights += self._initial["provenance"].get("weights") or []
            skipped = model.load_initial(merge_lora(self._initial["state_dict"]))
            if skipped:
                command_console(stderr=True).print(f"init_from: these weights stay as they were: {', '.join(skipped)}")
        device = self._trainer.strategy.root_device
        load_features(model.to(device), self.data)
        model.fit_start(self.data.loader, device)

    def fit(self) -> None:
        """Train, from the last checkpoint where there is one; provenance and split are written first.

        Raises:
            InputError: for a setting that only the first steps show to be impossible.
        """
        if self.last is None:
            self.load_start(self.model)
        code = code_version()
        origin = provenance(
            code=code,
            overrides=self.folder.overrides,
            fingerprint=self.fingerprint,
            split=split_hash(self.data.split),
            acquisition=training_acquisition(self.data).to_dict(),
            seed=self.config["seed"],
            weights=self._weights,
        )
        self._start.record(origin)
        self._metadata.fill(self.config, self.data.facts, origin)
        if rank() == 0:
            write_json(self.folder.path / PROVENANCE, origin)
            (self.folder.path / DIFF).unlink(missing_ok=True)  # of an attempt with other code
            if code.diff:
                write_atomically(self.folder.path / DIFF, code.diff)
            write_split(self.data.split, self.folder.path / SPLIT)
            self._start.copy_best()
            write_skipped(self.data, self.folder.path)
        self._track.fill(self.folder.path, self.config, self.data.facts.task)
        samples = [origin["data"], self.data.split[["sample_id", "split"]].to_numpy().tolist()]
        self._ranks.fill(self.config, samples, self.data.batch_size)
        self.data.serve(self._trainer.strategy.root_device)
        try:
            last = None if self.last is None else str(self.last)
            self._trainer.fit(self.model, datamodule=self.data, ckpt_path=last, weights_only=True)
            self._track.begin(self._trainer)  # where a resumed run had no step left
        except Exception as error:
            problem = self._explain(error)
            if problem is None:
                raise
            raise problem from error

    def _explain(self, error: Exception) -> VesaliusError | None:
        """An error of Lightning's in words; None for one of ours, and where there are no words."""
        if isinstance(error, VesaliusError):
            return None
        if self.last is not None and _is_of_restoring(error):
            reason = f"{type(error).__name__}: {describe_error(error).rstrip('.')}"
            return InputError(f"{self.last} does not fit this run ({reason}): take it from a backup, or train again.")
        if isinstance(error, MisconfigurationException | ValueError):
            return setting_error(error, self.config)
        # of the other ranks, which see a lost connection only
        if isinstance(error, RuntimeError) and (lost := killed_rank(self._trainer)) is not None:
            return RunFailed(f"{lost}: see its log, then go on with `vesalius train resume={self.folder.path}`.")
        return None


def _is_of_restoring(error: Exception) -> bool:
    """Whether an error comes from giving the state of a checkpoint to the parts of a training."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).name == "checkpoint_connector.py" for frame in frames)


def check_monitor(name: str, model: pl.LightningModule) -> None:
    """Refuse a metric that the model does not log, which is known only once the data are.

    Args:
        name: `monitor.name`.
        model: with its metrics in `logged_metrics`; of another module nothing is known, and all is accepted.

    Raises:
        InputError: for an unknown metric.
    """
    known = getattr(model, "logged_metrics", None)
    if known is not None and name not in known:
        raise InputError(f"monitor.name={name}: there is no such metric of this task.{did_you_mean(name, known)}")
