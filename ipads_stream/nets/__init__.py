"""Networks, one published architecture a file.

A network is a ``torch.nn.Module`` with ``forward(inputs) -> predictions``: inputs by name as the
system renders them, batch first, to predictions by the names of the targets, each of the target's
shape and in its unit (``testing.check_net``). Its arguments are its YAML keys; ``outputs``, where
it has them, are the quantities of its system (:func:`ipads_stream.nets.outputs.filled_outputs`).
"""
