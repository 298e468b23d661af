"""The chance band of ROC and Molchan diagram, and what SVG slimming may not touch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from seisprobe.report.curves import chance_hits
from seisprobe.report.drawing import panels, picture

TAU = np.linspace(0.001, 0.999, 97)


@pytest.mark.parametrize("k", [1, 3, 10, 30])
def test_the_band_of_mainshocks_apart_is_binomial(k: int) -> None:
    low, high = chance_hits((1,) * k, TAU)
    np.testing.assert_allclose(high * k, binom.ppf(0.95, k, TAU))
    np.testing.assert_allclose(low * k, binom.ppf(0.05, k, TAU))


def test_members_of_a_block_are_caught_together() -> None:
    rng = np.random.default_rng(0)
    for tau in (0.1, 0.4, 0.8):
        hits = (rng.random((200_000, 2)) < tau) @ np.array([1, 2]) / 3
        low, high = chance_hits((1, 2), np.array([tau]))
        assert np.mean(hits > high[0]) <= 0.052
        assert np.mean(hits < low[0]) <= 0.052
        assert np.mean(hits >= high[0]) > 0.05


def test_figures_do_not_depend_on_the_users_own_settings() -> None:
    import matplotlib as mpl

    def draw() -> object:
        figure, (axis,) = panels(3.0, 2.0, (0.5, 0.1, 0.4, 0.1))
        axis.plot([0, 1], [0, 1])
        return figure

    plain = picture(draw, "a line", "").uri
    with mpl.rc_context({"font.size": 30.0, "axes.grid": True, "xtick.direction": "in"}):
        assert picture(draw, "a line", "").uri == plain
        assert mpl.rcParams["font.size"] == 30.0
