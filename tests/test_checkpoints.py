"""Checkpoints: which are kept, corrupt ones, and runs that resume from one."""

import json
import os
import pathlib
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from stops import StopError, stop_at

from ladder_jax import data, errors, loop, presets, training
from ladder_jax.checkpoints import Checkpoints, RunProgress
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import files, signals, workfolder

NET, OPTIMIZER = presets.mlp(4, [3, 2]), optax.adam(0.1)


def own_data(rows=40):
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    return data.from_arrays(x, (x[:, 0] > 0).astype(int), x, (x[:, 0] > 0).astype(int))


OWN = Config(
    dataset="own",
    labels=8,
    units=(3,),
    batch_unlabeled=10,
    batch_labeled=4,
    validation=10,
    epochs=8,
    eval_every=1,
    checkpoint_seconds=0.0,
    ema_decay=0.5,
)


def damage(folder, how):
    """Damages each file of a checkpoint's state, or removes all files if ``how`` is "empty"."""
    parts = sorted(folder.rglob("*") if how == "empty" else (folder / "state").rglob("*"))
    for path in (part for part in parts if part.is_file()):
        content = path.read_bytes()
        if how in ("missing", "empty"):
            path.unlink()
        elif how == "truncated":
            path.write_bytes(content[: len(content) // 2])
        else:
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([~b & 255 for b in content[middle:]]))


def save_epochs(path, epochs, keep=2):
    """Saves checkpoints whose parameters equal the epoch; returns a state like theirs."""
    state = training.create_train_state(NET, OPTIMIZER, jax.random.key(5))
    with Checkpoints(path, keep) as saved:
        for epoch in epochs:
            params = jax.tree.map(lambda leaf, e=epoch: jnp.full_like(leaf, e), state.params)
            saved.save(state._replace(params=params), RunProgress(epoch, 0.5))
    return state


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing", "empty"])
def test_checkpoint_before_a_corrupt_one_is_restored(tmp_path, caplog, how):
    folder = tmp_path / "checkpoints"
    like = save_epochs(folder, [1, 2, 3])
    damage(folder / "3", how)
    with Checkpoints(folder, 2) as saved:
        state, reached = saved.restore(like, lines=3)
        assert reached == RunProgress(2, 0.5)
        assert all((leaf == 2).all() for leaf in jax.tree.leaves(state.params))
        assert (state.key == like.key).all()
        saved.save(state, reached._replace(epoch=3))  # the corrupt one was moved away
    warnings = [record for record in caplog.records if record.name == "ladder_jax"]
    assert len(warnings) == 1 and "resuming from epoch 2" in warnings[0].getMessage()
    assert (tmp_path / "unreadable-3").is_dir()
    assert Checkpoints(folder, 2).epochs == [2, 3]


def test_no_usable_checkpoint(tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    like = save_epochs(folder, [1, 2])
    damage(folder / "2", "truncated")
    with Checkpoints(folder, 2) as saved:
        assert saved.restore(like, lines=0) is None  # epoch 1 requires one line
    messages = [r.getMessage() for r in caplog.records if r.name == "ladder_jax"]
    assert len(messages) == 2
    assert "shorter" in messages[1] and "resuming from the start" in messages[1]
    assert {path.name for path in tmp_path.glob("unreadable-*")} == {"unreadable-1", "unreadable-2"}


def test_keeps_the_last_and_the_best(tmp_path):
    state = training.create_train_state(NET, OPTIMIZER, jax.random.key(5))
    with Checkpoints(tmp_path / "c", keep=2) as saved:
        for epoch, error in enumerate([9.0, 4.0, None, None, 3.0, None, None, None], start=1):
            best = None if error is None else (epoch, error)
            saved.save(state, RunProgress(epoch, best=best))
            saved.wait()
            if epoch == 4:
                assert saved.epochs == [2, 3, 4]
        assert saved.epochs == [5, 7, 8]
    with Checkpoints(tmp_path / "c", keep=2) as saved:  # the best is known after a restart, too
        saved.save(state, RunProgress(9))
        saved.wait()
        assert saved.epochs == [5, 8, 9]
        saved.finish(best=5)
        assert saved.epochs == [5]


def test_resume_in_one_process(tmp_path):
    """Stops twice, corrupts the newest checkpoint, and ends with the same files."""
    uninterrupted = loop.train_and_evaluate(OWN, tmp_path / "whole", dataset=own_data())
    folder, seconds = tmp_path / "run", []
    for epoch in (2, 5):
        with pytest.raises(StopError):
            loop.train_and_evaluate(OWN, folder, dataset=own_data(), progress=stop_at(epoch))
    saved_epochs = Checkpoints(folder / "checkpoints", OWN.keep).epochs
    damage(folder / "checkpoints" / str(saved_epochs[-1]), "truncated")
    result = loop.train_and_evaluate(
        OWN, folder, dataset=own_data(), progress=lambda line: seconds.append(line["seconds"])
    )
    for name in ("params.npz", "best.npz", "metrics.jsonl", "labels.json", "config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (folder / name).read_bytes(), name
    assert result.summary["best_epoch"] == uninterrupted.summary["best_epoch"]
    assert seconds == sorted(seconds) and result.summary["seconds"] >= seconds[-1]
    best = Checkpoints(folder / "checkpoints", OWN.keep).epochs
    assert best == [result.summary["best_epoch"]]
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all("seconds" not in line for line in log)
    assert min(line["validation_error"] for line in log) == log[best[0] - 1]["validation_error"]

    # Finished: nothing is trained again, and the result is the same.
    repeated = loop.train_and_evaluate(OWN, folder, dataset=own_data(), progress=stop_at(1))
    for a, b in zip(jax.tree.leaves(repeated[:2]), jax.tree.leaves(result[:2]), strict=True):
        assert np.array_equal(a, b)
    assert jax.tree.structure(repeated[:2]) == jax.tree.structure(result[:2])
    assert repeated.summary == json.loads(json.dumps(result.summary))
    with pytest.raises(ConfigError, match="seed: 0 -> 3"):
        loop.train_and_evaluate(Config(**OWN.__dict__ | {"seed": 3}), folder, dataset=own_data())
    with pytest.raises(StopError):
        loop.train_and_evaluate(
            OWN, folder, dataset=own_data(), progress=stop_at(1), overwrite=True
        )
    assert (
        not (folder / "result.json").exists()
        and len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    )


def test_other_settings_are_refused(tmp_path):
    with workfolder.open_run(tmp_path / "run", Config()):
        pass
    other = Config(epochs=3, units=(5,), keep=9, checkpoint_seconds=1.0, data_dir="elsewhere")
    with (
        pytest.raises(ConfigError) as caught,
        workfolder.open_run(tmp_path / "run", other),
    ):
        pass
    message = str(caught.value)
    assert "(epochs: 150 -> 3, units: [250, 100] -> [5])" in message
    assert "overwrite=True" in message and "\n" not in message
    assert json.loads((tmp_path / "run" / "config.json").read_text())["epochs"] == 150
    with workfolder.open_run(tmp_path / "run", other, overwrite=True):
        pass


def test_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not empty"), workfolder.open_run(tmp_path, Config()):
        pass
    (tmp_path / "config.json").write_text("{'no json'")
    with (
        pytest.raises(ConfigError, match="not what a run writes"),
        workfolder.open_run(tmp_path, Config()),
    ):
        pass


def test_one_process_per_folder(tmp_path):
    with (
        workfolder.open_run(tmp_path, Config()),
        pytest.raises(ConfigError, match="another process"),
        workfolder.open_run(tmp_path, Config()),
    ):
        pass


def test_other_labels_are_refused(tmp_path):
    files.write_json(tmp_path / "labels.json", [1, 2])  # all that earlier versions wrote
    workfolder.check_data(tmp_path, {workfolder.LABELED: [1, 2], "training examples": 7})
    with pytest.raises(ConfigError, match="the labelled rows have changed"):
        workfolder.check_data(tmp_path, {workfolder.LABELED: [1, 3]})


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "value.json"
    files.write_json(path, 1)
    with (
        pytest.raises(errors.WriteError, match=r"cannot write .*value.json: No space"),
        files.replacing(path) as temporary,
    ):
        temporary.write_text("2")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "1\n" and len(list(tmp_path.iterdir())) == 1


def test_files_are_on_the_disk_before_they_replace_others(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, pathlib.Path.replace

    def sync(handle):
        calls.append("sync")
        fsync(handle)

    def moved(path, target):
        calls.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(pathlib.Path, "replace", moved)
    files.write_json(tmp_path / "value.json", 1)
    files.write_arrays(tmp_path / "arrays.npz", {"a": np.zeros(2)})
    assert calls == ["sync", "replace"] * 2


def test_second_signal_has_its_former_effect():
    # A shell's background jobs are started with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signals.deferred() as stopped:
        signal.raise_signal(signal.SIGINT)
        assert stopped() == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is former
    with pytest.raises(errors.Interrupted) as caught, signals.at_once():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.status == os.EX_TEMPFAIL
    signal.signal(signal.SIGINT, before)


def test_signals_are_unchanged_in_other_threads():
    former, seen = signal.getsignal(signal.SIGTERM), []

    def inside():
        with signals.deferred() as stopped:
            seen.append((signal.getsignal(signal.SIGTERM), stopped()))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [(former, None)]


def test_checkpoint_in_another_order_is_refused(tmp_path, caplog):
    """Earlier versions sorted the parts of a level by name: as many bytes, in another order."""
    folder = tmp_path / "checkpoints"
    like = save_epochs(folder, [1])

    def by_name(level):
        return {k: v for k, v in level._asdict().items() if v is not None}

    other = like._replace(params=tuple(map(by_name, like.params)))
    with Checkpoints(folder, 2) as saved:
        assert saved.restore(other, lines=1) is None
    [record] = [record for record in caplog.records if record.name == "ladder_jax"]
    assert "another order: it is of another version" in record.getMessage()
