"""Check (b) of a whole config: what would fail after an epoch, or never, is refused before anything is read."""

import pytest

from vesalius.config.checks import check_config
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError

STOP = "+callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping"
CALLBACK = "+callbacks.more._target_=pytorch_lightning.callbacks"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["monitor.name=val/auc"], "Did you mean 'val/auroc'"),
        (["monitor.mode=up"], "expected min or max"),
        (["callbacks.best=null"], r"callbacks\.best is needed"),
        (["callbacks.last=null"], r"callbacks\.last is needed"),
        (["callbacks.best.filename=other"], r"callbacks\.best is needed"),
        (["callbacks.best.save_top_k=0"], r"callbacks\.best\.save_top_k=0"),
        (
            ["trainer.max_epochs=2", "+callbacks.best.every_n_epochs=5"],
            r"callbacks\.best\.every_n_epochs=5.* 2 or less",
        ),
        (["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=2"], "never validated"),
        (["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=4"], "never validated"),
        (["trainer.max_epochs=0"], "nothing would be trained"),
        ([STOP, "+callbacks.stop.monitor=val_loss"], r"callbacks\.stop\.monitor=val_loss.*Did you mean 'val/loss'"),
        ([STOP, "+callbacks.stop.monitor=val/accuracy"], r"callbacks\.stop\.mode=min.*better the higher.*mode=max"),
        ([STOP, "+callbacks.stop.monitor=val/loss", "+callbacks.stop.mode=max"], "better the lower"),
        ([f"{CALLBACK}.LearningRateMonitor", "logger=none"], "choose logger=tensorboard"),
        ([f"{CALLBACK}.LearningRateFinder"], r"sweep model\.optimizer\.lr"),
        ([f"{CALLBACK}.BatchSizeFinder"], r"set data\.batch_size"),
        (["+trainer.overfit_batches=1"], r"trainer\.overfit_batches.*trainer\.limit_train_batches"),
        (["model=probe", "data/augment=light"], r"model\.cache_features=true: .*data/augment=none"),
        (["data.folds=5"], r"data\.folds=5.*data\.fold=range\(5\)"),
    ],
)
def test_what_would_fail_after_training_is_refused_before(overrides, message):
    with pytest.raises(InputError, match=message):
        check_config(load_config("train", overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [STOP, "+callbacks.stop.monitor=val/accuracy", "+callbacks.stop.mode=max"],
        [STOP, "+callbacks.stop.monitor=val/loss"],
        [f"{CALLBACK}.LearningRateMonitor"],
        ["trainer.max_epochs=2", "trainer.check_val_every_n_epoch=2"],
        ["trainer.max_epochs=-1", "trainer.max_steps=10", "trainer.check_val_every_n_epoch=2"],
        ["model=probe"],
        ["data.fold=4"],
        ["data.fold=0", "data.folds=2"],
    ],
)
def test_what_works_is_not_refused(overrides):
    check_config(load_config("train", overrides))
