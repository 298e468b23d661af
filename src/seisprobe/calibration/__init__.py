"""How often the software is right: the whole protocol on many worlds in which the answer is known (PROTOCOL 5, 6)."""

from seisprobe.calibration.catalogs import Request, binomial_interval, world_study
from seisprobe.calibration.injection import inject, injection_lines
from seisprobe.calibration.many import calibrate, judge_world, rate_lines, summarise

__all__ = [
    "Request",
    "binomial_interval",
    "calibrate",
    "inject",
    "injection_lines",
    "judge_world",
    "rate_lines",
    "summarise",
    "world_study",
]
