"""Stops a run from inside, as an error in the caller's callback would."""


class StopError(Exception):
    pass


def stop_at(epoch):
    """Returns a progress callback that raises after this epoch."""

    def progress(line):
        if line["epoch"] == epoch:
            raise StopError

    return progress
