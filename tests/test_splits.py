"""The choice of labelled rows: balanced, stratified, uniform and by name."""

import numpy as np
import pytest
from absl.testing import flagsaver
from data_files import real_folder
from hypothesis import given
from hypothesis import strategies as st

from experiments import cli, make_splits
from ladder_jax import data, errors
from ladder_jax.config import Config
from ladder_jax.data import splits
from ladder_jax.data.named import NAMED
from ladder_jax.run import inputs

SETS = ("mnist", "fashion_mnist", "cifar10")
RARE = np.array([0] * 70 + [1] * 20 + [2] * 10)


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_balanced(per_class, seed):
    y = np.arange(100) % 5
    rows = data.choose_labeled(y, 5 * per_class, seed, 5)
    assert np.bincount(y[rows]).tolist() == [per_class] * 5
    assert np.all(np.diff(rows) > 0)


@given(st.integers(10, 100), st.integers(0, 2**32 - 1))
def test_stratified(labels, seed):
    counts = np.bincount(RARE[data.choose_labeled(RARE, labels, seed, 3, "stratified")])
    assert counts.sum() == labels
    assert np.abs(counts - labels * np.array([0.7, 0.2, 0.1])).max() < 1


def test_uniform_chooses_every_row_equally_often():
    draws = [data.choose_labeled(RARE, 40, seed, 3, "uniform") for seed in range(200)]
    assert {len(set(rows)) for rows in draws} == {40}
    # Each row is in 40 % of the draws; five standard deviations are 0.17.
    frequency = np.bincount(np.concatenate(draws), minlength=100) / 200
    assert frequency.min() > 0.23 and frequency.max() < 0.57


@pytest.mark.parametrize("choice", data.CHOICES)
def test_unlabelled_rows_are_not_chosen(choice):
    y = np.where(np.arange(100) % 2, RARE, -1)
    assert (y[data.choose_labeled(y, 15, 0, 3, choice)] >= 0).all()
    with pytest.raises(errors.DataError, match="50 examples have one"):
        data.choose_labeled(y, 51, 0, 3, choice)


def test_stratified_needs_a_label_per_class():
    with pytest.raises(errors.DataError, match="class 2 would get none"):
        data.choose_labeled(RARE, 3, 0, 3, "stratified")


@pytest.mark.parametrize("name", SETS)
def test_split_files_are_complete(name):
    with np.load(splits.FOLDER / f"{name}.npz") as arrays:
        for labels in make_splits.LABELS:
            for seed in range(make_splits.SEEDS):
                rows = arrays[f"{seed}@{labels}"]
                assert rows.dtype == np.uint16 and len(np.unique(rows)) == labels
                assert rows.max() < (50000 if name == "cifar10" else 60000)


@pytest.mark.parametrize("name", SETS)
def test_split_files_match_the_choice(name):
    folder = real_folder(name)
    y = NAMED[name].read(folder)["train"][1].astype(np.int32)
    with np.load(splits.FOLDER / f"{name}.npz") as arrays:
        chosen = make_splits.make_splits(y, 10)
        assert set(arrays) == set(chosen)
        for key, rows in chosen.items():
            assert np.array_equal(arrays[key], rows), key
    for labels in (100, 4000):
        rows = data.named_split(f"{name}.3@{labels}", y, 10)
        assert np.array_equal(rows, data.choose_labeled(y, labels, 3, 10))
        assert np.bincount(y[rows]).tolist() == [labels // 10] * 10
    with pytest.raises(errors.DataError, match="in the official order"):
        data.named_split(f"{name}.3@100", y[::-1], 10)


def run_make_splits(*flags):
    with flagsaver.flagsaver():
        cli._parse(["make_splits", *flags], None)
        make_splits.main()


def test_make_splits_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_splits, "LABELS", (20,))
    out = tmp_path / "new" / "splits"  # written under this very name
    run_make_splits("--dataset=digits", f"--out={out}")
    assert capsys.readouterr().out == f"{out}\n"
    assert [path.name for path in out.parent.iterdir()] == ["splits"]
    y = data.load("digits").y_train
    with out.open("rb") as file, np.load(file) as arrays:
        assert np.array_equal(arrays["3@20"], data.choose_labeled(y, 20, 3, 10))
    (tmp_path / "file").touch()
    with pytest.raises(errors.WriteError, match="cannot write"):
        run_make_splits("--dataset=digits", f"--out={tmp_path}/file/splits.npz")


@pytest.mark.parametrize(("name", "kind"), [("textured_digits", "pixels"), ("own.npz", "numbers")])
def test_make_splits_of_other_kinds(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", x=np.zeros((4, 2)), y=[0.5, 1, 2, 3])
    with pytest.raises(errors.ConfigError, match=f"labels are {kind}, but splits are of classes"):
        run_make_splits(f"--dataset={name}", "--out=splits.npz")


def test_named_split_of_any_dataset():
    config = Config(split="digits.3@50", seed=7)
    labeled, _, _ = inputs.choose_rows(config, data.load("digits"))
    y = data.load("digits").y_train
    assert np.array_equal(labeled, data.choose_labeled(y, 50, 3, 10))


def test_validation_does_not_change_the_split():
    config = Config(split="digits.3@50", validation=1000)
    labeled, training, held_out = inputs.choose_rows(config, data.load("digits"))
    assert len(labeled) == 50 and set(labeled) <= set(training) and not set(labeled) & set(held_out)
    assert len(training) == 297 and len(held_out) == 1000


def test_split_of_another_dataset():
    with pytest.raises(errors.DataError, match="not one of digits"):
        inputs.choose_rows(Config(split="mnist.3@50"), data.load("digits"))


@pytest.mark.parametrize("name", ["mnist", "mnist.3", "mnist.3@", "mnist.3@0", "mnist@3", ".3@9"])
def test_bad_names(name):
    with pytest.raises(errors.DataError, match=r"give dataset[.]SEED@LABELS"):
        data.parse_split(name)


ONE_OF_CLASS_2 = np.array([0] * 6 + [1] * 6 + [2] + [-1] * 20)
"""Labels of 13 labelled rows, one of them of class 2, and of 20 unlabelled rows."""


def test_each_class_keeps_a_label_in_training():
    dataset = data.from_arrays(np.zeros((33, 3)), ONE_OF_CLASS_2)
    exchanged = 0
    for seed in range(40):
        labeled, training, held_out = inputs.choose_rows(
            Config(labels=-1, validation=4, seed=seed), dataset
        )
        assert len(held_out) == 4 and set(labeled) | set(held_out) == set(range(13))
        assert not set(training) & set(held_out) and set(ONE_OF_CLASS_2[labeled]) == {0, 1, 2}
        before = data.hold_out(13, 4, seed)[1]
        if set(ONE_OF_CLASS_2[np.setdiff1d(np.arange(13), before)]) == {0, 1, 2}:
            assert np.array_equal(held_out, before)  # a valid choice stays
        else:
            exchanged += 1
            assert len(set(before) - set(held_out)) == 1  # only row 12 is exchanged
    assert 4 < exchanged < 25  # 4 of 13 rows are held out


@given(st.lists(st.integers(0, 4), min_size=5, max_size=30), st.data())
def test_no_class_is_held_out_entirely(y, draw):
    y = np.array(y)
    most = len(y) - len(set(y))
    size = draw.draw(st.integers(0, most))
    training, held_out = data.hold_out(len(y), size, 0, y)
    assert len(held_out) == size and set(y[training]) == set(y)
    assert sorted([*training, *held_out]) == list(range(len(y)))
    with pytest.raises(errors.DataError, match=f"give 0 to {most}"):
        data.hold_out(len(y), most + 1, 0, y)


def test_classes_without_labels_are_refused():
    dataset = data.from_arrays(np.zeros((33, 3)), ONE_OF_CLASS_2)
    with pytest.raises(errors.DataError, match="no label is left for class 2; give more"):
        inputs.choose_rows(Config(labels=4, label_choice="uniform"), dataset)
    with pytest.raises(errors.DataError, match=r"of 3 classes, .* give 0 to 10"):
        inputs.choose_rows(Config(labels=-1, validation=11), dataset)
    for choice in ("balanced", "stratified"):  # another number of labels would not help
        with pytest.raises(errors.DataError, match="no example of class 2 has a label; label some"):
            data.choose_labeled(np.array([0, 1, 0, 1]), 3, 0, 3, choice)
