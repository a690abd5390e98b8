"""Masks, numbers and several labels per row: arrays, files, folders, and the choice of rows."""

import errno
import pathlib
import shutil
import types
import zlib

import numpy as np
import pytest
from data_files import mnist_like, write_idx
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from experiments import evaluate
from ladder_jax import data, errors, targets
from ladder_jax.config import Config
from ladder_jax.data import images, labels
from ladder_jax.data.named import NAMED, NamedSet, load_digits
from ladder_jax.data.textured import GROUND, textured_digits
from ladder_jax.errors import ConfigError
from ladder_jax.run import inputs

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 3, 4), np.uint8)
MASKS = np.arange(72).reshape(6, 3, 4) % 3
MASKS[1], MASKS[2, 0, 0], MASKS[2, 0, 1] = 255, -1, 255
X = RNG.normal(size=(6, 2))
NUMBERS = np.array([0.5, 2, np.nan, -1, 2, 3])
SEVERAL = np.array([[0, 1, 1], [1, 0, -1], [-1, -1, -1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])


def error_of(call, *args, **kwargs):
    """Returns the message of the error that a call raises, which is one line."""
    with pytest.raises(errors.DataError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def test_masks():
    dataset = data.from_arrays(IMAGES, MASKS, IMAGES[:1], MASKS[:1])
    assert (
        dataset.kind == "pixels"
        and dataset.class_names == ("0", "1", "2")
        and dataset.scale == "bytes"
    )
    assert dataset.x_train.shape == (6, 3, 4, 1) and dataset.x_test.shape == (1, 3, 4, 1)
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int32
    np.testing.assert_array_equal(dataset.y_train, np.where(MASKS == 255, -1, MASKS))
    assert labels.has_label(dataset.y_train, "pixels").tolist() == [True, False] + [True] * 4
    coloured = data.from_arrays(np.stack([IMAGES] * 3, -1), MASKS[..., None])
    assert coloured.x_train.shape == (6, 3, 4, 3)
    np.testing.assert_array_equal(coloured.y_train, dataset.y_train)
    from_bytes = data.from_arrays(IMAGES, (MASKS % 256).astype(np.uint8))  # -1 is 255
    np.testing.assert_array_equal(from_bytes.y_train, dataset.y_train)


def test_ignored_values_of_masks():
    masks = np.where(MASKS == 255, 7, np.maximum(MASKS, 0))
    dataset = data.from_arrays(IMAGES, masks, ignore=(7, 2))
    assert dataset.class_names == ("0", "1") and (dataset.y_train[1] == -1).all()
    assert ((dataset.y_train == -1) == np.isin(masks, (7, 2))).all()


def test_named_class_may_have_no_pixel():
    dataset = data.from_arrays(IMAGES, MASKS, class_names=["sky", "sea", "sand", "ship"])
    assert dataset.class_names[3] == "ship" and dataset.y_train.max() == 2
    assert "no pixel of class 1" in error_of(
        data.from_arrays, IMAGES, np.where(MASKS == 1, 0, MASKS)
    )


def test_numbers():
    dataset = data.from_arrays(X, NUMBERS, X[:2], NUMBERS[:2])
    assert dataset.kind == "numbers" and dataset.class_names == ("0",)
    assert dataset.y_train.dtype == np.float64 and dataset.y_train.shape == (6, 1)
    np.testing.assert_array_equal(dataset.y_train[:, 0], NUMBERS)
    table = np.stack([NUMBERS, NUMBERS[::-1]], 1).astype(np.float32)
    two = data.from_arrays(X, table, X[:1], table[:1], class_names=["height", "width"])
    assert two.y_train.dtype == np.float32 and two.class_names == ("height", "width")
    assert labels.has_label(two.y_train, "numbers").all()  # each row has at least one of both
    integers = data.from_arrays(X, np.arange(6), kind="numbers")
    assert integers.y_train[:, 0].tolist() == [0, 1, 2, 3, 4, 5] and integers.kind == "numbers"


def test_several():
    dataset = data.from_arrays(X, SEVERAL, X[:2], SEVERAL[:2], class_names=["a", "b", "c"])
    assert dataset.kind == "several" and dataset.y_train.dtype == np.int32
    np.testing.assert_array_equal(dataset.y_train, SEVERAL)
    assert labels.has_label(dataset.y_train, "several").sum() == 5
    assert labels.has_label(dataset.y_test[:0], "several").shape == (0,)
    booleans = data.from_arrays(X, SEVERAL > 0)
    np.testing.assert_array_equal(booleans.y_train, SEVERAL > 0)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.array([0, 1, -1]), "classes"),
        (np.array([[0], [1]]), "classes"),  # refused by its shape
        (np.array([[0, 1], [1, 1]]), "several"),
        (np.array([[True, False]]), "several"),
        (np.array([0.5, 1]), "numbers"),
        (np.array([0.0, 1, 5, np.nan]), "numbers"),
        (np.array([[0.5, 1], [1, 1]]), "numbers"),
        (np.array([np.nan, np.nan]), "numbers"),
        (np.array([0.5, np.inf]), "numbers"),
        (np.zeros((2, 3, 4), int), "pixels"),
        (np.zeros((2, 3, 4)), "pixels"),
    ],
)
def test_kinds_are_recognised(y, kind):
    assert labels.kind_of("y", y) == kind


@pytest.mark.parametrize(
    "y", [[0.0, 1.0], [25.0, 346.0], [0.0, 1.0, np.nan], [3.0, np.nan, 2.0, 1.0], [[1.0, 0.0]]]
)
def test_whole_floats_are_ambiguous(y):
    assert "give integers if they are classes, or say kind='numbers'" in error_of(
        labels.kind_of, "y", np.array(y)
    )


def test_npz_equals_arrays(tmp_path):
    path, kinds = tmp_path / "mine.npz", []
    for x, y, options in (
        (IMAGES, MASKS, {"ignore": [255]}),
        (X, NUMBERS, {"class_names": ["height"]}),
        (X, np.arange(6.0), {"kind": "numbers"}),
        (X, SEVERAL, {}),
    ):
        y = np.maximum(y, 0) if "ignore" in options else y
        np.savez(path, x=x, y=y, x_test=x[:1], y_test=y[:1], **options)
        loaded = data.load(str(path))
        expected = data.from_arrays(x, y, x[:1], y[:1], name="mine", **options)
        assert loaded.kind == expected.kind and loaded.class_names == expected.class_names
        for a, b in zip(loaded[1:5], expected[1:5], strict=True):
            np.testing.assert_array_equal(a, b)
        x_test, y_test, _ = data.load_test_npz(path, loaded.class_names, loaded.kind)
        np.testing.assert_array_equal(y_test, loaded.y_test)
        assert y_test.dtype == loaded.y_test.dtype and len(x_test) == 1
        kinds.append(loaded.kind)
    assert kinds == ["pixels", "numbers", "numbers", "several"]
    for wrong, wanted in (({"kind": "pixel"}, "give one of classes, pixels"), ({"kind": 1}, "kind "
        "must be a string"), ({"ignore": [0.5]}, "list of integers")):  # fmt: skip
        np.savez(path, x=X, y=NUMBERS, **wrong)
        assert wanted in error_of(data.load, str(path))


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


BAD = {
    "size": (IMAGES, MASKS[:, :2], {}, "masks are 2 x 4, but examples are 3 x 4"),
    "turned": (IMAGES, MASKS.swapaxes(1, 2), {}, "masks are 4 x 3, but examples are 3 x 4"),
    "no images": (X, MASKS, {}, "examples are rows of features; give images"),
    "range": (
        *(IMAGES, changed(MASKS, (3, 1, 2), 9), {"class_names": "abc"}),
        r"label 9 in row 3, position (1, 2); labels run from 0 to 2 (or -1",
    ),
    "negative": (IMAGES, changed(MASKS, (0, 0, 1), -2), {}, "label -2 in row 0, position (0, 1)"),
    "grey levels": (IMAGES, MASKS % 3 * 100, {}, "no pixel of class 1, though there are 201"),
    "0 and 255": (IMAGES, MASKS // 2 % 2 * 255, {}, "only one class; give at least two, numbered"),
    "colours": (IMAGES, np.stack([MASKS] * 3, -1), {}, "3 values per pixel, like a colour"),
    "float masks": (IMAGES, MASKS / 255, {}, "give masks of class numbers as integers"),
    "all ignored": (IMAGES, np.full_like(MASKS, 255), {}, "no pixel of any mask has a label"),
    "huge": (IMAGES, changed(MASKS, (0, 0, 1), 2**40), {}, "label 1099511627776; number"),
    "masks missing": (IMAGES, MASKS[:5], {}, "6 examples but 5 labels"),
    "NaN everywhere": (X, np.full(6, np.nan), {}, "NaN everywhere (no label)"),
    "infinite": (X, changed(NUMBERS, 4, np.inf), {}, "label inf in row 4, column 0; give finite"),
    "constant": (X, np.where(np.isnan(NUMBERS), np.nan, 0.5), {}, "label 0 is always 0.5"),
    "one column": (
        *(X, np.stack([NUMBERS, NUMBERS * np.nan], 1), {"class_names": ["a", "b"]}),
        "label 'b' is never given",
    ),
    "one number": (X, np.where(np.arange(6) == 1, 1.5, np.nan), {}, "label 0 is always 1.5"),
    "cube": (IMAGES, MASKS * 1.5, {"kind": "numbers"}, "give numbers, [rows] or [rows, columns]"),
    "words": (X, np.full(6, "a"), {"kind": "numbers"}, "dtype <U1; give numbers"),
    "names": (X, NUMBERS, {"class_names": ["a", "b"]}, "1 labels per row; wanted 2"),
    "twice": (X, SEVERAL, {"class_names": ["a", "b", "a"]}, "class name 'a' given twice"),
    "counts": (X, SEVERAL * 2, {}, "label 2 in row 0, column 1; labels run from 0 to 1 (or -1: "),
    "always": (X, changed(SEVERAL, (slice(None), 1), 1), {}, "label 1 is always 1"),
    "vector": (X, SEVERAL[:, 0], {"kind": "several"}, "give a matrix of 0, 1 and -1"),
    "no labels": (X, SEVERAL * 0 - 1, {}, "all labels are -1 (no label)"),
    "kind": (X, NUMBERS, {"kind": "number"}, "give one of classes, pixels, numbers, several"),
    "features": (changed(X, (2, 1), np.nan), NUMBERS, {}, "NaN or infinite values in 1 row(s)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_labels(case):
    x, y, options, wanted = BAD[case]
    assert wanted in error_of(data.from_arrays, x, y, name="mine", **options)


@pytest.mark.parametrize(
    ("x", "y", "y_test", "wanted"),
    [
        (IMAGES, MASKS, MASKS, "no label in row 1; leave the row out"),
        (IMAGES, MASKS, changed(MASKS, 1, 3), "label 3 in row 1, position (0, 0)"),
        (X, NUMBERS, NUMBERS, "no label in row 2; leave the row out"),
        (X, NUMBERS, np.stack([np.arange(6)] * 2, 1), "2 labels per row; wanted 1"),
        (X, SEVERAL, SEVERAL, "no label in row 2; leave the row out"),
        (X, SEVERAL, SEVERAL[:, :2], "2 labels per row; wanted 3"),
        (X, SEVERAL, NUMBERS, "dtype float64; give a matrix"),
    ],
)
def test_bad_test_labels(tmp_path, x, y, y_test, wanted):
    assert wanted in error_of(data.from_arrays, x, y, x, y_test)
    dataset = data.from_arrays(x, y)
    np.savez(tmp_path / "new.npz", x=x, y=y_test)
    found = error_of(data.load_test_npz, tmp_path / "new.npz", dataset.class_names, dataset.kind)
    assert wanted in found and "new.npz" in found


def save(path, pixels, palette=False):
    """Writes an image; a palette has three colours unless the numbers need more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette:
        image.putpalette([200, 0, 0, 0, 90, 0, 7, 7, 7] + [224] * 759 * int(np.max(pixels) > 2))
    image.save(path)


def write_masks(folder, palette=False):
    """Writes six images; the second has no mask, the third some void pixels."""
    for i, (image, mask) in enumerate(zip(IMAGES, MASKS, strict=True)):
        save(folder / "images" / f"{i}.png", image)
        if i != 1:
            save(folder / "masks" / f"{i}.png", mask % 256, palette)
    return folder


@pytest.mark.parametrize("palette", [False, True])
def test_folder_equals_arrays(tmp_path, palette):
    loaded = data.load(str(write_masks(tmp_path / "scans", palette)))
    expected = data.from_arrays(IMAGES, MASKS, name="scans")
    assert loaded.name == "scans" and loaded.kind == "pixels" and not len(loaded.y_test)
    for a, b in zip(loaded[1:5], expected[1:5], strict=True):
        np.testing.assert_array_equal(a, b)


def test_folder_with_a_test_set_colours_and_names(tmp_path, monkeypatch):
    folder = tmp_path / "scans"
    write_masks(folder / "train")
    save(folder / "train" / "images" / "0.png", np.stack([IMAGES[0]] * 3, -1))  # one is coloured
    save(folder / "test" / "images" / "z.PNG", IMAGES[0])
    save(folder / "test" / "masks" / "z.png", MASKS[0])
    (folder / "classes.txt").write_text("sky\nsea \n\nsand\nship\n")
    monkeypatch.chdir(tmp_path)
    dataset = data.load("scans")
    assert dataset.class_names == ("sky", "sea", "sand", "ship") and data.is_file("scans")
    assert dataset.x_train.shape == (6, 3, 4, 3) and dataset.x_test.shape == (1, 3, 4, 3)
    np.testing.assert_array_equal(dataset.y_test[0], MASKS[0])
    assert data.is_file(data.located("scans")) and data.located("") == ""
    for name in data.NAMES:  # a folder of that name does not replace the set
        (tmp_path / name / "images").mkdir(parents=True)
        assert not data.is_file(name)


def test_folder_for_evaluation(tmp_path):
    folder = write_masks(tmp_path / "scans")
    found = error_of(data.load_test_folder, folder, "abc", (3, 4, 1))
    assert "no mask 1.png; give one for each test image" in found
    (folder / "images" / "1.png").unlink()
    x, y, names = data.load_test_folder(folder, "abc", (3, 4, 1))
    assert x.dtype == np.uint8 and names == ()
    np.testing.assert_array_equal(x[..., 0], np.delete(IMAGES, 1, 0))
    np.testing.assert_array_equal(y, np.delete(np.where(MASKS == 255, -1, MASKS), 1, 0))
    assert "label 2 in row 0" in error_of(data.load_test_folder, folder, "ab", (3, 4, 1))
    assert "wanted 4 x 4, as in training" in error_of(
        data.load_test_folder, folder, "abc", (4, 4, 1)
    )
    save(folder / "test" / "images" / "a.png", IMAGES[0])
    save(folder / "test" / "masks" / "a.png", MASKS[0])
    assert len(data.load_test_folder(folder, "abc", (3, 4, 3))[0]) == 1


def spoil(folder, name, pixels=None, mode=None):
    """Writes an image into a folder of images and masks; removes it if ``pixels`` is None."""
    path = folder / name
    if pixels is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        image.convert(mode or image.mode).save(path)


BAD_FOLDERS = {
    "colours": ({"masks/0.png": (IMAGES[0], "RGB")}, "0.png: a mask of mode RGB; write class"),
    "alpha": ({"masks/0.png": (IMAGES[0], "LA")}, "0.png: a mask of mode LA; write class"),
    "16 bits": ({"masks/0.png": (IMAGES[0].astype(np.uint16), None)}, "a mask of mode I;16"),
    "mask size": ({"masks/0.png": (IMAGES[0].T, None)}, "4 x 3 pixels; wanted 3 x 4, as its image"),
    "size": ({"images/3.png": (IMAGES[0].T, None)}, "4 x 3 pixels; wanted 3 x 4, as the first"),
    "no image": ({"masks/9.png": (IMAGES[0], None)}, "masks/9.png: no image 9.png in"),
    "twice": ({"images/3.PNG": (IMAGES[0], None)}, "3.png: named as 3.PNG; give each"),
    "levels": ({"masks/0.png": (MASKS[0].astype(np.uint8) * 100, None)}, "no pixel of class 3"),
    "deep": ({"images/3.png": (IMAGES[0].astype(np.uint16), None)}, "16 bits per pixel"),
    "no masks": ({f"masks/{i}.png": (None,) for i in (0, 2, 3, 4, 5)}, "no pixel of any mask has"),
    "no images": (
        {f"images/{i}.png": (None,) for i in range(6)},
        "images: no PNG or JPEG files in it",
    ),
}


BAD_FOLDERS |= {
    "TIFF": (
        {"images/7.tif": (IMAGES[0], None)},
        "7.tif: only PNG and JPEG files are read; convert",
    ),
    "BMP mask": ({"masks/1.bmp": (IMAGES[0], None)}, "1.bmp: only PNG and JPEG files are read"),
    "JPEG mask": ({"masks/1.jpg": (IMAGES[0], None)}, "1.jpg: a JPEG file changes class numbers"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders(tmp_path, case):
    files, wanted = BAD_FOLDERS[case]
    folder = write_masks(tmp_path / "scans")
    for name, content in files.items():
        spoil(folder, name, *content)
    assert wanted in error_of(data.load, str(folder))


def test_other_bad_folders(tmp_path):
    assert "not a folder; give one that holds images" in error_of(
        data.load, str(tmp_path / "nowhere")
    )
    write_masks(tmp_path / "train")
    save(tmp_path / "test" / "images" / "z.png", IMAGES[0])
    assert "no mask z.png; give one for each test image" in error_of(data.load, str(tmp_path))
    (tmp_path / "train" / "masks" / "0.png").write_bytes(b"no image")
    (tmp_path / "test" / "images" / "z.png").unlink()
    assert "test/images: no PNG or JPEG files" in error_of(data.load, str(tmp_path))
    save(tmp_path / "test" / "images" / "z.png", IMAGES[0])
    assert "0.png: not a PNG file, or a corrupt one" in error_of(data.load, str(tmp_path))


def test_grey_masks_of_few_bits(tmp_path):
    """Pillow would read 15, the largest of four bits, as 255, which means no label."""

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)

    header = (4).to_bytes(4) + (1).to_bytes(4) + bytes([4, 0, 0, 0, 0])
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x0f\x01")), (b"IEND", b"")
    path = tmp_path / "mask.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks))
    assert "mask.png: grey values of 4 bits; write them with 8" in error_of(
        images.read_mask, path, 1, 4
    )


def test_unreadable_folders(tmp_path, monkeypatch):
    folder = write_pets(tmp_path / "pets")

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "iterdir", refuse)
    assert f"{folder}: Permission denied." == error_of(data.load, str(folder))


PETS = [*["cat"] * 2, *["dog"] * 2, *["unlabeled"] * 2]
PET_NUMBERS = [0, 0, 1, 1, -1, -1]


def write_pets(folder):
    """Writes six images: two per class, and two unlabelled ones."""
    for i, (image, name) in enumerate(zip(IMAGES, PETS, strict=True)):
        save(folder / name / f"{i}.png", image)
    return folder


def test_folders_of_classes_equal_arrays(tmp_path, monkeypatch):
    folder = write_pets(tmp_path / "pets")
    (folder / "cat" / "about.txt").write_text("no image")
    (folder / ".git").mkdir()
    loaded = data.load(str(folder))
    expected = data.from_arrays(IMAGES[..., None], PET_NUMBERS, class_names=["cat", "dog"])
    assert loaded.name == "pets" and loaded.kind == "classes" and not len(loaded.y_test)
    for a, b in zip(loaded[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    monkeypatch.chdir(tmp_path)
    assert data.is_file("pets") and data.load("pets").class_names == ("cat", "dog")
    assert not data.is_file("mnist_corrupted") and not data.is_file("pets/cat")


def test_folders_of_classes_with_a_test_set(tmp_path):
    folder = tmp_path / "pets"
    write_pets(folder / "train")
    grey = np.full((3, 4, 3), 99, np.uint8)  # unchanged by JPEG
    save(folder / "test" / "dog" / "9.JPG", grey)
    dataset = data.load(str(folder))
    assert dataset.x_train.shape == (6, 3, 4, 3) and dataset.y_test.tolist() == [1]
    assert dataset.y_train.tolist() == PET_NUMBERS
    np.testing.assert_allclose(dataset.x_test, 99 / 255, rtol=1e-6)
    x, y, names = data.load_test_folder(folder, ("cat", "dog"), (3, 4, 1), "classes")
    assert x.tolist() == np.full((1, 3, 4, 1), 99).tolist() and y.tolist() == [1]
    assert names == ("cat", "dog")
    flat, _, _ = data.load_test_folder(
        folder, names, (3, 4), "classes"
    )  # without channels, as in Keras
    np.testing.assert_array_equal(flat, x[..., 0])
    wanted = "images, but in training an example was (12,), no image"
    assert wanted in error_of(data.load_test_folder, folder, names, (12,), "classes")
    predictor = types.SimpleNamespace(
        class_names=names, target=targets.classes(2), example_shape=(3, 4, 3)
    )
    x, y = evaluate.examples(predictor, Config(dataset="digits"), str(folder), "")
    assert x.shape == (1, 3, 4, 3) and y.tolist() == [1]


def test_images_of_any_size(tmp_path, monkeypatch):
    """Scaling keeps a plain image plain; excess is cropped equally on both sides."""
    folder, bands = tmp_path / "pets", np.repeat([[0, 90, 0]], 4, 0).astype(np.uint8)
    save(folder / "train" / "cat" / "wide.png", np.repeat(bands, 4, 1))  # 4 x 12
    save(folder / "train" / "dog" / "high.png", np.repeat(bands, 4, 1).T)
    save(folder / "train" / "dog" / "large.png", np.full((9, 9), 30, np.uint8))
    save(folder / "train" / "unlabeled" / "fits.png", np.arange(16, dtype=np.uint8).reshape(4, 4))
    save(folder / "test" / "cat" / "small.png", np.full((2, 3, 3), (1, 2, 3), np.uint8))
    dataset = inputs.load_data(Config(dataset=str(folder), image_size=4))
    assert dataset.x_train.shape == (4, 4, 4, 3) and dataset.y_train.tolist() == [0, 1, 1, -1]
    for image, plain in zip(dataset.x_train, (90, 90, 30), strict=False):
        np.testing.assert_allclose(image, plain / 255, rtol=1e-6)
    np.testing.assert_allclose(255 * dataset.x_train[3, ..., 0].ravel(), np.arange(16), rtol=1e-6)
    np.testing.assert_allclose(255 * dataset.x_test[0], np.full((4, 4, 3), (1, 2, 3)), rtol=1e-6)
    x, *_ = data.load_test_folder(folder, ("cat", "dog"), (4, 4, 3), "classes", fit=True)
    np.testing.assert_allclose(x / 255, dataset.x_test, rtol=1e-6)
    monkeypatch.setattr(images, "_MOST_PIXELS", 80)
    found = error_of(data.load, str(folder), image_size=4)
    assert "large.png: 9 x 9 pixels; scale it to 80 pixels or fewer" in found


@pytest.mark.parametrize(
    ("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1), (0, 0), (9, 0)]
)
def test_exif_orientation_is_applied(tmp_path, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.kron([[10, 90, 170]], np.ones((8, 8))).astype(np.uint8)  # unchanged by JPEG
    shown, path = np.rot90(blocks, turned), tmp_path / "a.jpg"
    Image.fromarray(blocks).save(path, exif=exif, quality=100)
    assert images.image_shape(path) == (*shown.shape, 1)
    found = images.read_image(path, (*shown.shape, 1))
    np.testing.assert_allclose(found[..., 0].astype(int), shown, atol=2)


def test_sets_that_are_not_scaled(tmp_path):
    masks = write_masks(tmp_path / "scans")
    assert "image_size=4, but masks are not scaled" in error_of(data.load, str(masks), image_size=4)
    assert "but digits is no folder of images" in error_of(data.load, "digits", image_size=4)
    with pytest.raises(ConfigError, match="image_size"):
        Config(image_size=-1)


def spoil_pets(folder, case):
    """Adds or removes files so that folders of classes are invalid."""
    if case == "a class of the test set alone":
        save(folder / "test" / "cow" / "0.png", IMAGES[0])
    elif case == "an empty class":
        (folder / "train" / "ant").mkdir()
    elif case == "no label to test on":
        save(folder / "test" / "unlabeled" / "0.png", IMAGES[0])
    elif case == "unlabelled ones outside":
        (folder / "unlabeled").mkdir()
    elif case == "no class":
        shutil.rmtree(folder / "train")
        (folder / "train").mkdir()
    elif case == "misspelt":
        (folder / "train" / "unlabeled").rename(folder / "train" / "Unlabelled")
    elif case == "GIF":
        save(folder / "train" / "dog" / "9.GIF", IMAGES[0])
    elif case == "size":
        save(folder / "train" / "dog" / "9.png", IMAGES[0].T)
    elif case == "corrupt":
        (folder / "train" / "dog" / "9.jpeg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    else:
        shutil.rmtree(folder / "train" / "dog")


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        (
            "a class of the test set alone",
            "test/cow: not a class of the training data (cat, dog)",
        ),
        ("an empty class", "train/ant: no PNG or JPEG files in it; remove it"),
        ("no label to test on", "test/unlabeled: images without a label"),
        ("unlabelled ones outside", "pets/unlabeled: move it into "),
        ("no class", "train: no folder in it; put the images of each class in one of its name"),
        ("misspelt", "train/Unlabelled: would be a class; call the folder unlabeled"),
        ("GIF", "dog/9.GIF: only PNG and JPEG files are read; convert it, or remove it"),
        ("size", "9.png: 4 x 3 pixels; wanted 3 x 4, as the first image"),
        ("corrupt", "9.jpeg: not a JPEG file, or a corrupt one"),
        ("one class", "only one class"),
    ],
)
def test_bad_folders_of_classes(tmp_path, case, wanted):
    folder = tmp_path / "pets"
    write_pets(folder / "train")
    save(folder / "test" / "cat" / "0.png", IMAGES[0])
    spoil_pets(folder, case)
    assert wanted in error_of(data.load, str(folder))


def test_one_image_with_a_mask_is_too_few():
    dataset = data.from_arrays(IMAGES, np.where(np.arange(6)[:, None, None] < 1, MASKS, -1))
    config = Config(units=(2,), labels=-1, batch_unlabeled=3)
    assert "fewer than two labelled examples; give" in error_of(inputs.prepare, config, dataset)


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_chosen_rows_have_a_label(count, seed):
    y = np.where(np.arange(100) % 5 < 3, np.arange(100.0), np.nan)[:, None]
    rows = data.choose_uniform(y, count, seed, "numbers")
    assert len(set(rows)) == count and (np.diff(rows) > 0).all() and not np.isnan(y[rows]).any()
    assert np.array_equal(rows, data.choose_uniform(y, count, seed, "numbers"))


def test_each_label_has_a_positive_if_possible():
    """Two of 100 rows have the rarest label, so a plain choice of ten often misses it."""
    y = (RNG.random((100, 4)) < [0.5, 0.3, 0.1, 0]).astype(int)
    y[[17, 71], 3] = 1
    y[90:] = -1
    missed = 0
    for seed in range(50):
        plain = np.random.default_rng(seed).permutation(100)
        plain = plain[plain < 90][:10]
        rows = data.choose_uniform(y, 10, seed, "several")
        assert len(set(rows)) == 10 and rows.max() < 90 and (y[rows] == 1).any(0).all()
        missed += not (y[plain] == 1).any(0).all()
        if (y[plain] == 1).any(0).all():
            assert set(rows) == set(plain)  # a plain choice that has all labels is kept
    assert 20 < missed < 50
    assert len(data.choose_uniform(y, 1, 0, "several")) == 1  # one row cannot have all labels


def test_each_class_has_a_pixel_if_possible():
    y = np.full((40, 2, 2), -1)
    y[:30] = RNG.integers(0, 3, (30, 1, 1))
    y[7, 1, 1] = y[8, 1, 1] = 3
    chosen = [data.choose_uniform(y, 4, seed, "pixels") for seed in range(20)]
    assert all(set(y[rows].ravel()) >= {0, 1, 2, 3} and rows.max() < 30 for rows in chosen)
    assert len({tuple(rows) for rows in chosen}) > 10
    assert data.choose_uniform(y, 0, 0, "pixels").tolist() == list(range(30))


def test_impossible_choices_are_refused():
    y = np.array([[1.0], [1.0], [2.0], [np.nan]])
    assert "3 examples have one" in error_of(data.choose_uniform, y, 4, 0, "numbers")
    assert "labels=1, seed=0: label 0 is always" in error_of(
        data.choose_uniform, y, 1, 0, "numbers"
    )


def test_named_splits_of_other_kinds():
    rows = data.named_split("textured_digits.3@2", MASKS, 3, "pixels")
    assert np.array_equal(rows, data.choose_uniform(MASKS, 2, 3, "pixels"))


@pytest.fixture(scope="module")
def textured():
    return textured_digits(load_digits(), train=300, test=40)


def best_threshold(values, figure):
    """Returns the best threshold's balanced accuracy for figure and ground."""
    edges = np.linspace(values.min(), values.max(), 200)
    below = [
        np.searchsorted(np.sort(values[kind]), edges) / kind.sum() for kind in (figure, ~figure)
    ]
    return 0.5 + np.abs(below[0] - below[1]).max() / 2


def test_only_texture_separates_digits_from_the_ground(textured):
    image, figure = textured.x_train[..., 0], textured.y_train != GROUND
    assert 0.1 < figure.mean() < 0.4
    assert best_threshold(image, figure) < 0.51  # chance is 0.5
    for order in (1, 2):  # nor do the local mean and spread separate them
        moment = smooth((image - image.mean()) ** order)
        assert best_threshold(moment, figure) < 0.57
    down, across = (smooth(part**2) for part in np.gradient(image, axis=(1, 2)))
    assert best_threshold(down / (down + across), figure) > 0.8


def smooth(image):
    """Computes the mean of the 5 x 5 pixels around each."""
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, (5, 5), (1, 2)).mean((-1, -2))


def test_every_pixel_has_one_of_11_classes(textured):
    assert textured.kind == "pixels" and textured.scale == "bytes"
    assert textured.class_names == (*"0123456789", "ground")
    assert set(np.unique(textured.y_train)) == set(range(11))
    assert textured.x_train.shape == (300, 32, 32, 1) and textured.y_test.shape == (40, 32, 32)
    digits = [len(set(np.unique(mask)) - {GROUND}) for mask in textured.y_train]
    assert set(digits) <= {1, 2, 3} and np.mean(digits) > 2


def test_seed_determines_everything(textured):
    again = textured_digits(load_digits(), train=300, test=40)
    other = textured_digits(load_digits(), train=300, test=40, seed=1)
    for expected, same, different in zip(textured[1:5], again[1:5], other[1:5], strict=True):
        assert np.array_equal(expected, same) and not np.array_equal(expected, different)


def test_test_digits_are_not_training_digits():
    digits = load_digits()
    train, test = digits.y_train == 4, digits.y_test == 7
    two_classes = digits._replace(
        **{"x_train": digits.x_train[train], "y_train": digits.y_train[train]},
        **{"x_test": digits.x_test[test], "y_test": digits.y_test[test]},
    )
    small = textured_digits(two_classes, train=40, test=30, size=20)
    assert set(np.unique(small.y_train)) == {4, GROUND}
    assert set(np.unique(small.y_test)) == {7, GROUND} and small.x_test.shape == (30, 20, 20, 1)


def test_textured_digits_by_name():
    dataset = data.load("textured_digits")
    assert dataset.name == "textured_digits" and dataset.x_train.dtype == np.float32
    assert (len(dataset.x_train), len(dataset.x_test)) == (2000, 500)
    shares = np.bincount(dataset.y_train.ravel(), minlength=11)[:10]
    assert shares.min() > 0.6 * shares.max()


def test_digits_of_mnist_if_available(tmp_path, monkeypatch):
    monkeypatch.setitem(NAMED, "textured_digits", NamedSet(of_digits=lambda digits: digits))
    assert data.load("textured_digits", str(tmp_path)).x_train.shape[1:] == (8, 8, 1)
    write_idx(tmp_path, mnist_like())
    assert data.load("textured_digits", str(tmp_path)).x_train.shape[1:] == (28, 28, 1)


def test_digits_of_any_size_and_shape():
    """Digits of another size, one of them wider than high, fit into an image."""
    flat = np.zeros((2, 28, 28, 1), np.float32)
    flat[0, 12:15, 2:26] = flat[1, 2:26, 12:15] = 1
    y = np.array([0, 1], np.int32)
    dataset = textured_digits(data.Dataset("flat", flat, y, flat, y, ("0", "1")), 9, 9, size=24)
    assert dataset.x_train.shape == (9, 24, 24, 1) and (dataset.y_train != GROUND).any((1, 2)).all()
