"""The table of a program: one row of integers for each step, and what its columns mean."""

from __future__ import annotations

__all__ = ["N_FIELDS"]  # and the constants below

# what a step does
LINEAR, COPY_FRAMES, COPY_ROWS, RECURRENT, POOL_FRAMES, GATES = range(6)
PLACE_MAP, CONV_PANELS, CONV_KERNELS, MAX_POOL, AVERAGE_POOL, MAP_MEAN = range(6, 12)
AFFINE, ACTIVATE, ADD_ROWS, NOTHING = range(12, 16)

# how the weights of a linear step lie
PANELS, PANELS_INT8, CSR = range(3)

# columns of every step; places are indices into the workspace
OP = 0
SOURCE = 1  # -1: the input of the program
SOURCE_STRIDE = 2
TARGET = 3
TARGET_STRIDE = 4
BY_FRAME = 5  # 1: one row for each frame, 0: for each sample
WIDTH = 6  # inputs
OUTPUTS = 7
ACTIVATION = 8
# of linear steps
LAYOUT = 9
VALUES = 10  # in `floats`, or in `bytes` for int8
BIAS = 11  # in `floats`, as all below unless said
STARTS = 12  # in `ints`
COLUMNS = 13  # in `ints`
N_PANELS = 14
COMBINE_STARTS = 15  # in `ints`; -1: outputs lie as the panels do
COMBINE_INDEX = 16  # in `ints`
COMBINE_BIAS = 17
PACKED = 18  # scratch: a tile, input by input
PARTS = 19  # scratch: what panels give before they are combined
# of int8
STEPS = 20  # size of a step of each output
BEGIN = 21  # in `ints`: what the sums begin at
ORDER = 22  # in `ints`: which input is which byte; -1: as they come
N_BYTES = 23  # a multiple of 4
SCALE = 24  # of the inputs; -1: from the largest of each row
QUADS = 25  # scratch in `quads`
PACKED_QUADS = 26  # scratch in `quads`
# of recurrent steps; their matrix of states is the linear step `STATE_STEP`
STATE_STEP = 9
HIDDEN = 10  # units
STATES = 11  # scratch: the states of the sequences, and cells behind them
GATES_AT = 12  # scratch: what the matrix of states gives
GATES_STRIDE = 13
REVERSE = 14
OFFSET = 15  # of these units in a row of the target
CELL = 16  # 0: GRU, 1: LSTM
STATE_BIAS = 17  # in `floats`: added to the states' part of the new gate (GRU)

TO_OUTPUT = 30  # 1: the step writes the output of the program itself

N_FIELDS = 32
