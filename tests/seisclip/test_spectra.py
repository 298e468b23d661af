"""Spectrograms equal scipy's and the authors', and bad waveforms are refused in one line."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from seisprobe.errors import InputError
from seisprobe.seisclip.spectra import check_waveforms, cut_windows, spectrogram, z_norm
from support.seisclip import golden, real_windows


def counts(n=3, samples=6000, seed=0):
    random = np.random.default_rng(seed)
    return (random.normal(0, 300, (n, 3, samples)) + random.normal(0, 5000, (n, 3, 1))).astype(np.float32)


def scipy_spectrogram(windows, length):
    """The authors' cal_norm_spectrogram after z_norm, in float64."""
    x = windows.astype(np.float64)
    x = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-3)
    _, _, z = scipy.signal.stft(x, fs=100, nperseg=length, noverlap=length // 2, nfft=100)
    return np.abs(z)[..., 1:, 1:].swapaxes(-1, -2)


@pytest.mark.parametrize(("samples", "frames", "length"), [(6000, 120, 100), (6000, 600, 20), (12000, 240, 100)])
def test_equals_scipy_stft(samples, frames, length):
    windows = counts(samples=samples)
    found = spectrogram(windows, frames)
    assert found.shape == (3, 3, frames, 50)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scipy_spectrogram(windows, length), atol=3e-6)


@pytest.mark.parametrize("frames", [120, 600])
def test_equals_the_authors_code(frames):
    waveform = golden(120)["waveform"]
    np.testing.assert_allclose(spectrogram(waveform, frames), golden(frames)["spectrogram"], atol=2e-6, rtol=0)


def test_z_norm_equals_the_authors_code():
    vectors = golden(120)
    np.testing.assert_allclose(z_norm(vectors["waveform"]), vectors["znorm"], atol=2e-6, rtol=0)


def test_equals_scipy_on_real_waveforms():
    windows = real_windows(events=4, noise=3)
    np.testing.assert_allclose(spectrogram(windows), scipy_spectrogram(windows, 100), atol=5e-6)


@pytest.mark.parametrize("frames", [120, 600])
def test_torch_version_equals_numpy(frames):
    torch = pytest.importorskip("torch")
    from seisprobe.seisclip.fast import TorchSpectra

    windows = counts(11)
    windows[4, 1] = 0
    found = TorchSpectra(6000, frames)(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(found, spectrogram(windows, frames), atol=3e-6)


def test_input_is_not_changed_and_any_real_type_will_do():
    windows = counts().round()
    before = windows.copy()
    expected = spectrogram(windows)
    np.testing.assert_array_equal(windows, before)
    windows.flags.writeable = False
    np.testing.assert_array_equal(spectrogram(windows), expected)
    for kind in (">f4", "f8", "i4"):
        np.testing.assert_array_equal(spectrogram(windows.astype(kind)), expected)


def test_a_spectrogram_does_not_depend_on_its_neighbours():
    windows = counts(21)
    np.testing.assert_array_equal(spectrogram(windows)[13:17], spectrogram(windows[13:17]))


@settings(max_examples=20, deadline=None)
@given(st.floats(10, 1e6), st.floats(-1e4, 1e4))
def test_gain_and_offset_of_counts_do_not_matter(gain, offset):
    windows = counts(1)
    np.testing.assert_allclose(spectrogram(windows.astype("f8") * gain + offset), spectrogram(windows), atol=2e-4)


def test_no_windows_give_no_spectrograms():
    assert spectrogram(np.empty((0, 3, 6000))).shape == (0, 3, 120, 50)


def test_all_zero_channels_are_allowed_and_counted():
    windows = counts(2)
    windows[1, 2] = 0
    _, quality = check_waveforms(windows)
    assert (quality.windows, quality.zero_channels, quality.small_windows) == (2, 1, 0)
    assert not spectrogram(windows)[1, 2].any()
    assert check_waveforms(np.zeros((2, 3, 6000)))[1].small_windows == 0


def test_windows_in_metres_per_second_are_counted():
    assert check_waveforms(counts(3) * 1e-9)[1].small_windows == 3


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (np.zeros((3, 6000)), r"shape \(3, 6000\): give \(n, 3, 6000\)"),
        (np.zeros((2, 1, 6000)), r"shape \(2, 1, 6000\)"),
        (np.zeros((2, 3, 6001)), r"shape \(2, 3, 6001\)"),
        (np.zeros((2, 3, 6000), complex), "type complex128"),
        (np.full((2, 3, 6000), "x"), "give real numbers"),
        (np.where(np.arange(6000) == 7, np.nan, np.ones((1, 3, 6000))), "window 0, component E: NaN or infinite"),
        (np.where(np.arange(6000) == 7, -np.inf, np.ones((1, 3, 6000))), "3 channels in all"),
        (np.full((1, 3, 6000), 1e300), "NaN or infinite"),
    ],
)
def test_bad_waveforms_are_refused_in_one_line(windows, message):
    with pytest.raises(InputError, match=message) as error:
        check_waveforms(windows)
    assert "\n" not in str(error.value)


def test_the_bad_window_and_component_are_named():
    windows = counts(5)
    windows[3, 1, 17] = np.inf
    with pytest.raises(InputError, match="window 3, component N"):
        spectrogram(windows)


def test_another_rate_is_refused():
    with pytest.raises(InputError, match="128 Hz: SeisCLIP takes 100 Hz; resample"):
        check_waveforms(counts(), sampling_rate_hz=128)


@pytest.mark.parametrize(("samples", "frames"), [(6000, 121), (6001, 120), (12000, 120), (6000, 0), (0, 0)])
def test_frames_that_do_not_fit_are_refused(samples, frames):
    with pytest.raises(InputError, match=r"frames = |give \(n, 3, samples\)"):
        spectrogram(np.zeros((1, 3, samples)), frames)


def test_two_minutes_are_cut_into_two_segments_in_time_order():
    windows = np.arange(2 * 3 * 12000).reshape(2, 3, 12000)
    cut = cut_windows(windows)
    np.testing.assert_array_equal(cut[1, 0, 2], windows[1, 2, :6000])
    np.testing.assert_array_equal(cut[1, 1, 2], windows[1, 2, 6000:])
    with pytest.raises(InputError, match="give"):
        cut_windows(windows[..., :-1])
