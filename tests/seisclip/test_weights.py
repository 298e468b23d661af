"""Checkpoints: every official form is read, everything else is refused in one line; downloads are checked."""

import http.server
import json
import pickle
import shutil
import socket
import subprocess
import threading
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from seisprobe.errors import DataFileError, InputError, SourceError
from support.seisclip import golden_state

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from seisprobe.seisclip import (  # noqa: E402
    add_weights,
    fetch_weights,
    list_weights,
    load_model,
    weights_folder,
    weights_info,
)
from seisprobe.seisclip.model import ModelConfig, SeisClip  # noqa: E402
from seisprobe.seisclip.weights import KNOWN, file_hashes, read_weights  # noqa: E402

WINDOW = np.random.default_rng(0).normal(0, 100, (1, 3, 6000)).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    return SeisClip(ModelConfig(width=64, depth=1)).state_dict()


@pytest.fixture
def checkpoint(state, tmp_path):
    path = tmp_path / "small.pt"
    torch.save(state, path)
    return path


def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["plain", "module", "state_dict", "model and module", "old format", "safetensors"])
def test_every_form_of_an_official_file_gives_the_same_model(form, state, tmp_path):
    path = tmp_path / ("x.safetensors" if form == "safetensors" else "x.pt")
    prefixed = {f"module.{key}": value for key, value in state.items()}
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        saved = {
            "module": prefixed,
            "state_dict": {"epoch": 3, "state_dict": state},
            "model and module": {"model": prefixed},
        }
        torch.save(saved.get(form, state), path, _use_new_zipfile_serialization=form != "old format")
    record = add_weights(path, "mine", tmp_path / "folder")
    vectors = load_model("mine", tmp_path / "folder", threads=1).encode(WINDOW)
    model = SeisClip(ModelConfig(width=64, depth=1))
    model.load_state_dict(state)
    from seisprobe.seisclip import spectrogram

    with torch.no_grad():
        expected = model.encode_audio(torch.from_numpy(spectrogram(WINDOW))).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert record["digest"] == read_weights("mine", path).digest


def test_added_weights_are_listed_with_hashes_that_git_and_sha256sum_give(checkpoint, tmp_path):
    folder = tmp_path / "weights"
    record = add_weights(checkpoint, weights_dir=folder)
    assert record["name"] == "small"
    assert record["known"] is False
    assert {row["name"]: row["installed"] for row in list_weights(folder)} == {
        "seisclip-120": False,
        "seisclip-600": False,
        "small": True,
    }
    info = weights_info("small", folder)
    assert info["model"] == {"frames": 120, "width": 64, "depth": 1, "conv1": "5x5", "info_width": 512}
    assert info["sha256"] == record["sha256"]
    assert sorted(path.name for path in (folder / "small").iterdir()) == ["config.json", "model.safetensors"]
    if shutil.which("git"):
        out = subprocess.run(["git", "hash-object", checkpoint], capture_output=True, text=True, check=True).stdout
        assert record["git_blob"] == out.strip()


def test_official_names_follow_from_official_shapes(tmp_path):
    torch.save(golden_state(frames=600), tmp_path / "whatever.pt")
    record = add_weights(tmp_path / "whatever.pt", weights_dir=tmp_path / "w")
    assert record["name"] == "seisclip-600"
    assert record["said"].startswith("not the pretrain_model_50_600.pt of the authors' history")
    with pytest.raises(InputError, match="weights of 600 frames, not seisclip-120"):
        load_model("seisclip-120", tmp_path / "whatever.pt")


def test_the_official_file_is_recognised_by_its_git_blob(checkpoint, tmp_path, monkeypatch):
    from seisprobe.seisclip import weights

    known = weights.KnownFile("pretrain_model_50_120.pt", "x", file_hashes(checkpoint)[1])
    monkeypatch.setitem(weights.KNOWN, "seisclip-120", known)
    record = add_weights(checkpoint, weights_dir=tmp_path)
    assert record["known"] is True
    assert record["said"] == "the authors' pretrain_model_50_120.pt, as in their repository's history"


def test_a_bare_path_is_a_name(checkpoint):
    assert load_model(str(checkpoint), threads=1).settings["encoder"] == "small"


class Evil:
    """Unpickling this writes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("way", ["torch.save", "pickle", "inside a state dict"])
def test_a_pickle_with_code_is_refused_and_not_run(way, state, tmp_path):
    path, marker = tmp_path / "evil.pt", tmp_path / "ran"
    evil = {**state, "spec.evil": Evil(marker)} if way == "inside a state dict" else Evil(marker)
    if way == "pickle":
        path.write_bytes(pickle.dumps(evil, protocol=2))
    else:
        torch.save(evil, path)
    with pytest.raises(DataFileError, match=r"evil.pt: a pickle that holds more than tensors could run code") as error:
        add_weights(path, weights_dir=tmp_path / "w")
    assert one_line(error)
    assert not marker.exists()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(suffix, share, state, tmp_path):
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataFileError, match=r"cut.*truncated") as error:
        load_model("cut", path)
    assert one_line(error)


def test_other_files_are_refused(state, tmp_path):
    cases = {
        "other.pt": ({"fc.weight": torch.zeros(3, 3), "fc.bias": torch.zeros(3)}, "no spec.v.pos_embed .its first key"),
        "list.pt": ([1, 2, 3], "no state dict"),
        "numbers.pt": ({"epoch": 3}, "no state dict"),
        "missing.pt": ({k: v for k, v in state.items() if k != "info.proj"}, "no info.proj"),
        "part.pt": ({k: v for k, v in state.items() if "head" not in k}, "8 missing, first spec.v.head.weight"),
        "nan.pt": ({**state, "spec.v.norm.bias": torch.full((64,), torch.nan)}, "spec.v.norm.bias holds NaN"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: .*{message}") as error:
            add_weights(tmp_path / name, weights_dir=tmp_path / "w")
        assert one_line(error)
    (tmp_path / "text.pt").write_text("<html>Google Drive - Virus scan warning</html>")
    with pytest.raises(DataFileError, match="truncated, or no torch checkpoint"):
        add_weights(tmp_path / "text.pt")
    with pytest.raises(DataFileError, match="no such file"):
        add_weights(tmp_path / "nowhere.pt")


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(
        InputError, match=r"seisprobe weights fetch seisclip-120, or download .*pretrain_model_50_120.pt"
    ):
        load_model("seisclip-120", tmp_path)
    with pytest.raises(InputError, match="seisprobe weights add FILE --name mine"):
        load_model("mine", tmp_path)


def test_installed_weights_that_changed_are_refused(checkpoint, tmp_path):
    record = add_weights(checkpoint, weights_dir=tmp_path / "w")
    with Path(record["path"]).open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\x01")
    with pytest.raises(DataFileError, match="changed since it was added"):
        load_model("small", tmp_path / "w")
    (tmp_path / "w" / "small" / "config.json").write_text("{")
    with pytest.raises(DataFileError, match=r"config\.json"):
        load_model("small", tmp_path / "w")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "c:d"])
def test_names_that_are_paths_are_refused(name, checkpoint, tmp_path):
    with pytest.raises(InputError, match="name = "):
        add_weights(checkpoint, name, tmp_path / "w")


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder().name == "weights"
    assert not weights_folder().exists()


PAGE = """<html><form id="download-form" action="{host}/download" method="get">
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="u-1">
<input type="submit" value="Download anyway"></form></html>"""


@contextmanager
def drive(behaviour, data):
    """A server that answers as Google Drive does for large files, or goes wrong as told."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            address = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(address.query))
            host = f"http://127.0.0.1:{self.server.server_port}"
            asked.append((address.path, query))
            if behaviour == "404":
                return self.send_error(404)
            confirmed = address.path == "/download" and query.get("confirm") == "t" and query.get("uuid") == "u-1"
            if behaviour == "small file" or (confirmed and behaviour != "quota"):
                return self.answer("application/octet-stream", data[: len(data) // 2] if behaviour == "cut" else data)
            page = "<html>Sign in</html>" if behaviour == "moved" else PAGE.format(host=host, id=query.get("id"))
            return self.answer("text/html; charset=utf-8", page.encode())

        def answer(self, kind, body):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data) if kind.startswith("application") else len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/uc", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("behaviour", ["confirm page", "small file"])
def test_fetch_downloads_converts_and_records(behaviour, checkpoint, tmp_path):
    folder, seen = tmp_path / "w", []
    with drive(behaviour, checkpoint.read_bytes()) as (url, asked):
        record = fetch_weights("seisclip-120", folder, url=url, progress=lambda done, total: seen.append((done, total)))
        again = fetch_weights("seisclip-120", folder, url=url)
    assert asked[0] == ("/uc", {"export": "download", "id": KNOWN["seisclip-120"].drive_id})
    size = checkpoint.stat().st_size
    assert seen[-1] == (size, size)
    downloads = json.loads((folder / "downloads.json").read_text())
    sha256 = file_hashes(checkpoint)[0]
    assert downloads == {"pretrain_model_50_120.pt": {"sha256": sha256, "bytes": size}}
    assert record == again
    assert sorted(path.name for path in folder.iterdir()) == ["downloads.json", "seisclip-120"]
    assert load_model("seisclip-120", folder, threads=1).encode(WINDOW).shape == (1, 64)


def test_a_changed_download_is_refused_and_leaves_nothing(checkpoint, state, tmp_path):
    folder = tmp_path / "w"
    with drive("confirm page", checkpoint.read_bytes()) as (url, _):
        first = fetch_weights("seisclip-120", folder, url=url)
    torch.save({**state, "logit_scale_at": torch.tensor(1.0)}, checkpoint)
    with (
        drive("confirm page", checkpoint.read_bytes()) as (url, _),
        pytest.raises(DataFileError, match="has changed: refused") as error,
    ):
        fetch_weights("seisclip-120", folder, url=url)
    assert one_line(error)
    assert weights_info("seisclip-120", folder)["sha256"] == first["sha256"]
    assert not list(folder.glob(".part-*"))


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [("404", "404|Not Found"), ("moved", "moved, or asks to sign in"), ("quota", "too many"), ("cut", "bytes came")],
)
def test_a_failed_download_says_how_to_do_it_by_hand(behaviour, message, checkpoint, tmp_path):
    with drive(behaviour, checkpoint.read_bytes()) as (url, _), pytest.raises(SourceError, match=message) as error:
        fetch_weights("seisclip-120", tmp_path / "w", url=url)
    assert "in a browser, save pretrain_model_50_120.pt, then: seisprobe weights add pretrain_model_50_120.pt" in str(
        error.value
    )
    assert one_line(error)
    assert not any((tmp_path / "w").iterdir())


def test_no_network_says_how_to_do_it_by_hand(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/uc"
    with pytest.raises(SourceError, match=r"refused.*in a browser"):
        fetch_weights("seisclip-600", tmp_path, url=url)
    with pytest.raises(InputError, match="no official weights 'x'"):
        fetch_weights("x", tmp_path)
