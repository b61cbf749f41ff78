"""The table of a program: one row of integers for each step, and what its columns mean."""

from __future__ import annotations

__all__ = ["N_FIELDS"]  # and the constants below

# what a step does
LINEAR, COPY_FRAMES, COPY_ROWS, RECURRENT, POOL_FRAMES, GATES = range(6)
PLACE_MAP, SPLIT_MAP, CONV_PANELS, CONV_LISTS, POOL, MAP_MEAN, MAP_POINTWISE = range(6, 13)
COLLECT_MAP, AFFINE, NOTHING, ADD_ROWS = range(13, 17)

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
SCATTER_COUNTS = 15  # in `ints`; -1: outputs lie as the panels do
SCATTER_ROWS = 16  # in `ints`
SCATTER_BIAS = 17
PACKED = 18  # scratch: a tile, input by input
PARTS = 19  # scratch: what panels give before it is scattered
# of affine steps: the mean lies at `BIAS`, the scale at `STEPS`
SHIFT = 17
# of int8
STEPS = 20  # size of a step of each output
BEGIN = 21  # in `ints`: what the sums begin at
ORDER = 22  # in `ints`: which input is which byte; -1: as they come
N_BYTES = 23  # a multiple of 4
SCALE = 24  # of the inputs; -1: from the largest of each row
QUADS = 25  # scratch in `quads`
PACKED_QUADS = 26  # scratch in `quads`
# of sums
SECOND = 10  # as SOURCE
SECOND_STRIDE = 11
# of recurrent steps; their matrix of states is the linear step `STATE_STEP`
STATE_STEP = 9
HIDDEN = 10  # units
STATES = 11  # scratch: the states of the sequences, and cells behind them
GATES_AT = 12  # scratch: what the matrix of states gives
GATES_STRIDE = 13
REVERSE = 14
OFFSET = 15  # of these units in a row of the target
CELL = 16  # 0: GRU, 1: LSTM

# of steps on maps; SOURCE and TARGET are where buffers start, and origins follow
SOURCE_ORIGIN = 5
TARGET_ORIGIN = 6
SOURCE_PLANE = 2
TARGET_PLANE = 4
CLEAR = 7  # size of the target if its padding is read, which is set to 0 first
COVERED = 29  # positions of a plane of the target that are written
TARGET_CHANNELS = 31
VECTORS = 9
MASK = 10  # in `floats`
ADDED = 11  # a buffer, where `ADDED_ORIGIN` is not -1
ADDED_ORIGIN = 12
ADDED_PLANE = 13
MAP_VALUES = 14  # in `floats`
MAP_BIAS = 15
MAP_ROWS = 16  # in `ints`, as those below
MAP_STARTS = 17
MAP_LENGTHS = 18  # or where offsets that are no pairs start
MAP_OFFSETS = 19
MAP_COUNT = 20  # panels, filters or offsets
MAP_SCRATCH = 21
MAP_TILES = 22
N_TILES = 23
CHANNELS = 24
HEIGHT = 25  # of the source
MAP_WIDTH = 26
SOURCE_PITCH = 27
MAP_KIND = 28  # of pooling
# of splitting, in the place of the weights
TARGET_PITCH = 14
TARGET_HEIGHT = 15
TARGET_WIDTH = 16
STRIDE = 17
PHASES_Y = 18
PHASES_X = 19
ABOVE = 20

TO_OUTPUT = 30  # 1: the step writes the output of the program itself

N_FIELDS = 32
