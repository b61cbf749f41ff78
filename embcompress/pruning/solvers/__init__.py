"""Solvers: how the zeros that a scheme allows are found."""

from embcompress.pruning.solvers.admm import ADMM
from embcompress.pruning.solvers.base import Problem, Solver
from embcompress.pruning.solvers.gradual import GradualMagnitude
from embcompress.pruning.solvers.one_shot import OneShot
from embcompress.pruning.solvers.primal_proximal import PrimalProximal
from embcompress.pruning.solvers.reweighted import Reweighted

__all__ = [
    "ADMM",
    "GradualMagnitude",
    "OneShot",
    "PrimalProximal",
    "Problem",
    "Reweighted",
    "Solver",
]
