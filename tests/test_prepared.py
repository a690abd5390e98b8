"""Data sets in tensorflow-datasets' layout are prepared without TensorFlow and round-trip."""

import errno
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from data_files import mnist_like, real_folder, write_idx

from ladder_jax import data, errors
from ladder_jax.data import idx
from ladder_jax.data import tfds as prepared
from ladder_jax.data.named import NAMED

REASON = "needs the extra tfds: pip install 'ladder_jax[tfds]'"
pytest.importorskip("importlib_resources", reason=REASON)
Image = pytest.importorskip("PIL.Image", reason=REASON)
tfds = pytest.importorskip("tensorflow_datasets", reason=REASON)


@pytest.fixture(autouse=True)
def no_bars():
    tfds.disable_progress_bar()


@pytest.fixture
def any_checksum(monkeypatch):
    """Skips the checks of files, so that small files stand in for the real ones."""
    monkeypatch.setattr(prepared, "fetch_all", lambda name, url_infos, folder: None)


def assert_equal(loaded, expected):
    for a, b in zip(loaded[1:5], expected[1:5], strict=True):
        assert np.array_equal(np.asarray(a[:]), b)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_small_set(tmp_path, any_checksum, name):
    files = write_idx(tmp_path / "files", mnist_like())
    data.prepare(name, str(tmp_path), str(files))
    loaded, expected = data.load(name, str(tmp_path)), data.load(name, str(files))
    assert_equal(loaded, expected)
    assert loaded.class_names == expected.class_names
    stock = tfds.data_source(name, split="train", data_dir=tmp_path, download=False)
    for i in (0, 1, 39):
        assert np.array_equal(stock[i]["image"][..., 0], idx.read_mnist(files)["train"][0][i])
        assert stock[i]["label"] == i % 10


def test_images_are_decoded_on_access(tmp_path, any_checksum, monkeypatch):
    files = write_idx(tmp_path / "files", mnist_like())
    data.prepare("mnist", str(tmp_path), str(files))
    expected = data.load("mnist", str(files))
    assert_equal(data.load("mnist", str(tmp_path), in_memory=False), expected)
    monkeypatch.setattr(prepared, "HOST_BYTES", 0)
    lazy = data.load("mnist", str(tmp_path), in_memory=False)
    assert isinstance(lazy.x_train, prepared.PreparedImages)
    assert_equal(lazy, expected)
    rows = np.array([5, 0, 5])
    assert np.array_equal(lazy.x_train[rows], expected.x_train[rows])


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_files(tmp_path, name):
    """All 70,000 images with their checksums; 60,000 are read in at most 3 s."""
    files = real_folder(name)
    data.prepare(name, str(tmp_path), str(files))
    started = time.process_time()
    loaded = data.load(name, str(tmp_path))
    seconds = time.process_time() - started
    assert loaded.x_train.shape == (60000, 28, 28, 1) and loaded.x_test.shape == (10000, 28, 28, 1)
    assert_equal(loaded, data.load(name, str(files)))
    assert seconds < 3 * 7 / 6  # 3 s per 60,000


def test_wrong_checksum(tmp_path):
    files = write_idx(tmp_path / "files", mnist_like())
    with pytest.raises(errors.DataError, match=r"t10k-images.*wrong checksum"):
        data.prepare("mnist", str(tmp_path), str(files))


def test_missing_labels(tmp_path, any_checksum):
    x, y, x_test, y_test = mnist_like()
    files = write_idx(tmp_path / "files", (x, y[:-1], x_test, y_test))
    with pytest.raises(errors.DataError, match="40 examples but 39 labels"):
        data.prepare("mnist", str(tmp_path), str(files))


def test_corrupt_prepared_set(tmp_path, any_checksum):
    data.prepare("mnist", str(tmp_path), str(write_idx(tmp_path / "files", mnist_like())))
    record = next(tmp_path.glob("mnist/*/mnist-train*"))
    record.write_bytes(record.read_bytes()[:-2000])
    with pytest.raises(errors.DataError, match="prepare it again"):
        data.load("mnist", str(tmp_path))


def test_missing_network_fails_at_once(tmp_path, monkeypatch):
    def refuse(url, timeout):
        raise OSError("no network here")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name in ("mnist", "kmnist", "cifar10", "beans"):
        started = time.monotonic()
        with pytest.raises(errors.DataError, match="no network here") as caught:
            data.prepare(name, str(tmp_path))
        assert time.monotonic() - started < 5
        assert "\n" not in str(caught.value) and "as download_dir" in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_server_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: time.sleep(5))
    monkeypatch.setattr(prepared, "TIMEOUT", 0.1)
    with pytest.raises(errors.DataError, match="no answer"):
        data.prepare("mnist", str(tmp_path))


def test_fetched_once_and_checked(tmp_path, monkeypatch):
    infos = dict(tfds.builder_cls("mnist").url_infos)
    url, info = next(iter(infos.items()))
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"another"))
    with pytest.raises(errors.DataError, match="wrong checksum"):
        prepared.fetch_all("mnist", {url: info}, tmp_path)
    assert not list(tmp_path.iterdir())

    class Info:
        filename, checksum, size = "file", hashlib.sha256(b"another").hexdigest(), 7

    prepared.fetch_all("mnist", {url: Info}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.undo()
    prepared.fetch_all("mnist", {url: Info}, tmp_path)  # not fetched again


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("svhn_cropped", "needs TensorFlow"),
        ("no_such_set", "not known"),
    ],
)
def test_sets_that_cannot_be_prepared(tmp_path, name, wanted):
    if importlib.util.find_spec("tensorflow"):
        pytest.skip("TensorFlow is installed")
    with pytest.raises(errors.DataError, match=wanted):
        data.prepare(name, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_unprepared_set_names_the_call_that_prepares_it(tmp_path):
    for name in ("mnist", "cifar10", "svhn_cropped", "beans"):
        with pytest.raises(errors.DataError, match=rf"prepare\('{name}', '/"):
            data.load(name, str(tmp_path))
    with pytest.raises(errors.DataError, match="not known"):
        data.load("no_such_set", str(tmp_path))


class Stripes(tfds.core.GeneratorBasedBuilder):
    """A third-party data set, prepared by its own builder."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = pathlib.Path(__file__).parent

    def _info(self):
        features = {
            "picture": tfds.features.Image(shape=(4, 6, 3)),
            "kind": tfds.features.ClassLabel(names=["dark", "bright"]),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("picture", "kind")
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(10), "validation": self._generate_examples(4)}

    def _generate_examples(self, rows):
        for i in range(rows):
            picture = Image.fromarray(np.full((4, 6, 3), i % 2 * 200, np.uint8))
            yield i, {"picture": picture, "kind": i % 2}


def test_third_party_set(tmp_path):
    data.prepare("stripes", str(tmp_path))
    loaded = data.load("stripes", str(tmp_path))
    assert loaded.class_names == ("dark", "bright")
    assert loaded.x_train.shape == (10, 4, 6, 3) and loaded.x_test.shape == (4, 4, 6, 3)
    assert np.array_equal(loaded.x_train.max((1, 2, 3)) > 0, loaded.y_train == 1)


def cifar_splits():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60) % 10
    return x, y


def cifar_batches(monkeypatch):
    """Yields the names and contents of the six binary files, with ten images each."""
    monkeypatch.setattr(idx, "_ROWS", 10)
    x, y = cifar_splits()
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    for i, name in enumerate(names):
        rows = slice(10 * i, 10 * i + 10)
        planes = x[rows].transpose(0, 3, 1, 2).reshape(10, -1)
        yield name, np.concatenate([y[rows, None].astype(np.uint8), planes], 1).tobytes()


def assert_cifar(splits):
    x, y = cifar_splits()
    assert np.array_equal(splits["train"][0], x[:50]) and np.array_equal(splits["test"][0], x[50:])
    assert np.array_equal(splits["train"][1], y[:50]) and np.array_equal(splits["test"][1], y[50:])


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_cifar10_unpacked(tmp_path, monkeypatch, inner):
    (tmp_path / inner).mkdir(exist_ok=True)
    for name, content in cifar_batches(monkeypatch):
        (tmp_path / inner / name).write_bytes(content)
    assert_cifar(idx.read_cifar10(tmp_path))
    (tmp_path / inner / "data_batch_2.bin").write_bytes(b"short")
    with pytest.raises(errors.DataError, match=r"data_batch_2\.bin: wanted"):
        idx.read_cifar10(tmp_path)

    def refuse(path, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(idx.pathlib.Path, "open", refuse)
    with pytest.raises(errors.DataError, match=r"data_batch_1\.bin: Permission denied\.$"):
        idx.read_cifar10(tmp_path)


def test_cifar10_archive(tmp_path, monkeypatch, any_checksum):
    path = tmp_path / idx.ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        for name, content in cifar_batches(monkeypatch):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert_cifar(idx.read_cifar10(tmp_path))
    with pytest.raises(errors.DataError, match=r"no cifar-10-binary\.tar\.gz; put it there"):
        idx.read_cifar10(tmp_path / "nowhere")
    data.prepare("cifar10", str(tmp_path / "prepared"), str(tmp_path))
    x, y = cifar_splits()
    for folder in (tmp_path, tmp_path / "prepared"):
        loaded = data.load("cifar10", str(folder))
        assert loaded.class_names == NAMED["cifar10"].class_names
        assert np.array_equal(loaded.y_train, y[:50])
        assert np.array_equal(loaded.x_train, x[:50] / np.float32(255))
    whole = path.read_bytes()
    half = len(whole) // 2
    for content in (
        whole[:-500],
        whole[:half] + bytes(half),
        whole[:half] + b"\xff" * half,
        whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :],  # a pixel, perhaps
        b"no archive",
    ):
        path.write_bytes(content)
        with pytest.raises(errors.DataError, match="corrupt archive"):
            idx.read_cifar10(tmp_path)


def test_cifar10_mosaics(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "_MOSAIC", (2, 5))
    x, y = cifar_splits()
    for i in range(6):
        tiles = x[10 * i : 10 * i + 10].reshape(2, 5, 32, 32, 3).transpose(0, 2, 1, 3, 4)
        name = f"train_{i:02d}.png" if i < 5 else "test_00.webp"
        Image.fromarray(tiles.reshape(64, 160, 3)).save(tmp_path / name, lossless=True)
    np.save(tmp_path / "labels.npy", y)
    assert_cifar(idx.read_cifar10(tmp_path))
    assert np.array_equal(data.load("cifar10", str(tmp_path)).y_test, y[50:])
    np.save(tmp_path / "labels.npy", y[:-1])
    with pytest.raises(errors.DataError, match=r"50 \+ 10 images"):
        idx.read_cifar10(tmp_path)
    np.save(tmp_path / "labels.npy", y.astype(object))
    with pytest.raises(errors.DataError, match="corrupt"):
        idx.read_cifar10(tmp_path)
    (tmp_path / "labels.npy").write_bytes(b"")
    with pytest.raises(errors.DataError, match="corrupt"):
        idx.read_cifar10(tmp_path)


def test_commands_without_tensorflow(tmp_path):
    """Runs prepare_data on the real files, then training, each in a separate process."""
    files = real_folder("mnist")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "tensorflow.py").write_text("raise ImportError('TensorFlow asked for')")
    path = os.pathsep.join([str(tmp_path / "none"), os.environ.get("PYTHONPATH", "")])

    def run(module, *flags):
        command = [sys.executable, "-m", module, "--dataset=mnist", f"--data_dir={tmp_path}"]
        completed = subprocess.run(
            [*command, *flags],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
            check=False,
        )
        assert completed.returncode == 0, completed.stderr
        return completed.stdout

    printed = run("experiments.prepare_data", f"--download_dir={files}")
    assert "train with: python -m experiments.train --dataset=mnist" in printed
    small = ["--config.epochs=1", "--config.units=(8,)", "--config.denoising_cost=(1.0,)"]
    printed = run(
        "experiments.train", *small, "--compare=none", "--noreport", f"--workdir={tmp_path / 'run'}"
    )
    assert "test error in %, mnist, 100 labels" in printed
    labels = json.loads((tmp_path / "run" / "ladder-0" / "labels.json").read_text())
    y = idx.read_mnist(files)["train"][1].astype(np.int32)
    assert labels == data.choose_labeled(y, 100, 0, 10).tolist()
