"""What a checkpoint holds, and runs that go on from one."""

import json
import os
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
    """Damages a checkpoint: each file of its state, or all there is."""
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


def filled(path, epochs, keep=2):
    """Checkpoints whose parameters tell the epoch."""
    state = training.create_train_state(NET, OPTIMIZER, jax.random.key(5))
    with Checkpoints(path, keep) as saved:
        for epoch in epochs:
            params = jax.tree.map(lambda leaf, e=epoch: jnp.full_like(leaf, e), state.params)
            saved.save(state._replace(params=params), RunProgress(epoch, 0.5))
    return state


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing", "empty"])
def test_the_one_before_a_corrupt_checkpoint(tmp_path, caplog, how):
    folder = tmp_path / "checkpoints"
    like = filled(folder, [1, 2, 3])
    damage(folder / "3", how)
    with Checkpoints(folder, 2) as saved:
        state, reached = saved.restore(like, lines=3)
        assert reached == RunProgress(2, 0.5)
        assert all((leaf == 2).all() for leaf in jax.tree.leaves(state.params))
        assert (state.key == like.key).all()
        saved.save(state, reached._replace(epoch=3))  # its place is free
    mine = [record for record in caplog.records if record.name == "ladder_jax"]
    assert len(mine) == 1 and "resuming from epoch 2" in mine[0].getMessage()
    assert (tmp_path / "unreadable-3").is_dir()
    assert Checkpoints(folder, 2).epochs == [2, 3]


def test_no_good_checkpoint(tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    like = filled(folder, [1, 2])
    damage(folder / "2", "truncated")
    with Checkpoints(folder, 2) as saved:
        assert saved.restore(like, lines=0) is None  # that of epoch 1 has one
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
    with Checkpoints(tmp_path / "c", keep=2) as saved:  # it is known after a start, too
        saved.save(state, RunProgress(9))
        saved.wait()
        assert saved.epochs == [5, 8, 9]
        saved.finish(best=5)
        assert saved.epochs == [5]


def test_going_on_in_one_process(tmp_path):
    """Stops at every other epoch, a corrupt checkpoint among it, and ends the same."""
    whole = loop.train_and_evaluate(OWN, tmp_path / "whole", dataset=own_data())
    folder, seconds = tmp_path / "run", []
    for epoch in (2, 5):
        with pytest.raises(StopError):
            loop.train_and_evaluate(OWN, folder, dataset=own_data(), progress=stop_at(epoch))
    saved = Checkpoints(folder / "checkpoints", OWN.keep).epochs
    damage(folder / "checkpoints" / str(saved[-1]), "truncated")
    result = loop.train_and_evaluate(
        OWN, folder, dataset=own_data(), progress=lambda line: seconds.append(line["seconds"])
    )
    for name in ("params.npz", "best.npz", "metrics.jsonl", "labels.json", "config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (folder / name).read_bytes(), name
    assert result.summary["best_epoch"] == whole.summary["best_epoch"]
    assert seconds == sorted(seconds) and result.summary["seconds"] >= seconds[-1]
    best = Checkpoints(folder / "checkpoints", OWN.keep).epochs
    assert best == [result.summary["best_epoch"]]
    errors = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all("seconds" not in line for line in errors)
    assert (
        min(line["validation_error"] for line in errors) == errors[best[0] - 1]["validation_error"]
    )

    # Done: nothing is trained again, and the result is the same.
    again = loop.train_and_evaluate(OWN, folder, dataset=own_data(), progress=stop_at(1))
    for a, b in zip(jax.tree.leaves(again[:2]), jax.tree.leaves(result[:2]), strict=True):
        assert np.array_equal(a, b)
    assert jax.tree.structure(again[:2]) == jax.tree.structure(result[:2])
    assert again.summary == json.loads(json.dumps(result.summary))
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


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not empty"), workfolder.open_run(tmp_path, Config()):
        pass
    (tmp_path / "config.json").write_text("{'no json'")
    with (
        pytest.raises(ConfigError, match="not what a run writes"),
        workfolder.open_run(tmp_path, Config()),
    ):
        pass


def test_one_process_a_folder(tmp_path):
    with (
        workfolder.open_run(tmp_path, Config()),
        pytest.raises(ConfigError, match="another process"),
        workfolder.open_run(tmp_path, Config()),
    ):
        pass


def test_other_labels_are_refused(tmp_path):
    files.write_json(tmp_path / "labels.json", [1, 2])  # by an earlier version, alone
    workfolder.check_data(tmp_path, {workfolder.LABELED: [1, 2], "training examples": 7})
    with pytest.raises(ConfigError, match="the labelled rows have changed"):
        workfolder.check_data(tmp_path, {workfolder.LABELED: [1, 3]})


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "value.json"
    files.write_json(path, 1)
    with (
        pytest.raises(errors.WriteError, match=r"cannot write .*value.json: No space"),
        files.replacing(path) as temporary,
    ):
        temporary.write_text("2")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "1\n" and len(list(tmp_path.iterdir())) == 1


def test_a_second_signal_has_its_former_effect():
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


def test_signals_are_left_alone_in_other_threads():
    former, seen = signal.getsignal(signal.SIGTERM), []

    def inside():
        with signals.deferred() as stopped:
            seen.append((signal.getsignal(signal.SIGTERM), stopped()))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [(former, None)]


def test_a_checkpoint_whose_arrays_are_in_another_order_is_not_taken(tmp_path, caplog):
    """Earlier versions sorted the parts of a level by name: as many bytes, in other places."""
    folder = tmp_path / "checkpoints"
    like = filled(folder, [1])

    def by_name(level):
        return {k: v for k, v in level._asdict().items() if v is not None}

    other = like._replace(params=tuple(map(by_name, like.params)))
    with Checkpoints(folder, 2) as saved:
        assert saved.restore(other, lines=1) is None
    [record] = [record for record in caplog.records if record.name == "ladder_jax"]
    assert "another order: it is of another version" in record.getMessage()
