"""CSV files: reading, columns matched by name to those of training, and refused files."""

import numpy as np
import pytest
from absl.testing import flagsaver
from tiny_predictors import NAMES, rows, tiny, write_run

from experiments import cli, evaluate, new_examples, predict
from ladder_jax import data, errors
from ladder_jax.data import csv_files
from ladder_jax.run import files

X = np.array([[0.5, 2.0, -1.0], [3.0, 4.0, 5.0], [6.0, 7.5, 8.0], [1.0, 0.0, 2.0]])
FEATURES = ("a", "b", "c d")


def write(path, labels, name="class", where=1, x=X):
    """Writes a file whose column of labels is not the last one."""
    header = [*FEATURES[:where], name, *FEATURES[where:]]
    lines = [",".join(f'"{name_of_column}"' for name_of_column in header)]
    for row, label in zip(x.tolist(), labels, strict=True):
        cells = list(map(str, row))
        lines.append(",".join([*cells[:where], label, *cells[where:]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return str(path)


@pytest.mark.parametrize(
    ("name", "labels", "y", "names"),
    [
        ("Class", ["dog", "", "cat", "dog"], [1, -1, 0, 1], ("cat", "dog")),
        ("label", ["2", "10", "-1", "10"], [0, 1, -1, 1], ("2", "10")),
        ("label", ["②", "①", "", "②"], [1, 0, -1, 1], ("①", "②")),
        ("label", ["01", "2", "+1", "1"], [1, 3, 0, 2], ("+1", "01", "1", "2")),
        ("target", ["1", "2.5", "", "-3"], [[1.0], [2.5], [np.nan], [-3.0]], ("0",)),
        ("NUMBER", ["1", "2", "3", "4"], [[1.0], [2.0], [3.0], [4.0]], ("0",)),
    ],
)
def test_csv_equals_arrays(tmp_path, name, labels, y, names):
    dataset = data.load(write(tmp_path / "own.csv", labels, name))
    assert (
        dataset.name == "own" and dataset.feature_names == FEATURES and dataset.class_names == names
    )
    np.testing.assert_array_equal(dataset.x_train, X)
    np.testing.assert_array_equal(dataset.y_train, y)
    assert dataset.kind == ("numbers" if np.ndim(y) == 2 else "classes") and not len(dataset.y_test)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_semicolons_and_tabs(tmp_path, mark):
    lines = ["a,p", "b", "class"], ["1", "2.5", "up, or so"], ["3", "4", "down"]
    (tmp_path / "own.csv").write_text("\n".join(map(mark.join, lines)))
    dataset = data.load(str(tmp_path / "own.csv"))
    assert dataset.feature_names == ("a,p", "b") and dataset.class_names == ("down", "up, or so")
    assert dataset.x_train.tolist() == [[1, 2.5], [3, 4]]
    (part,) = new_examples.read(tmp_path / "own.csv", (2,), names=("b", "a,p"))
    assert part.x.tolist() == [[2.5, 1], [4, 3]]
    (tmp_path / "plain.csv").write_text(f"1{mark}2\n3{mark}4\n")
    (part,) = new_examples.read(tmp_path / "plain.csv", (2,))
    assert part.x.tolist() == [[1, 2], [3, 4]]


def test_whole_numbers_are_read_as_integers(tmp_path):
    x = np.array([[0, 255, 3], [1, 2, 3]])
    dataset = data.load(write(tmp_path / "own.csv", ["a", "b"], x=x))
    assert dataset.scale == data.from_arrays(x, np.array([0, 1])).scale == "pixels"


BAD = {
    "no name": (b"a,b\n1,2\n", "give the column of labels one of the names class, label"),
    "two labels": (b"a,class,label\n1,x,y\n", "and no other column; line 1 has a, class, label"),
    "twice": (b"a,a,class\n1,2,x\n", "line 1: a column without a name of its own"),
    "nameless": (b"a,,class\n1,2,x\n", "line 1: a column without a name of its own"),
    "short": (b"a,class\n1,x\n\n2\n", "line 4: 1 values; wanted 2, as names in line 1"),
    "text": (b"a,class\nred,x\n", "line 2, column a: 'red' is not a number; give one"),
    "underscore": (b"a,class\n1_2,x\n", "line 2, column a: '1_2' is not a number; give one"),
    "missing": (b"a,class\n1,x\n,y\n", "line 3, column a: '' is not a number"),
    "no rows": (b"a,class\n", "no examples; give at least one"),
    "nothing": (b"", "empty; give a line of column names"),
    "labels alone": (b"class\nx\ny\n", "shape (2, 0)"),
    "latin": (b"a,class\n1,\xe4\n", "not UTF-8 text"),
    "long": (b"a,class\n" + b"1" * 99, "a line of more than 90 characters"),
    "words": (b"a,target\n1,x\n2,3\n", "label 'x' of example 0 is not a number"),
    "fractions": (
        b"a,class\n1,2\n2,0.5\n3,\n4,0.7\n",
        "label '0.5' of example 1 is not a whole number; call the column number",
    ),
    "one class": (b"a,class\n1,x\n2,x\n", "only one class"),
    "infinite": (b"a,class\n1,x\ninf,y\n", "inf"),
    "open quote": (b'a,class\n1,x\n2,"y\n3,x\n4,y\n', "line 5: unexpected end of data; close each"),
    "two open quotes": (
        b'a,class\n1,"x\n2,y\n3,"y\n4,x\n',
        "line 4: ',' expected after '\"'; close",
    ),
    "minus one": (b"a,class\n1,0.0\n2,-1.0\n3,1.0\n", "label '-1.0' may mean that there is none"),
    "signs": (b"a,class\n1,--5\n2,--5\n", "only one class"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(tmp_path, monkeypatch, case):
    monkeypatch.setattr(csv_files.reader_of, "__defaults__", (90,))
    content, wanted = BAD[case]
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(errors.DataError) as caught:
        data.load(str(tmp_path / "bad.csv"))
    assert wanted in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("mark", ["nan", "NaN", "NaT", "NA", "<NA>", "None", "NULL"])
def test_marks_of_missing_labels_are_no_classes(tmp_path, mark):
    path = write(tmp_path / "own.csv", ["dog", mark, "cat", "dog"])
    with pytest.raises(
        errors.DataError, match=f"label '{mark}' may mean that there is none; leave"
    ):
        data.load(path)
    with pytest.raises(
        errors.DataError, match=f"label '{mark}' in row 1; the classes are cat, dog"
    ):
        data.load_test_csv(path, ("cat", "dog"), 3)


def test_other_marks_between_quotes(tmp_path):
    (tmp_path / "own.csv").write_text('"a;b","p\tq",class\n1,2.5,"up, or ""so"""\n3,4,down\n')
    dataset = data.load(str(tmp_path / "own.csv"))
    assert dataset.feature_names == ("a;b", "p\tq")
    assert dataset.class_names == ("down", 'up, or "so"')
    (part,) = new_examples.read(tmp_path / "own.csv", (2,), names=("p\tq", "a;b"))
    assert part.x.tolist() == [[2.5, 1], [4, 3]]


def test_suffix_in_upper_case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "OWN.CSV", ["dog", "", "cat", "dog"])
    assert data.is_file("OWN.CSV") and data.load("OWN.CSV").class_names == ("cat", "dog")
    with (tmp_path / "OWN.NPZ").open("wb") as file:
        np.savez(file, x=X, y=[0, 1, 1, 0])
    assert data.is_file("OWN.NPZ") and data.load("OWN.NPZ").name == "OWN"


def test_missing_file():
    with pytest.raises(errors.DataError, match=r"nowhere\.csv: No such file"):
        data.load("nowhere.csv")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Writes a run on a table of three columns; returns a function that runs a command on it."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", tiny((3,)))
    summary = files.json.loads((tmp_path / "run" / "result.json").read_text())
    files.write_json(tmp_path / "run" / "result.json", summary | {"feature_names": FEATURES})

    def command(main, *flags):
        with flagsaver.flagsaver():
            cli._parse(["command", "--workdir=run", "--overwrite_output", *flags], None)
            main()

    return command


def test_columns_are_found_by_name(run, tmp_path, capsys):
    x = rows((3,), 5)
    note = "an example " * 300  # a long text in an ignored column
    lines = ["c d,id,b,a,label", *(f"{c},{note},{b},{a},{NAMES[2]}" for a, b, c in x.tolist())]
    (tmp_path / "new.csv").write_text("\n".join(lines))
    np.savez(tmp_path / "new.npz", x=x)
    tables = []
    for source in ("new.csv", "new.npz"):
        run(predict.main, f"--input={source}", f"--output={source}.out")
        tables.append((tmp_path / f"{source}.out").read_text())
    assert tables[0] == tables[1]
    for name in ("new.csv", "NEW.CSV"):
        (tmp_path / "new.csv").rename(tmp_path / name)
        run(evaluate.main, f"--dataset={name}")
        assert " of 5 examples" in capsys.readouterr().out
    for changed, wanted in (
        (lines[0].replace("b", "B"), "no column 'b', which the training data had"),
        (lines[0].replace("label", "target"), "no column of labels that are classes"),
        (lines[0].replace("id", "b"), "2 columns 'b'; keep one of them"),
    ):
        (tmp_path / "new.csv").write_text("\n".join([changed, *lines[1:]]))
        with pytest.raises(errors.DataError, match=wanted):
            run(evaluate.main, "--dataset=new.csv")
    (tmp_path / "new.csv").write_text("\n".join([lines[0], *lines[2:3], "1,2,3"]))
    with pytest.raises(errors.DataError, match="line 3: 3 values; wanted 5, as names in line 1"):
        run(predict.main, "--input=new.csv")


def test_labels_are_skipped_without_feature_names(tmp_path):
    (tmp_path / "new.csv").write_text("label,p,q\nx,1,2\ny,3,4\n")
    (part,) = new_examples.read(tmp_path / "new.csv", (2,))
    assert part.x.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(errors.DataError, match="line 2: 3 values; wanted 4"):
        list(new_examples.read(tmp_path / "new.csv", (4,)))


def test_numbers_for_evaluation(tmp_path):
    path = write(tmp_path / "new.csv", ["1", "2", "0.5", "4"], "number")
    x, y, _ = data.load_test_csv(path, ("0",), 3, "numbers", FEATURES[::-1])
    np.testing.assert_array_equal(x, X[:, ::-1])
    assert y.tolist() == [[1.0], [2.0], [0.5], [4.0]]
    with pytest.raises(errors.DataError, match="no label in row 1"):
        data.load_test_csv(
            write(tmp_path / "new.csv", ["1", "", "0", "4"], "number"), "0", 3, "numbers"
        )
