"""Checkpoints of a run, on a disk by Orbax; the only file that knows it."""

from __future__ import annotations

import contextlib
import functools
import logging
import pathlib
import zlib
from typing import Any, NamedTuple, Self

import numpy as np

from ladder_jax import parallel
from ladder_jax.bucket_checkpoints import BucketCheckpoints, epochs_in
from ladder_jax.files import WriteError, advice, is_bucket, remove, writing
from ladder_jax.packing import pack, size_of, unpack
from ladder_jax.training import TrainState

_LOG = logging.getLogger("ladder_jax")
Best = tuple[int, float]
"""Epoch and error of the best evaluation on validation examples."""


class Reached(NamedTuple):
    """How far a run has come.

    Attributes:
      epoch: the last that is done; the metrics file has a line for each.
      seconds: of training so far, over all starts.
      best: of the mean error over the members, a single run being its only one, or
        None.
      bests: each member's own, once there are any.
    """

    epoch: int = 0
    seconds: float = 0.0
    best: Best | None = None
    bests: tuple[Best, ...] = ()


def _read_best(value: Any) -> Best:
    """From JSON, which knows no tuples."""
    epoch, error = value
    return int(epoch), float(error)


def _not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


class _OrbaxCheckpoints:
    """As ``BucketCheckpoints``, on a disk."""

    def __init__(self, folder: pathlib.Path, keep: int) -> None:
        import orbax.checkpoint as ocp  # only where something is saved: it takes its time

        for left in folder.glob("*orbax-checkpoint-tmp*"):  # by a save cut short
            remove(left)

        def error(metrics: Any) -> float:
            return float(metrics["error"])

        policies = ocp.checkpoint_managers
        last = policies.LatestN(keep)
        best = policies.BestN(
            get_metric_fn=error, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        # With best_fn the errors are saved, too, and known after another start.
        settings: dict[str, Any] = {
            "preservation_policy": policies.AnyPreservationPolicy([last, best]),
            "best_fn": error,
        }
        if parallel.several():  # it waits for no other process
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

    def save(
        self, epoch: int, packed: np.ndarray, about: dict[str, Any], error: float | None
    ) -> None:
        items = self._args.Composite(
            state=self._args.StandardSave({"bytes": packed}), reached=self._args.JsonSave(about)
        )
        metrics = None if error is None else {"error": error}
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
    """The last ``keep`` states of a run and the best on validation, in a folder.

    Saving is asynchronous, and a checkpoint is there whole or not at all. The folder
    is made by the first save. Of several processes the first alone saves and reads.

    Args:
      folder: theirs alone.
      keep: how many of the last are kept.

    Example:
      >>> import pathlib, tempfile, jax, optax
      >>> from ladder_jax import presets, training
      >>> net, optimizer = presets.mlp(4, [3, 2]), optax.adam(0.1)
      >>> state = training.create_train_state(net, optimizer, jax.random.key(0))
      >>> with tempfile.TemporaryDirectory() as name:
      ...     with Checkpoints(pathlib.Path(name) / "checkpoints", keep=1) as saved:
      ...         saved.save(state, Reached(epoch=3))
      ...         restored, reached = saved.restore(state, lines=3)
      >>> reached.epoch, bool((restored.key == state.key).all())
      (3, True)
    """

    def __init__(self, folder: pathlib.Path, keep: int) -> None:
        self.folder = folder if is_bucket(folder) else folder.absolute()
        self._keep = keep

    def __enter__(self) -> Self:
        # A failed save is raised; Orbax would log its traceback many times over besides.
        logging.getLogger("absl").addFilter(_not_orbax)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if "_store" in vars(self):
                self._store.close()
        except (OSError, ValueError) as failed:  # a save that was not waited for
            if kind is None:
                raise self._write_error(failed) from failed
        finally:
            logging.getLogger("absl").removeFilter(_not_orbax)

    @functools.cached_property
    def _store(self) -> BucketCheckpoints | _OrbaxCheckpoints:
        store = BucketCheckpoints if is_bucket(self.folder) else _OrbaxCheckpoints
        return store(self.folder, self._keep)

    @property
    def epochs(self) -> list[int]:
        """Of the checkpoints that are there, the newest last."""
        return epochs_in(self.folder)

    def _write_error(self, error: Exception) -> WriteError:
        reason = str(error).rsplit(": ", 1)[-1].split("[")[0].strip()
        intact = ""
        with contextlib.suppress(Exception):  # a bucket may not even say what is in it
            intact = f"; that of epoch {self.epochs[-1]} is whole"
        return WriteError(
            f"cannot save a checkpoint in {self.folder}: {reason}{intact}; "
            f"{advice(error, self.folder)}."
        )

    @property
    def busy(self) -> bool:
        """Whether a save is still being written, or is another process's to do."""
        if not parallel.is_first():
            return True
        return "_store" in vars(self) and self._store.busy

    def save(self, state: TrainState, reached: Reached, *, error: float | None = None) -> None:
        """Begins to save a state; it may be used up at once.

        Args:
          state: after ``reached.epoch`` epochs.
          reached: how far the run is.
          error: given where it is the least on validation examples so far.

        Raises:
          WriteError: this or the last one cannot be written.
        """
        if not parallel.is_first():
            return
        packed = pack(state)
        extra = reached._asdict() | {"checksum": zlib.crc32(packed.data), "size": packed.size}
        try:
            self._store.save(reached.epoch, packed, extra, error)
        except (OSError, ValueError) as failed:
            raise self._write_error(failed) from failed

    def wait(self) -> None:
        """Waits for the save that goes on, if any.

        Raises:
          WriteError: it cannot be written.
        """
        try:
            if "_store" in vars(self):
                self._store.wait()
        except (OSError, ValueError) as failed:
            raise self._write_error(failed) from failed

    def _read(self, epoch: int, size: int) -> tuple[np.ndarray, Reached]:
        """The packed state, which must have so many bytes."""
        extra = self._store.about(epoch)
        if (found := extra.pop("size")) != size:
            raise ValueError(f"it has {found} bytes, the run's state {size}")
        packed = self._store.packed(epoch, size)
        if zlib.crc32(packed.data) != extra.pop("checksum"):
            raise ValueError("its checksum is wrong")
        best, bests = extra.pop("best"), tuple(map(_read_best, extra.pop("bests")))
        return packed, Reached(**extra, best=best and _read_best(best), bests=bests)

    def restore(self, like: TrainState, lines: int) -> tuple[TrainState, Reached] | None:
        """The newest good checkpoint; those that cannot be read are put aside with a warning.

        Args:
          like: a state of the same structure.
          lines: how many the metrics file has; a checkpoint of more epochs is not good.

        Returns:
          ``(state, reached)``, or None if there is none.
        """
        found = parallel.from_first(lambda: self._newest(size_of(like), lines))
        return found and (unpack(found[0], like), found[1])

    def _newest(self, size: int, lines: int) -> tuple[np.ndarray, Reached] | None:
        """Of the good ones, the state not yet unpacked."""
        self.wait()
        for epoch in reversed(self.epochs):
            try:
                found = self._read(epoch, size)
                if epoch <= lines:
                    return found
                reason = "the metrics file is shorter than when it was saved"
            except Exception as error:  # Orbax raises whatever its parts do
                reason = " ".join(str(error).split())[:200] or type(error).__name__
            aside = self.folder.with_name(f"unreadable-{epoch}")
            remove(aside)
            self._store.move(epoch, aside)
            before = [e for e in self.epochs if e < epoch]
            on = f"from epoch {before[-1]}" if before else "from the start"
            _LOG.warning(
                "checkpoint of epoch %d cannot be read (%s), moved to %s; going on %s",
                *(epoch, reason, aside, on),
            )
        return None

    def finish(self, best: int | None) -> None:
        """Removes all but the best: a run that is done needs no other."""
        self.wait()
        with writing(self.folder):
            for epoch in self.epochs:
                if epoch != best:
                    remove(self.folder / str(epoch))
            if not self.epochs:
                remove(self.folder)
