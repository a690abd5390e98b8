"""Reading what a file declares, and no more: a lying header takes no memory."""

from __future__ import annotations

from typing import Protocol

import numpy as np

MOST_DEFLATED = 1100
"""No deflate stream grows to more than 1,032 times its size (RFC 1951's longest
matches in the shortest codes); a header that declares more is wrong."""

_CHUNK = 1 << 20


class Readable(Protocol):
    """Any file, plain or unpacked while it is read."""

    def read(self, size: int, /) -> bytes: ...


def read_into(file: Readable, array: np.ndarray) -> int:
    """Fills an array from a file, a part at a time.

    Args:
      file: open for reading.
      array: contiguous, of any dtype; it is written to.

    Returns:
      How many bytes were there, at most those of the array.

    Example:
      >>> import io
      >>> import numpy as np
      >>> array = np.empty(2, np.uint8)
      >>> read_into(io.BytesIO(b"abc"), array), array.tolist()
      (2, [97, 98])
    """
    view = array.reshape(-1).view(np.uint8)
    done = 0
    while done < view.size:
        part = file.read(min(_CHUNK, view.size - done))
        if not part:
            break
        view[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
    return done
