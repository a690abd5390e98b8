"""A bucket as fsspec sees one: whole objects by name, no folders, no renaming, no appending.

Its objects are files in the folder FAKE_BUCKET, so that several processes share them. As a program,
it runs the given command with the bucket, e.g. ``fake_bucket.py experiments.train --seeds=2``.
"""

import io
import os
import pathlib
import runpy
import sys
import tempfile
import urllib.parse

import fsspec

WRITTEN = []
"""Names of the objects that this process has written."""


class ForbiddenError(Exception):
    """Not an OSError, because the libraries of buckets have their own errors."""


class _Upload(io.BytesIO):
    """Becomes an object when it is closed."""

    def __init__(self, name):
        super().__init__()
        self._object = name

    def close(self):
        if self.closed:
            return
        content = self.getvalue()
        super().close()  # first, else garbage collection closes a failed upload again
        if "forbidden" in self._object:
            raise ForbiddenError("403: you may not write here")
        with tempfile.NamedTemporaryFile(dir=_root(), prefix="~", delete=False) as file:
            file.write(content)
        pathlib.Path(file.name).replace(_file_of(self._object))
        WRITTEN.append(self._object)


def _root():
    return pathlib.Path(os.environ["FAKE_BUCKET"])


def _file_of(name):
    return _root() / urllib.parse.quote(name, safe="")


def names():
    """Returns the names of all objects."""
    found = (urllib.parse.unquote(p.name) for p in _root().iterdir() if not p.name.startswith("~"))
    return sorted(found)


class FakeBucket(fsspec.AbstractFileSystem):
    protocol = ("gcs", "gs", "s3")
    cachable = False

    @classmethod
    def _strip_protocol(cls, path):
        return os.fspath(path).split("://")[-1].rstrip("/")

    def info(self, path, **_):
        path = self._strip_protocol(path)
        if "unreachable" in path:
            raise ForbiddenError("401: anonymous caller\nhas no access")
        if _file_of(path).is_file():
            return {"name": path, "size": _file_of(path).stat().st_size, "type": "file"}
        if any(name.startswith(f"{path}/") for name in names()):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path, detail=True, **_):
        path = self._strip_protocol(path)
        if self.info(path)["type"] == "file":
            found = [path]
        else:
            below = [n.removeprefix(f"{path}/") for n in names() if n.startswith(f"{path}/")]
            found = sorted({f"{path}/{name.split('/')[0]}" for name in below})
        return [self.info(name) for name in found] if detail else found

    def _open(self, path, mode="rb", **_):
        path = self._strip_protocol(path)
        if mode == "wb":
            return _Upload(path)
        assert mode == "rb", "nothing is added to an object"
        if not _file_of(path).is_file():
            raise FileNotFoundError(path)
        return _file_of(path).open("rb")

    def cp_file(self, path1, path2, **_):
        self.pipe_file(path2, self.cat_file(path1))

    def _rm(self, path):
        _file_of(self._strip_protocol(path)).unlink(missing_ok=True)  # a folder is only a prefix

    def mkdir(self, path, *_, **__):
        raise AssertionError(f"mkdir {path}: it could make a bucket")

    makedirs = mkdir


def register():
    """Registers the bucket for gs:// and s3:// with fsspec, and thereby with etils.epath."""
    os.environ["EPATH_USE_TF"] = "false"
    for scheme in FakeBucket.protocol:
        fsspec.register_implementation(scheme, FakeBucket, clobber=True)


if __name__ == "__main__":
    register()
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
