"""Float matrix -> packed binary codes, as scikit-learn transformers."""

from embcompress.quantizers.base import BinaryQuantizer
from embcompress.quantizers.baselines import LSH, PCASign, Sign
from embcompress.quantizers.iiq import IIQ
from embcompress.quantizers.itq import ITQ
from embcompress.quantizers.nlb import NLB

__all__ = ["IIQ", "ITQ", "LSH", "NLB", "BinaryQuantizer", "PCASign", "Sign"]
