"""Whether what a stream is asked for fits into this machine, before it is made."""

import os

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import check_memory
from ipads_stream.stream.stream import Stream

FEW = 100_000  # samples that are held at a time without a look at what they take
THREADS = 16  # per processor


def check_request(stream: Stream) -> None:
    """Raises ConfigError, by key, of more threads than help, or of batches that memory cannot hold.

    What one sample takes, times those of the batches that are made ahead, made, and used.
    """
    most = THREADS * (os.cpu_count() or 1)
    if stream.threads > most:
        raise ConfigError("threads", stream.threads, f"at most {most} on this machine")
    held = stream.batch_size * (stream.depth + stream.threads + 1)
    if held <= FEW:
        return
    name = "batch_size" if stream.batch_size >= stream.depth else "depth"
    one = stream.sample([0], raw=True)
    arrays = [*one.inputs.values(), *one.targets.values(), *one.params.values()]
    check_memory(name, getattr(stream, name), held * sum(int(x.nbytes) for x in arrays))
