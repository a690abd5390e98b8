"""Stops a run from inside, as a failure of the caller's would."""


class StopError(Exception):
    pass


def stop_at(epoch):
    """A progress callback that raises after this epoch."""

    def progress(line):
        if line["epoch"] == epoch:
            raise StopError

    return progress
