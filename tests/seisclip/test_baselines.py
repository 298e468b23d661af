"""The baselines have the encoder's shape, and their numbers mean what they say."""

import numpy as np
import pytest
import scipy.stats

from seisprobe.errors import InputError
from seisprobe.seisclip.baselines import band_energy, random_encoder, random_values

SECONDS = np.arange(6000) / 100


def noise(n=4):
    return np.random.default_rng(0).normal(0, 100, (n, 3, 6000)).astype(np.float32)


def test_band_powers_add_up_to_the_variance():
    windows = noise()
    vectors = band_energy().encode(windows).reshape(4, 3, 11)
    total = (10.0 ** vectors[..., :8]).sum(-1)
    np.testing.assert_allclose(total, windows.var(-1), rtol=0.1)  # less what lies under 0.5 Hz


@pytest.mark.parametrize(
    ("frequency_hz", "band"), [(0.6, 0), (1.2, 1), (2.0, 2), (4.0, 3), (7.0, 4), (12.0, 5), (45.0, 7)]
)
def test_a_sine_is_in_its_band(frequency_hz, band):
    sine = np.tile(1000 * np.sin(2 * np.pi * frequency_hz * SECONDS), (1, 3, 1))
    vector = band_energy().encode(sine).reshape(3, 11)[2]
    assert vector[:8].argmax() == band
    assert 10 ** vector[band] == pytest.approx(1000**2 / 2, rel=0.01)
    assert vector[10] == pytest.approx(frequency_hz, abs=0.05)


def test_rsam_and_kurtosis_equal_their_definitions():
    windows = noise()
    windows[0, 0, 3000] = 5000
    vectors = band_energy().encode(windows).reshape(4, 3, 11)
    centred = windows - windows.mean(-1, keepdims=True)
    np.testing.assert_allclose(10.0 ** vectors[..., 8], np.abs(centred).mean(-1), rtol=1e-5)
    np.testing.assert_allclose(
        vectors[..., 9], scipy.stats.kurtosis(windows.astype(float), axis=-1), rtol=1e-4, atol=1e-4
    )


def test_silence_is_finite_and_counted():
    windows = noise(2)
    windows[1, 1] = 0
    encoder = band_energy()
    vector = encoder.encode(windows).reshape(2, 3, 11)[1, 1]
    np.testing.assert_allclose(vector, [-30] * 9 + [0, 0])
    assert encoder.seen.zero_channels == 1
    assert encoder.encode(windows[:0]).shape == (0, 33)
    with pytest.raises(InputError, match="shape"):
        encoder.encode(windows[0])


def test_random_weights_depend_on_name_and_seed_alone():
    one = random_values("spec.conv1.weight", (1, 3, 5, 5), 3)
    np.testing.assert_array_equal(one, random_values("spec.conv1.weight", (1, 3, 5, 5), 3))
    assert not np.array_equal(one, random_values("spec.conv1.weight", (1, 3, 5, 5), 4))
    assert random_values("x.weight", (400, 100), 0).std() == pytest.approx(0.1, rel=0.02)
    assert random_values("spec.v.pos_embed", (1, 46, 384), 0).std() == pytest.approx(0.02, rel=0.02)


def test_several_seeds_stand_side_by_side():
    pytest.importorskip("torch")
    windows = noise()
    both = random_encoder((7, 8), width=64, threads=1, backend="fused")
    assert both.dimension == 128
    alone = [random_encoder((seed,), width=64, threads=1, backend="fused").encode(windows) for seed in (7, 8)]
    np.testing.assert_array_equal(both.encode(windows).reshape(4, 2, 64), np.stack(alone, 1))
    assert np.abs(alone[0] - alone[1]).max() > 0.1
    assert both.fingerprint != random_encoder((7, 9), width=64, threads=1, backend="fused").fingerprint


def test_random_vectors_tell_windows_apart():
    pytest.importorskip("torch")
    windows = np.stack([np.tile(1000 * np.sin(2 * np.pi * f * SECONDS), (3, 1)) for f in (2, 2.01, 20)])
    vectors = random_encoder((0,), width=64, threads=1).encode(windows)
    near, far = np.linalg.norm(vectors[0] - vectors[1]), np.linalg.norm(vectors[0] - vectors[2])
    assert far > 3 * near


@pytest.mark.parametrize(
    "options", [{"seeds": ()}, {"seeds": (1, 1)}, {"seeds": (-1,)}, {"frames": 240}, {"width": 100}]
)
def test_bad_options_are_refused(options):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="give"):
        random_encoder(**options)
