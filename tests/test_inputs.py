"""New examples from .npz files, CSV files and images, valid and invalid."""

import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from tiny_predictors import rows

from experiments import new_examples
from ladder_jax.data import new_rows
from ladder_jax.errors import DataError

SHAPE = (2, 3)


def read(path, shape=SHAPE, scale="bytes", **how):
    parts = list(new_examples.read(path, shape, **how))
    x = [new_rows(part.source, part.x, shape, part.first, scale) for part in parts]
    return [n for part in parts for n in part.names], np.concatenate(x)


def save_png(path, pixels, mode=None):
    Image.fromarray(pixels).convert(mode or Image.fromarray(pixels).mode).save(path)


def test_forms_agree(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 2, 3), np.uint8)
    expected = pixels / np.float32(255)
    np.savez(tmp_path / "a.npz", x=pixels)
    np.savez_compressed(tmp_path / "flat.npz", x=expected.reshape(600, 6).astype(">f8"), y=[1])
    np.savetxt(tmp_path / "b.csv", expected.reshape(600, 6), delimiter=",", header="a,b,c,d,e,f")
    text = (tmp_path / "b.csv").read_text()
    (tmp_path / "c.CSV").write_text(
        "\ufeff" + text.partition("\n")[2].replace("\n", "\r\n\r\n"), newline=""
    )
    np.savetxt(tmp_path / "d.csv", pixels.reshape(600, 6), "%d", delimiter=",")
    (tmp_path / "png").mkdir()
    for i in range(300):
        save_png(tmp_path / "png" / f"{i:03}.png", pixels[i])
    (tmp_path / "png" / ".hidden.png").write_bytes(b"no image")
    (tmp_path / "png" / "labels.txt").write_text("0")
    for name in ("a.npz", "flat.npz", "b.csv", "c.CSV", "d.csv"):
        names, x = read(tmp_path / name)
        assert names == [str(i) for i in range(600)]
        assert x.shape == (600, 2, 3)
        np.testing.assert_allclose(x, expected, rtol=1e-6)
    names, x = read(tmp_path / "png")
    assert names == [f"{i:03}.png" for i in range(300)]
    np.testing.assert_array_equal(x, expected[:300])
    assert [len(part.x) for part in new_examples.read(tmp_path / "a.npz", SHAPE)] == [256, 256, 88]


def test_grey_and_coloured_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    grey = pixels[..., 0]
    save_png(tmp_path / "a.png", pixels)
    save_png(tmp_path / "b.PNG", pixels, "RGBA")  # opaque
    np.testing.assert_array_equal(read(tmp_path, (2, 3, 3))[1] * 255, [pixels, pixels])
    luminance = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(np.rint(read(tmp_path, (2, 3, 1))[1][0, ..., 0] * 255), luminance)
    for path in tmp_path.iterdir():
        path.unlink()
    save_png(tmp_path / "a.png", grey)
    assert read(tmp_path)[1].shape == (1, 2, 3)
    coloured = np.rint(255 * read(tmp_path, (2, 3, 3))[1][0])
    np.testing.assert_array_equal(coloured, np.stack([grey] * 3, -1))


def write_png(tmp_path):
    save_png(tmp_path / "whole.png", np.zeros((2, 3), np.uint8))
    return (tmp_path / "whole.png").read_bytes()


BAD = {
    "nowhere.npz": (None, "No such file"),
    "other.txt": (b"1,2", r"give an \.npz file, a \.csv file, a PNG or JPEG file or a"),
    "no.npz": (b"no archive", r"not an \.npz file"),
    "named.npz": ({"images": rows(SHAPE)}, "no array 'x'"),
    "shape.npz": ({"x": rows((5,))}, r"shape \(40, 5\); wanted \[n, 2, 3\] or \[n, 6\]"),
    "one.npz": ({"x": rows(SHAPE)[0, 0]}, r"shape \(3,\)"),
    "scalar.npz": ({"x": np.array(1.0)}, r"shape \(\)"),
    "none.npz": ({"x": rows(SHAPE)[:0]}, "no examples"),
    "text.npz": ({"x": np.full((2, 6), "a")}, "dtype <U1"),
    "complex.npz": ({"x": np.ones((2, 6), complex)}, "dtype complex128"),
    "object.npz": ({"x": np.full((2, 6), None)}, "Python objects"),
    "nan.npz": (
        {"x": np.where(np.arange(300)[:, None] == 290, np.nan, rows((6,), 300))},
        "row 290",
    ),
    "empty.csv": (b"", "no examples"),
    "header.csv": (b"a,b,c,d,e,f\n", "no examples"),
    "ragged.csv": (b"1,2,3,4,5,6\n1,2,3\n", "line 2: 3 values; wanted 6"),
    "word.csv": (b"a,b,c,d,e,f\n1,2,x,4,5,6\n", "line 2, column 3: 'x' is not a number"),
    "first.csv": (b"1,2,x,4,5,6\n", "line 1, column 3: 'x' is not a number"),
    "missing.csv": (b"1,2,,4,5,6\n", "line 1, column 3: '' is not a number"),
    "columns.csv": (
        b"0,1,2,3,4,5\n1,1,1,1,1,1\n",
        "0, 1 .* 5 in order, .* --header=yes or",
    ),
    "semicolons.csv": (b"1,5;2;3\n4,5;6;7\n", "line 1: 3 values; wanted 6"),
    "waves.csv": (b"400,410.5,420,431,440,450\n1,1,1,1,1,1\n", "400, 410.5 .* --header=yes"),
    "mixed.csv": (b"name,410,420,430,440,450\n1,1,1,1,1,1\n", "'name' is not .* --header=yes"),
    "nan.csv": (b"1,3,2,4,5,6\n1,2,nan,4,5,6\n", "the first is row 1, position \\(0, 2\\)"),
    "bytes.csv": (b"\xff\xfe1\x00,", "not UTF-8"),
    "null.csv": (b"1,3,2,4,5,6\n1,2\0,3,4,5,6\n", "line 2"),
    "long.csv": (b"1," * 100_000, "more than 1600 characters"),
    "quoted.csv": (b'"' + b"1\n" * 100_000, "field larger than"),
    "open.csv": (b'1,3,2,4,5,6\n1,2,3,4,5,"6\n1,2,3,4,5,6\n', "line 3: unexpected end of data"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


WAVES = "400,410,420,430,440,450\n"
FLAT = "1,1,2,1,1,1\n"


@pytest.mark.parametrize(
    ("text", "header", "rows_wanted", "said"),
    [
        (WAVES + FLAT, "yes", 1, "names"),
        (WAVES + FLAT, "no", 2, "an example"),
        ("a,b,c,d,e,f\n\n" + FLAT, "auto", 1, "names"),
        ("a,b,c,d,e,f\n" + FLAT * 300, "yes", 300, "names"),
        (FLAT + WAVES, "auto", 2, "an example"),
        (WAVES + WAVES, "auto", 2, "an example"),  # the other line rises too, as the data do
        ("5.1,4.9,1.4,0.2,9,1\n", "auto", 1, "an example"),
    ],
)
def test_first_line_is_names_or_an_example(tmp_path, text, header, rows_wanted, said):
    path, lines = tmp_path / "new.csv", []
    path.write_text(text)
    names, x = read(path, scale="numbers", header=header, tell=lines.append)
    assert names == [str(i) for i in range(rows_wanted)] and len(x) == rows_wanted
    assert lines == [f"first line of {path} taken as {said}"]
    if said == "names":
        np.testing.assert_array_equal(x[0].ravel(), [1, 1, 2, 1, 1, 1])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("id,b,a,b\n7,2,1,2\n", "2 columns 'b'; keep one of them"),
        ('id,b,a\n"7,2,1\n8,2,1\n', "line 3: unexpected end of data; close each quote"),
    ],
)
def test_bad_columns(tmp_path, text, wanted):
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(DataError, match=wanted):
        read(tmp_path / "new.csv", (2,), "numbers", names=("a", "b"))


def test_names_of_features_that_are_numbers(tmp_path):
    path, how = tmp_path / "new.csv", {"shape": (2,), "scale": "numbers"}
    path.write_text("1, 0\n5,7\n")
    with pytest.raises(DataError, match="the names of the features in training, an example or col"):
        read(path, names=("0", "1"), **how)
    assert read(path, names=("0", "1"), header="yes", **how)[1].tolist() == [[7, 5]]
    assert read(path, names=("0", "1"), header="no", **how)[1].tolist() == [[1, 0], [5, 7]]
    path.write_text("1,b\n5,7\n")  # some of them are not
    assert read(path, names=("b", "1"), **how)[1].tolist() == [[7, 5]]


def test_unknown_header(tmp_path):
    with pytest.raises(DataError, match="header='maybe'; give one of auto, yes, no"):
        read(tmp_path, header="maybe")


def test_cells_keep_their_digits(tmp_path):
    (tmp_path / "time.csv").write_text("1700000060.25,1,1,2,1,1\n1700000000,1,1,2,1,1\n")
    _, x = read(tmp_path / "time.csv", scale="numbers")
    assert x[0, 0, 0] - x[1, 0, 0] == 60.25


def test_bad_images(tmp_path):
    png = write_png(tmp_path)
    flipped = png[:45] + bytes([png[45] ^ 1]) + png[46:]
    folder = tmp_path / "png"
    folder.mkdir()
    with pytest.raises(DataError, match="no PNG or JPEG files in it"):
        read(folder)
    (folder / "a.png").write_bytes(png)
    with pytest.raises(DataError, match=r"an example was \(6,\), no image"):
        read(folder, (6,))
    for content in (b"", b"no image", png[:40], png[:-16], flipped):
        (folder / "b.png").write_bytes(content)
        with pytest.raises(DataError, match=r"b\.png: not a PNG file, or a corrupt one"):
            read(folder)
    for pixels, message in (
        (np.zeros((3, 2), np.uint8), r"3 x 2 pixels; wanted 2 x 3"),
        (np.zeros((2, 3), np.uint16), "16 bits"),
        (np.zeros((2, 3, 4), np.uint8), "transparent"),
    ):
        save_png(folder / "b.png", pixels)
        with pytest.raises(DataError, match=message):
            read(folder)
    (folder / "b.png").unlink()
    (folder / "b.png").mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        read(folder)


def test_huge_image_is_refused_by_its_header(tmp_path):
    png = write_png(tmp_path)
    huge = png[:16] + (60_000).to_bytes(4) * 2 + png[24:]
    checksum = zlib.crc32(huge[12:29])
    (tmp_path / "whole.png").write_bytes(huge[:29] + checksum.to_bytes(4) + huge[33:])
    with pytest.raises(DataError, match=r"whole\.png"):
        read(tmp_path)


def test_without_pillow(tmp_path, monkeypatch):
    write_png(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match="pip install pillow"):
        read(tmp_path)
