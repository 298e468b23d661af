"""Every backend gives the reference's vectors; streams stay in order and in bounded memory; bad input is one line."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import pdist

from seisprobe.errors import InputError
from seisprobe.seisclip.spectra import spectrogram
from support.seisclip import cosines, golden, golden_model, golden_state, real_windows, varied_windows

torch = pytest.importorskip("torch")

from seisprobe.seisclip import load_model, make_encoder  # noqa: E402
from seisprobe.seisclip.backends import Options, has_fast_bfloat16, resolve, why_not  # noqa: E402
from seisprobe.seisclip.check import check_weights, synthetic_windows  # noqa: E402
from seisprobe.seisclip.engine import Encoder  # noqa: E402

ALL = [
    # float32 by OpenVINO takes as long to convert as bfloat16, and shows less
    pytest.param(backend, precision, marks=[pytest.mark.slow] * ((backend, precision) == ("openvino", "float32")))
    for backend in ("torch", "fused", "openvino")
    for precision in ("float32", "bfloat16")
    if (backend, precision) != ("torch", "float32")
]


def golden_encoder(frames=120, **options):
    return Encoder([golden_model(frames)], Options(**options), {"weights": "formula"}, 6000)


def small_encoder(**options):
    return Encoder(
        [golden_model(width=64, depth=1)], Options(**{"threads": 1, "backend": "fused", **options}), {}, 6000
    )


def skip_unless(backend):
    if why_not(backend):
        pytest.skip(f"{backend}: {why_not(backend)}")


@pytest.fixture(scope="module")
def reference():
    """Windows (made; golden and real ones where they are) and their vectors by torch in float32."""
    parts = [varied_windows()]
    for read in (lambda: golden(120)["waveform"], real_windows):
        try:
            parts.append(read())
        except pytest.skip.Exception:
            continue
    windows = np.concatenate(parts)
    return windows, golden_encoder().encode(windows)


@pytest.mark.parametrize("frames", [120, 600])
def test_waveform_to_vector_equals_the_authors_code(frames):
    encoder = golden_encoder(frames)
    vectors = golden(frames)
    np.testing.assert_allclose(encoder.encode(vectors["waveform"]), vectors["encode_audio"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(
        encoder.encode_spectrum(vectors["spectrogram"]), vectors["encode_audio"], atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(encoder.encode_metadata(vectors["text"]), vectors["encode_text"], atol=5e-6, rtol=0)


@pytest.mark.parametrize(("backend", "precision"), ALL)
def test_every_backend_gives_the_references_vectors(backend, precision, reference):
    skip_unless(backend)
    windows, expected = reference
    found = golden_encoder(backend=backend, precision=precision).encode(windows)
    assert cosines(found, expected).min() >= 0.9998
    assert scipy.stats.spearmanr(pdist(found), pdist(expected)).statistic >= 0.999
    if precision == "float32":
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_the_600_frame_model_in_bfloat16(reference):
    skip_unless("fused")
    windows = reference[0][:6]
    expected = golden_encoder(600).encode(windows)
    assert cosines(golden_encoder(600, backend="fused", precision="bfloat16").encode(windows), expected).min() >= 0.9998


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_compiled_backend_gives_the_references_vectors(precision, reference):
    skip_unless("compiled")
    windows, expected = reference
    found = golden_encoder(backend="compiled", precision=precision, batch=16).encode(windows)
    assert cosines(found, expected).min() >= 0.9998


def test_input_is_not_changed_and_any_layout_will_do():
    encoder, windows = small_encoder(), synthetic_windows(3)
    before = windows.copy()
    expected = encoder.encode(windows)
    np.testing.assert_array_equal(windows, before)
    windows.flags.writeable = False
    np.testing.assert_array_equal(encoder.encode(windows), expected)
    np.testing.assert_array_equal(encoder.encode(np.asfortranarray(windows)), expected)
    np.testing.assert_array_equal(encoder.encode(windows[::-1])[::-1], expected)
    np.testing.assert_array_equal(encoder.encode(windows.astype(">f8")), expected)


@pytest.mark.parametrize("backend", ["torch", "fused", "openvino"])
def test_threads_change_no_vector(backend):
    skip_unless(backend)
    windows = synthetic_windows(20)
    streams = [
        np.concatenate(list(small_encoder(backend=backend, threads=threads, batch=8).encode_stream(windows)))
        for threads in (1, 3)
    ]
    np.testing.assert_array_equal(*streams)


def test_a_stream_keeps_order_however_its_windows_are_blocked():
    encoder, windows = small_encoder(batch=2, threads=2), synthetic_windows(11)
    blocked = list(encoder.encode_stream([windows[:1], windows[1], windows[2:9], windows[9:9], windows[9:]]))
    assert [len(part) for part in blocked] == [2] * 5 + [1]
    np.testing.assert_array_equal(np.concatenate(blocked), encoder.encode(windows))
    assert list(encoder.encode_stream([])) == []

    def one_buffer():
        buffer = np.empty((3, 6000), np.float32)
        for window in windows:
            buffer[:] = window
            yield buffer

    np.testing.assert_array_equal(np.concatenate(list(encoder.encode_stream(one_buffer()))), np.concatenate(blocked))


def test_a_stream_holds_a_few_batches_at_a_time():
    taken = 0

    def source():
        nonlocal taken
        for window in synthetic_windows(40):
            taken += 1
            yield window

    stream = small_encoder(batch=4, threads=2).encode_stream(source())
    next(stream)
    assert taken <= 4 * (2 + 2)
    stream.close()


STREAM = """
import resource, sys
import numpy as np
from seisprobe.seisclip import random_encoder
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
encoder = random_encoder((0,), width=64, backend=sys.argv[1], threads=2)
random = np.random.default_rng(0)
base = random.normal(0, 100, (256, 3, 6000)).astype(np.float32)
done, marks = 0, {}
for vectors in encoder.encode_stream(base[index % 256] for index in range(int(sys.argv[2]))):
    done += len(vectors)
    if done >= 2000 and "early" not in marks:
        marks["early"] = rss()
print(marks["early"], rss())
"""


def stream_growth_mb(backend, windows):
    command = [sys.executable, "-c", STREAM, backend, str(windows)]
    early, late = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return late - early


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_stream_of_4000_windows_does_not_grow():
    assert stream_growth_mb("fused" if why_not("fused") is None else "torch", 4000) < 50


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("backend", ["torch", "fused", "openvino"])
def test_a_stream_of_20000_windows_does_not_grow(backend):
    skip_unless(backend)
    assert stream_growth_mb(backend, 20_000) < 50


def test_encoding_leaves_torchs_threads_as_they_were():
    torch.set_num_threads(2)
    before = torch.__config__.parallel_info()  # the threads of torch, OpenMP and MKL
    small_encoder(threads=2).encode(synthetic_windows(2))
    assert torch.__config__.parallel_info() == before


def test_two_minutes_give_two_vectors_a_window():
    encoder, windows = small_encoder(), synthetic_windows(2, 12000)
    found = encoder.encode_waveforms(windows)
    assert found.shape == (2, 2, 64)
    np.testing.assert_array_equal(found[1, 1], encoder.encode(windows[1:, :, 6000:])[0])
    assert encoder.encode_waveforms(windows[..., :6000]).shape == (2, 64)


def test_two_minutes_as_240_frames_are_an_option_in_the_fingerprint(tmp_path):
    path = tmp_path / "small.pt"
    torch.save(golden_state(width=64, depth=2), path)
    short, longer = load_model("small", path, threads=1), load_model("small", path, threads=1, frames=240)
    assert (short.segment_samples, longer.segment_samples) == (6000, 12000)
    assert short.fingerprint != longer.fingerprint
    assert longer.encode(synthetic_windows(2, 12000)).shape == (2, 64)
    assert load_model("small", path, threads=1, frames=120).fingerprint == short.fingerprint


def test_the_fingerprint_is_of_all_that_decides_the_vectors():
    options = [{}, {"batch": 8}, {"threads": 2}, {"precision": "bfloat16"}, {"backend": "torch"}]
    prints = [small_encoder(**given).fingerprint for given in options]
    assert len(set(prints)) == len(prints)
    assert prints[0] == small_encoder(backend="fused", threads=1).fingerprint
    assert all(len(text) == 16 for text in prints)


def test_auto_is_resolved_once_and_written_down():
    encoder = small_encoder(precision="auto", backend="auto", threads=0)
    assert encoder.settings["precision"] == ("bfloat16" if has_fast_bfloat16() else "float32")
    assert encoder.settings["backend"] in ("torch", "fused", "openvino")
    assert encoder.settings["threads"] >= 1


def test_spectra_give_what_waveforms_give():
    encoder, windows = small_encoder(), synthetic_windows(3)
    np.testing.assert_allclose(encoder.encode_spectrum(spectrogram(windows)), encoder.encode(windows), atol=2e-5)
    extra = np.pad(spectrogram(windows), ((0, 0), (0, 0), (0, 9), (0, 9)))
    np.testing.assert_array_equal(encoder.encode_spectrum(extra), encoder.encode_spectrum(spectrogram(windows)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.encode(np.zeros((2, 3, 12000))), r"shape \(2, 3, 12000\): give \(n, 3, 6000\)"),
        (lambda e: e.encode_waveforms(np.zeros((2, 3, 9000))), r"shape \(2, 3, 9000\)"),
        (lambda e: e.encode_waveforms(np.zeros((3, 6000))), r"shape \(3, 6000\)"),
        (lambda e: e.encode_waveforms(np.zeros((2, 3, 6000)), sampling_rate_hz=128), "128 Hz"),
        (lambda e: e.encode_waveforms(np.zeros((2, 3, 12000)), sampling_rate_hz=50), "50 Hz"),
        (lambda e: e.encode(np.full((1, 3, 6000), np.nan)), "window 0, component E: NaN or infinite"),
        (lambda e: list(e.encode_stream([np.zeros((3, 6000)), np.zeros((3, 5999))])), r"\(1, 3, 5999\)"),
        (lambda e: e.encode_spectrum(np.zeros((1, 3, 50, 120))), r"give \(n, 3, 120, 50\)"),
        (lambda e: e.encode_spectrum(np.zeros((3, 120, 50))), r"give \(n, 3, 120, 50\)"),
        (lambda e: e.encode_spectrum(np.full((1, 3, 120, 50), np.inf)), "NaN or infinite"),
        (lambda e: e.encode_metadata(np.zeros((2, 7))), r"shape \(2, 7\): give \(n, 8\)"),
        (lambda e: e.encode_metadata(np.full((2, 8), np.nan)), "NaN or infinite"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call(small_encoder())
    assert "\n" not in str(error.value)


def test_no_windows_give_no_vectors():
    encoder = small_encoder()
    assert encoder.encode(np.empty((0, 3, 6000))).shape == (0, 64)
    assert encoder.encode_metadata(np.empty((0, 8))).shape == (0, 64)


def test_metres_per_second_are_warned_about_once_and_zero_channels_counted(caplog):
    encoder, windows = small_encoder(), synthetic_windows(4)
    windows[1:3] *= 1e-9
    windows[3, 0] = 0
    with caplog.at_level(logging.WARNING):
        encoder.encode(windows)
        encoder.encode(windows)
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "m/s" in line and "--scale" in line]) == 1
    assert len([line for line in said if "all-zero" in line]) == 1
    assert (encoder.seen.windows, encoder.seen.small_windows, encoder.seen.zero_channels) == (8, 4, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "precision = 'int8': give one of float32, bfloat16 or auto"),
        ({"backend": "onnx"}, "backend = 'onnx'"),
        ({"device": "tpu"}, "device = 'tpu': give cpu or cuda"),
        ({"batch": 0}, "batch = 0"),
        ({"threads": -1}, "threads = -1"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        small_encoder(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_said():
    with pytest.raises(InputError, match="torch sees no CUDA device here"):
        small_encoder(device="cuda")


def test_resolve_leaves_nothing_open():
    resolved = resolve(Options("auto", "auto", threads=0), golden_model(width=64, depth=1))
    assert "auto" not in (resolved.precision, resolved.backend)


def test_encoders_are_made_by_name():
    assert make_encoder("random_encoder", seeds=(1, 2), width=64, threads=1).dimension == 128
    assert make_encoder("band_energy").segment_samples == 6000


def test_the_self_test_runs_every_backend_that_is_here(tmp_path):
    path = tmp_path / "small.pt"
    torch.save(golden_state(width=64, depth=1), path)
    rows = check_weights("small", path, threads=1, windows=8)
    assert {(row["backend"], row["precision"]) for row in rows} == {
        (backend, precision)
        for backend in ("torch", "fused", "compiled", "openvino")
        for precision in ("float32", "bfloat16")
    }
    for row in rows:
        assert row.get("skipped") or (row["shape"] == [64] and row["cosine"] > 0.9995 and row["windows_per_s"] > 0)


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_the_package_loads_neither_torch_nor_scipy():
    code = "import sys, seisprobe.seisclip as s; s.spectrogram; print({'torch', 'scipy', 'pandas'} & set(sys.modules))"
    assert run_python(code).stdout.strip() == "set()"


def test_a_missing_torch_is_one_line():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import seisprobe.seisclip as s; from seisprobe.errors import SeisprobeError\n"
        "for use in (lambda: s.load_model('x.pt'), lambda: s.random_encoder(), lambda: s.add_weights('x.pt')):\n"
        "    try: use()\n"
        "    except SeisprobeError as error: print(error)\n"
        "print(s.band_energy().dimension)\n"
    )
    done = run_python(code)
    assert done.stdout.split("\n")[:4] == ['torch is not installed: pip install "seisprobe[waveforms]"'] * 3 + ["33"]
