"""IDX and npz files: reading, refused files, and fuzzing with damaged ones."""

import gzip
import io
import pickle
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from data_files import idx_bytes, mnist_like, real_folder, write_idx

from ladder_jax import data, errors
from ladder_jax.data import idx
from ladder_jax.data.arrays import read_npz

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("gzipped", [True, False])
def test_idx_set(tmp_path, gzipped):
    arrays = mnist_like()
    dataset = data.load("mnist", str(write_idx(tmp_path, arrays, gzipped)))
    assert dataset.x_train.shape == (40, 28, 28, 1) and dataset.x_train.dtype == np.float32
    assert np.array_equal(dataset.x_train[..., 0], arrays[0].astype(np.float32) / 255)
    assert np.array_equal(dataset.y_test, arrays[3])


def test_idx_set_with_a_dot_in_its_names(tmp_path):
    for path in write_idx(tmp_path, mnist_like(), gzipped=False).iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(data.load("mnist", str(tmp_path)).x_train) == 40


def test_real_mnist():
    dataset = data.load("mnist", str(real_folder("mnist")))
    assert dataset.x_train.shape == (60000, 28, 28, 1) and len(dataset.y_test) == 10000
    assert np.bincount(dataset.y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip


def one_line(load, *args):
    """Returns the message of the error that a call raises, which is one line."""
    with pytest.raises(errors.DataError) as caught:
        load(*args)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


BAD_IDX = {
    "truncated gzip": ("x.gz", gzip.compress(idx_bytes(IMAGES))[:-9], "corrupt gzip"),
    "no gzip": ("x.gz", b"no gzip at all", "corrupt gzip"),
    "gzip of half": ("x.gz", gzip.compress(idx_bytes(IMAGES)[:-1]), "cut short"),
    "plain half": ("x", idx_bytes(IMAGES)[:-1], "cut short"),
    "longer": ("x", idx_bytes(IMAGES) + b"a", "longer than"),
    "labels": ("x", idx_bytes(np.arange(9)), "magic number 2049, wanted 2051"),
    "header cut": ("x", idx_bytes(IMAGES)[:9], "cut short in its header"),
    "empty": ("x", b"", "cut short in its header"),
    "no rows": ("x", idx_bytes(IMAGES[:0]), "declares no data"),
    "lying header": ("x.gz", gzip.compress(np.array([2051] + [2**32 - 1] * 3, ">u4").tobytes()),
                     "cut short"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_IDX)
def test_bad_idx(tmp_path, case):
    name, content, wanted = BAD_IDX[case]
    (tmp_path / name).write_bytes(content)
    assert wanted in one_line(idx.read_idx, tmp_path / name, idx.IMAGES)


def test_bad_idx_sets(tmp_path):
    x, y, x_test, y_test = mnist_like()
    sets = {
        "40 examples but 39 labels": (x, y[:-1], x_test, y_test),
        "label 10 in row 0": (x, y + 10, x_test, y_test),
        "must be of one size": (x, y, x_test[:, 1:], y_test),
    }
    for i, (wanted, arrays) in enumerate(sets.items()):
        folder = write_idx(tmp_path / str(i), arrays)
        assert wanted in one_line(data.load, "mnist", str(folder))
    (folder / f"{idx.FILES[3]}.gz").unlink()
    assert "no t10k-labels" in one_line(data.load, "mnist", str(folder))
    assert "nowhere: No such file" in one_line(idx.read_idx, folder / "nowhere", idx.IMAGES)


X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1, -1, 0, 1, -1])


class Bomb:
    """Unpickling it would raise."""

    def __reduce__(self):
        return (pytest.fail, ("executed",))


OBJECTS = np.empty(6, object)
OBJECTS[:] = [Bomb()] * 6
BAD_NPZ = {
    "no y": ({"x": X}, "no array 'y'"),
    "no x": ({"y": Y}, "no array 'x'"),
    "objects": ({"x": X, "y": OBJECTS}, "Python objects (pickles), which are refused"),
    "object names": ({"x": X, "y": Y, "class_names": OBJECTS}, "refused"),
    "counts": ({"x": X, "y": Y[:-1]}, "6 examples but 5 labels"),
    "nan": ({"x": np.where(X == 4, np.nan, X), "y": Y}, "NaN or infinite values in 1 row(s)"),
    "skipped": ({"x": X, "y": Y * 2 * (Y > 0) - (Y < 0)}, "no example of class 1"),
    "all -1": ({"x": X, "y": np.full(6, -1)}, "all labels are -1"),
    "-2": ({"x": X, "y": Y * 2}, "label -2 in row 2"),
    "one class": ({"x": X, "y": np.zeros(6, int)}, "only one class"),
    "float labels": ({"x": X, "y": Y.astype(float)}, "dtype float64"),
    "words": ({"x": X.astype(str), "y": Y}, "give numbers"),
    "no features": ({"x": X[:, 0], "y": Y}, "give [rows, features]"),
    "label columns": (
        {"x": X, "y": abs(Y[:, None]) @ [[1, 2]], "kind": "classes"},
        "one label per",
    ),
    "no y_train": ({"x_train": X, "y_test": Y}, "no array 'y'"),
    "x twice": ({"x": X, "y": Y, "train_images": X}, "both 'x' and 'train_images'; keep one"),
    "huge label": ({"x": X, "y": Y.astype(np.uint64)}, "without a gap"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "no examples"),
    "x_test alone": ({"x": X, "y": Y, "x_test": X}, "go together"),
    "test shape": ({"x": X, "y": Y, "x_test": X[:, :1], "y_test": abs(Y)}, "be of one shape"),
    "test labels": ({"x": X, "y": Y, "x_test": X, "y_test": Y}, "label -1 in row 2"),
    "few names": ({"x": X, "y": Y, "class_names": ["a"]}, "label 1 in row 1"),
    "many names": ({"x": X, "y": Y, "class_names": ["a", "b", "c"]}, "no example of class 2"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz(tmp_path, case):
    arrays, wanted = BAD_NPZ[case]
    np.savez(tmp_path / "own.npz", **arrays)
    assert wanted in one_line(data.load, str(tmp_path / "own.npz"))


@pytest.mark.parametrize(
    "content", [pickle.dumps(Bomb()), b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00"]
)
def test_files_other_than_npz(tmp_path, content):
    (tmp_path / "own.npz").write_bytes(content)
    assert "not an .npz file" in one_line(data.load, str(tmp_path / "own.npz"))


@pytest.mark.parametrize("name", ["y", "class_names", "kind"])
@pytest.mark.parametrize("order", "<>")
def test_corrupt_text(tmp_path, name, order):
    text = np.array("ab" if name == "kind" else ["a", "b"], f"{order}U2")
    text.reshape(-1).view(f"{order}u4")[0] = 0x110000
    np.savez(tmp_path / "own.npz", **{"x": X[:2], "y": [0, 1], name: text})
    assert f"{name}: corrupt text" in one_line(data.load, str(tmp_path / "own.npz"))


def test_labels_minus_one_requires_unlabelled_rows():
    full = data.from_arrays(X, abs(Y))
    from ladder_jax.config import Config
    from ladder_jax.run.inputs import choose_rows

    assert "no example is marked as unlabelled" in one_line(choose_rows, Config(labels=-1), full)


def peak(call):
    """Returns the peak memory of a call, and its result."""
    for _ in range(2):  # repeated if large: the first may include a garbage collection
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        used = tracemalloc.get_traced_memory()[1] - before
        if used < ROOM:
            break
    return used, result


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


ROOM = 1_000_000
"""Bytes for buffers of zipfile, zlib and error messages; no array of the tests is larger."""


def npy_header(shape, dtype="|u1"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_false_headers_take_no_memory(tmp_path, traced):
    path = tmp_path / "own.npz"
    for shape, dtype in [
        *(((10**12,), "|u1"), ((10**6, 10**6), "|u1"), ((2**63, 2), "|u1")),
        ((10**6,), "<U0"),  # NumPy makes it <U1
    ]:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", npy_header(shape, dtype) + b"0000")
        used, _ = peak(lambda: one_line(read_npz, path))
        assert used < ROOM
    used, _ = peak(lambda: one_line(idx.read_idx, false_idx(tmp_path), idx.LABELS))
    assert used < ROOM


def false_idx(folder):
    path = folder / "labels.gz"
    path.write_bytes(gzip.compress(np.array([2049, 2**32 - 1], ">u4").tobytes() + b"000"))
    return path


def test_decompression_bombs_are_not_unpacked(tmp_path, traced):
    """Files that unpack to far more than their header declares are not read further."""
    zeros = bytes(30_000_000)
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(np.array([2049, 1000], ">u4").tobytes() + zeros))
    used, message = peak(lambda: one_line(idx.read_idx, path, idx.LABELS))
    assert "longer than" in message and used < ROOM
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_header((1000,)) + zeros)
        archive.writestr("unwanted.npy", zeros)
    used, message = peak(lambda: one_line(read_npz, path, ["x"]))
    assert "not the 1000 bytes" in message and used < ROOM


def mutants(originals, count, seed):
    """Yields originals with bytes replaced, removed, doubled or set to extreme numbers."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        content = bytearray(originals[i % len(originals)])
        for _ in range(rng.integers(1, 4)):
            start, kind = int(rng.integers(len(content) + 1)), rng.integers(5)
            if kind == 0:
                content[start : start + 1] = rng.bytes(1)
            elif kind == 1:
                del content[start : start + int(rng.integers(1, 30))]
            elif kind == 2:
                del content[start:]
            elif kind == 3:
                content[start:start] = content[start : start + int(rng.integers(1, 30))]
            else:
                content[start : start + 4] = rng.choice(
                    [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"]
                )
        yield bytes(content)


def test_fuzz_idx(tmp_path, traced):
    plain = [idx_bytes(IMAGES), idx_bytes(np.arange(50))]
    outcomes = {True: 0, False: 0}
    for suffix, originals in (("", plain), (".gz", [gzip.compress(b) for b in plain])):
        path = tmp_path / f"mutant{suffix}"
        for i, content in enumerate(mutants(originals, 1500, seed=len(suffix))):
            path.write_bytes(content)
            outcomes[survives(idx.read_idx, path, (idx.IMAGES, idx.LABELS)[i % 2])] += 1
    assert sum(outcomes.values()) == 3000 and min(outcomes.values()) > 50


def test_fuzz_npz(tmp_path, traced):
    originals = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, x=X.astype(np.float32), y=Y, class_names=["a", "b"])
        originals.append(file.getvalue())
    path, outcomes = tmp_path / "mutant.npz", {True: 0, False: 0}
    for content in mutants(originals, 3000, seed=2):
        path.write_bytes(content)
        outcomes[survives(data.load_npz, path)] += 1
    assert sum(outcomes.values()) == 3000 and min(outcomes.values()) > 50


def test_fuzz_npz_headers(tmp_path, traced):
    """Damages members with valid checksums, so that the array's damaged header is parsed."""
    file = io.BytesIO()
    np.save(file, Y)
    path, outcomes = tmp_path / "mutant.npz", {True: 0, False: 0}
    for content in mutants([file.getvalue()], 2000, seed=3):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("y.npy", content)
        outcomes[survives(read_npz, path)] += 1
    assert sum(outcomes.values()) == 2000 and min(outcomes.values()) > 50


def survives(load, path, *args):
    """Returns whether a file was read; requires the documented error if not, and bounded memory."""

    def call():
        try:
            return load(path, *args)
        except errors.DataError as error:
            assert "\n" not in str(error)
            return None

    used, result = peak(call)
    assert used < ROOM  # the files hold some hundred bytes, whatever they declare
    return result is not None


def test_deflate_ratio():
    """Checks that ``base.MOST_DEFLATED`` exceeds the highest ratio that zlib reaches."""
    from ladder_jax.data.base import MOST_DEFLATED

    assert 1000 < 10**7 / len(zlib.compress(bytes(10**7), 9)) < MOST_DEFLATED
