"""Programs in ONNX, for other runtimes.

:func:`to_onnx` writes a graph with the standard operators alone. What it is made of:

Inputs
    ``input``, with any number of samples: rows (n, features) and maps (n, channels, height, width)
    in float32; codes as packed bits, uint8 (n, bytes), which the graph unpacks to -1 and +1; frames
    (n, time, features) with a second input ``lengths``, int64 (n,), each at least 1. What lies
    after the end of a sequence may be anything, NaN included. A recurrent cell reads ``state``,
    float32 (n, units), units, then cells of an LSTM; zeros at the beginning.
Outputs
    ``logits``, as the program gives them, (n, outputs) or (n, time, outputs); of a classifier also
    ``probabilities`` and ``label``, the number of the class, int64. A cell that is followed by
    other layers gives ``new_state`` too.
Linear layers and convolutions
    Where zeros leave dense blocks (rows that read nearly the same inputs, or inputs that are read
    by the same rows) that cost at most 3/4 of the dense product, the inputs of each block are
    gathered, multiplied by a dense matrix, and put together; an output that keeps nothing gives its
    bias. What a block and a gathered input cost besides is measured, see
    :mod:`embcompress.runtime.onnx_export.blocks`. Everything else is a dense product with zeros.
Weights in the file
    The kept numbers and a bit for each place, or for each group where groups were pruned. The
    graph puts dense arrays together from these constants, which runtimes do once at loading, so
    the file follows the rate and products are as fast as dense ones.
int8
    Weights lie in the file as int8 with a scale for each output. With an `input_scale` a linear
    layer gets QuantizeLinear and DequantizeLinear around its input, the form that onnxruntime
    computes in integers; inputs are cut at -128 steps, and on x86 without VNNI sums may saturate.
    Without one the weights are converted when the file is loaded, and the layer computes in
    float32.
Recurrent layers
    The operators GRU and LSTM with all gates' matrices dense; each direction is an operator of its
    own. Outputs after the end of a sequence are 0. int8 weights are converted at loading.

Nodes are named as the layers; those that a layer needs besides begin with its name and a slash.
"""

from embcompress.runtime.onnx_export.export import to_onnx

__all__ = ["to_onnx"]
