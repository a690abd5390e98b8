"""Checkpoints of a run, in a bucket or on a disk; the only module that uses Orbax."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import logging
import operator
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from ladder_jax.errors import WriteError
from ladder_jax.run import multiprocess
from ladder_jax.run.files import advice, is_bucket, listed, reason_of, remove, writing
from ladder_jax.training import TrainState

_LOG = logging.getLogger("ladder_jax")
Best = tuple[int, float]
"""Epoch and error of the best evaluation on validation examples."""


class RunProgress(NamedTuple):
    """Holds the progress of a run.

    Attributes:
      epoch: last finished epoch; the metrics file has one line per epoch.
      seconds: training time so far, including that of earlier starts.
      best: lowest validation error so far, as the mean over the members (a single run is
        its only member), or None.
      bests: lowest validation error of each member; empty before the first validation.
    """

    epoch: int = 0
    seconds: float = 0.0
    best: Best | None = None
    bests: tuple[Best, ...] = ()


def _not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _plain(state: TrainState) -> TrainState:
    """Returns the state with its key as raw key data."""
    return state._replace(key=jax.random.key_data(state.key))


def _layout_of(state: TrainState) -> int:
    """Computes a checksum of the names, shapes and dtypes of a state's arrays, in order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(_plain(state))
    path_of = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return zlib.crc32(repr([(path_of(p), x.shape, str(x.dtype)) for p, x in leaves]).encode())


def _pack(state: TrainState) -> np.ndarray:
    """Joins all arrays of a state into one of bytes, a copy that no later step can change.

    One array is saved faster than many, and a full disk makes only one save fail.
    """
    leaves = jax.tree.leaves(_plain(state))
    return np.frombuffer(b"".join(np.asarray(leaf).tobytes() for leaf in leaves), np.uint8)


def _unpack(packed: np.ndarray, like: TrainState) -> TrainState:
    """Restores the state that ``_pack`` was given."""
    leaves, structure = jax.tree.flatten(_plain(like))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])

    def put(part: np.ndarray, old: jax.Array) -> Any:
        array = np.frombuffer(part.tobytes(), old.dtype).reshape(old.shape)
        if not old.committed:
            return jax.device_put(array)
        # If the sharding spans several processes, each puts its own part.
        return jax.make_array_from_callback(old.shape, old.sharding, array.__getitem__)

    parts = np.split(packed, ends[:-1])
    state: TrainState = jax.tree.unflatten(structure, map(put, parts, leaves))
    key = jax.random.wrap_key_data(state.key, impl=jax.random.key_impl(like.key))
    return state._replace(key=key)


def epochs_in(folder: pathlib.Path) -> list[int]:
    """Returns the epochs of the checkpoints in a folder, in ascending order."""
    return sorted(int(path.name) for path in listed(folder) if path.name.isdigit())


class _BucketCheckpoints:
    """Keeps checkpoints in a bucket: each a line of JSON, then the bytes of the state.

    Orbax would need permission to read the bucket's settings and a second library with its
    own credentials; on S3 it would also rename, which copies file by file.
    """

    def __init__(self, folder: pathlib.Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        self._last: concurrent.futures.Future[None] | None = None

    @property
    def busy(self) -> bool:
        return self._last is not None and not self._last.done()

    def save(self, epoch: int, packed: np.ndarray, about: Mapping[str, Any]) -> None:
        """Starts a save, once the previous one is done."""
        self.wait()
        self._last = self._thread.submit(self._write, epoch, packed, about)

    def _write(self, epoch: int, packed: np.ndarray, about: Mapping[str, Any]) -> None:
        content = json.dumps(about).encode() + b"\n" + packed.tobytes()
        (self._folder / str(epoch)).write_bytes(content)
        epochs = epochs_in(self._folder)
        retained = {epoch, *epochs[-self._keep :], *(about["best"] or ())[:1]}
        for old in set(epochs) - retained:
            remove(self._folder / str(old))

    def wait(self) -> None:
        """Waits for the save in progress, if any; raises an OSError if it failed."""
        last, self._last = self._last, None
        try:
            if last is not None:
                last.result()
        except Exception as error:  # bucket libraries raise their own errors
            raise OSError(reason_of(error)) from error

    def about(self, epoch: int) -> dict[str, Any]:
        """Returns the metadata that ``save`` was given with a state."""
        with (self._folder / str(epoch)).open("rb") as file:
            about: dict[str, Any] = json.loads(file.readline())
        return about

    def packed(self, epoch: int, size: int) -> np.ndarray:
        """Returns the packed state; only Orbax needs its expected size, in bytes."""
        del size
        content = (self._folder / str(epoch)).read_bytes()
        return np.frombuffer(content, np.uint8, offset=content.index(b"\n") + 1)

    def move(self, epoch: int, aside: pathlib.Path) -> None:
        (self._folder / str(epoch)).replace(aside)

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()


class _OrbaxCheckpoints:
    """Keeps checkpoints on a disk, with the methods of ``_BucketCheckpoints``."""

    def __init__(self, folder: pathlib.Path, keep: int) -> None:
        import orbax.checkpoint as ocp  # imported only when needed: it is slow

        for partial in folder.glob("*orbax-checkpoint-tmp*"):  # of an interrupted save
            remove(partial)

        error, policies = operator.itemgetter("error"), ocp.checkpoint_managers
        last = policies.LatestN(keep)
        best = policies.BestN(
            get_metric_fn=error, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        # With best_fn, the errors are saved as well, and are known after a restart.
        settings: dict[str, Any] = {
            "preservation_policy": policies.AnyPreservationPolicy([last, best]),
            "best_fn": error,
        }
        if multiprocess.is_multiprocess():  # so that Orbax waits for no other process
            folder.mkdir(parents=True, exist_ok=True)
            settings["create"] = False
            settings["multiprocessing_options"] = ocp.options.MultiprocessingOptions(
                primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
            )
        options = ocp.CheckpointManagerOptions(**settings)
        self._args, self._manager = ocp.args, ocp.CheckpointManager(folder, options=options)
        self.wait, self.close = self._manager.wait_until_finished, self._manager.close

    @property
    def busy(self) -> bool:
        return bool(self._manager.is_saving_in_progress())

    def save(self, epoch: int, packed: np.ndarray, about: dict[str, Any]) -> None:
        items = self._args.Composite(
            state=self._args.StandardSave({"bytes": packed}), reached=self._args.JsonSave(about)
        )
        best = about["best"]
        metrics = {"error": best[1]} if best and best[0] == epoch else None
        self._manager.save(epoch, args=items, metrics=metrics, force=True)

    def about(self, epoch: int) -> dict[str, Any]:
        items = self._args.Composite(reached=self._args.JsonRestore())
        return dict(self._manager.restore(epoch, args=items).reached)

    def packed(self, epoch: int, size: int) -> np.ndarray:
        wanted = {"bytes": np.zeros(size, np.uint8)}
        items = self._args.Composite(state=self._args.StandardRestore(wanted))
        packed: np.ndarray = self._manager.restore(epoch, args=items).state["bytes"]
        return packed

    def move(self, epoch: int, aside: pathlib.Path) -> None:
        (pathlib.Path(self._manager.directory) / str(epoch)).replace(aside)
        self._manager.reload()


class Checkpoints:
    """Keeps the last ``keep`` states of a run and the best on validation, in a folder.

    Saving is asynchronous and atomic: a checkpoint is complete or absent. The first save
    creates the folder. With several processes, only the first one saves and reads.

    Args:
      folder: folder for the checkpoints only.
      keep: number of last states to keep.

    Examples:
      >>> import pathlib, tempfile, jax, optax
      >>> from ladder_jax import presets, training
      >>> net, optimizer = presets.mlp(4, [3, 2]), optax.adam(0.1)
      >>> state = training.create_train_state(net, optimizer, jax.random.key(0))
      >>> with tempfile.TemporaryDirectory() as name:
      ...     with Checkpoints(pathlib.Path(name) / "checkpoints", keep=1) as saved:
      ...         saved.save(state, RunProgress(epoch=3))
      ...         restored, reached = saved.restore(state, lines=3)
      >>> reached.epoch, bool((restored.key == state.key).all())
      (3, True)
    """

    def __init__(self, folder: pathlib.Path, keep: int) -> None:
        self.folder = folder if is_bucket(folder) else folder.absolute()
        self._keep = keep

    def __enter__(self) -> Self:
        # A failed save is raised; Orbax would also log its traceback many times.
        logging.getLogger("absl").addFilter(_not_orbax)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with self._failing():  # a save not yet waited for may fail
                if self._begun:
                    self._store.close()
        except WriteError:
            if kind is None:
                raise
        finally:
            logging.getLogger("absl").removeFilter(_not_orbax)

    @functools.cached_property
    def _store(self) -> _BucketCheckpoints | _OrbaxCheckpoints:
        store = _BucketCheckpoints if is_bucket(self.folder) else _OrbaxCheckpoints
        return store(self.folder, self._keep)

    @property
    def _begun(self) -> bool:
        """Returns whether anything has been saved or read yet."""
        return "_store" in vars(self)

    @property
    def epochs(self) -> list[int]:
        """Returns the epochs of the existing checkpoints, in ascending order."""
        return epochs_in(self.folder)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turns any error in saving into a ``WriteError``."""
        try:
            yield
        except (OSError, ValueError) as error:
            reason = str(error).rsplit(": ", 1)[-1].split("[")[0].strip()
            intact = ""
            with contextlib.suppress(Exception):  # a bucket may fail to list its content, too
                intact = f"; that of epoch {self.epochs[-1]} is intact"
            raise WriteError(
                f"cannot save a checkpoint in {self.folder}: {reason}{intact}; "
                f"{advice(error, self.folder)}."
            ) from error

    @property
    def busy(self) -> bool:
        """Returns whether a save is in progress, or is the task of another process."""
        return not multiprocess.is_primary() or (self._begun and self._store.busy)

    def save(self, state: TrainState, reached: RunProgress) -> None:
        """Starts saving a state, which may be donated right away; the best one is kept."""
        if not multiprocess.is_primary():
            return
        packed = _pack(state)
        checks = {"checksum": zlib.crc32(packed.data), "layout": _layout_of(state)}
        with self._failing():
            self._store.save(reached.epoch, packed, reached._asdict() | checks)

    def wait(self) -> None:
        """Waits for the save in progress, if any."""
        with self._failing():
            if self._begun:
                self._store.wait()

    def restore(self, like: TrainState, lines: int) -> tuple[TrainState, RunProgress] | None:
        """Returns the newest good checkpoint; corrupt ones are moved aside, with a warning."""
        newest = multiprocess.broadcast_from_primary(lambda: self._newest(like, lines))
        return newest and (_unpack(newest[0], like), newest[1])

    def _newest(self, like: TrainState, lines: int) -> tuple[np.ndarray, RunProgress] | None:
        """Returns the newest good checkpoint with its state still packed."""
        self.wait()
        for epoch in reversed(self.epochs):
            try:
                checkpoint = self._read(epoch, like)
                if epoch <= lines:
                    return checkpoint
                reason = "the metrics file is shorter than when it was saved"
            except Exception as error:  # Orbax raises whatever its parts do
                reason = " ".join(str(error).split())[:200] or type(error).__name__
            aside = self.folder.with_name(f"unreadable-{epoch}")
            remove(aside)
            self._store.move(epoch, aside)
            before = [e for e in self.epochs if e < epoch]
            resumed_from = f"from epoch {before[-1]}" if before else "from the start"
            _LOG.warning(
                "checkpoint of epoch %d cannot be read (%s), moved to %s; resuming %s",
                *(epoch, reason, aside, resumed_from),
            )
        return None

    def _read(self, epoch: int, like: TrainState) -> tuple[np.ndarray, RunProgress]:
        """Reads a packed state, which must have the layout of ``like``, and its progress."""
        about = self._store.about(epoch)
        if about.get("layout") != _layout_of(like):
            raise ValueError(
                "its arrays have other shapes or another order: it is of another version"
            )
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(_plain(like)))
        packed = self._store.packed(epoch, size)
        if zlib.crc32(packed.data) != about["checksum"]:
            raise ValueError("its checksum is wrong")
        # JSON has no tuples.
        best, *bests = (value and tuple(value) for value in (about["best"], *about["bests"]))
        return packed, RunProgress(about["epoch"], about["seconds"], best, tuple(bests))

    def finish(self, best: int | None) -> None:
        """Removes all checkpoints but the best; a finished run needs no other."""
        self.wait()
        with writing(self.folder):
            for epoch in self.epochs:
                if epoch != best:
                    remove(self.folder / str(epoch))
            if not self.epochs:
                remove(self.folder)
