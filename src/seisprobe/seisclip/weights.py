"""Checkpoints: from the authors' .pt to safetensors and config.json in a folder of the user's, each checked.

A pickle is never run: torch.load(weights_only=True) reads tensors and refuses anything else. Files are written under a
temporary name and moved.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seisprobe.errors import DataFileError, InputError
from seisprobe.seisclip import require

__all__ = [
    "KNOWN",
    "KnownFile",
    "Weights",
    "add_weights",
    "file_hashes",
    "list_weights",
    "read_weights",
    "weights_folder",
    "weights_info",
    "write_folder",
]

_MODEL, _CONFIG = "model.safetensors", "config.json"
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class KnownFile:
    """An official file: its name, where the authors keep it, and git's id of it in their repository's history."""

    file: str
    drive_id: str
    git_blob: str

    @property
    def page(self) -> str:
        """The page a browser downloads it from."""
        return f"https://drive.google.com/uc?export=download&id={self.drive_id}"


KNOWN = {
    "seisclip-120": KnownFile(
        "pretrain_model_50_120.pt", "1UIeFWl2wENr83GRtdi6Tlj4MLDZ3UctN", "53d0c93b44582dc55a16f1b0febcc83e776f159e"
    ),
    "seisclip-600": KnownFile(
        "pretrain_model_50_600.pt", "1_YiqeaBlBg-EKJ36Yvluoc50n4Y86aI3", "b3f8c1835151db5ba679510e42b2b59679ac344f"
    ),
}


@dataclass(frozen=True)
class Weights:
    """Parameters as read: by the authors' names, with a digest of names and values that no file format changes."""

    name: str
    source: str
    state: dict[str, Any]
    digest: str


def weights_folder(weights_dir: str | Path | None = None) -> Path:
    """Where weights are kept: `weights_dir`, else the user's cache folder. Nothing is made.

    Examples
    --------
    >>> weights_folder("my-weights").name
    'my-weights'
    """
    if weights_dir is not None:
        return Path(weights_dir)
    return Path(require("platformdirs", "waveforms").user_cache_dir("seisprobe", appauthor=False)) / "weights"


def list_weights(weights_dir: str | Path | None = None) -> list[dict[str, Any]]:
    """Tell which weights are known and which are here.

    Returns
    -------
    list of dict
        name, installed, file and page (of the official ones), path, frames, width (of installed ones).

    Examples
    --------
    >>> [row["name"] for row in list_weights("no-such-folder")]
    ['seisclip-120', 'seisclip-600']
    """
    folder = weights_folder(weights_dir)
    own = {path.parent.name for path in folder.glob(f"*/{_CONFIG}")} if folder.is_dir() else set()
    return [_row(name, folder / name, name in own) for name in [*KNOWN, *sorted(own - set(KNOWN))]]


def _row(name: str, folder: Path, installed: bool) -> dict[str, Any]:
    known = KNOWN.get(name)
    config = _read_config(folder) if installed else {}
    return {
        "name": name,
        "installed": installed,
        "file": known.file if known else None,
        "page": known.page if known else None,
        "path": str(folder / _MODEL) if installed else None,
        "frames": config.get("model", {}).get("frames"),
        "width": config.get("model", {}).get("width"),
    }


def weights_info(name: str, weights_dir: str | Path | None = None) -> dict[str, Any]:
    """Everything written down about installed weights.

    Raises
    ------
    InputError
        They are not here: the message says how to get them.

    Examples
    --------
    >>> weights_info("seisclip-120", "no-such-folder")
    Traceback (most recent call last):
    ...
    seisprobe.errors.InputError: no weights seisclip-120 in no-such-folder: seisprobe weights fetch seisclip-120, or ...
    """
    folder = weights_folder(weights_dir) / name
    if not (folder / _CONFIG).is_file():
        raise InputError(_how_to_get(name, folder.parent))
    return {**_read_config(folder), "path": str(folder / _MODEL), "bytes": (folder / _MODEL).stat().st_size}


def _how_to_get(name: str, folder: Path) -> str:
    known = KNOWN.get(name)
    if known is None:
        return f"no weights {name} in {folder}: seisprobe weights add FILE --name {name}; see seisprobe weights list"
    return (
        f"no weights {name} in {folder}: seisprobe weights fetch {name}, or download {known.file} from {known.page} "
        f"and seisprobe weights add {known.file}"
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / _CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataFileError(f"{folder / _CONFIG}: {error}; add the weights again") from None
    return config


def add_weights(
    file: str | Path, name: str | None = None, weights_dir: str | Path | None = None, source: str | None = None
) -> dict[str, Any]:
    """Check a checkpoint and keep it as safetensors with config.json.

    Parameters
    ----------
    file : path
        An official .pt (also with `module.` before each key, also inside a dict), or .safetensors.
    name : str, optional
        Name to keep it under; default seisclip-120 or seisclip-600 for networks of those shapes, else the file's stem.
    weights_dir : path, optional
        Folder of weights.
    source : str, optional
        Where the file is from, to be written down; default its name.

    Returns
    -------
    dict
        name, path, sha256 and git_blob of `file`, known (it is the official file), said (the same in words), model
        (shapes), digest.

    Raises
    ------
    DataFileError
        No such file, a truncated one, another model's, or a pickle that holds more than tensors.

    Examples
    --------
    >>> add_weights("nowhere.pt")
    Traceback (most recent call last):
    ...
    seisprobe.errors.DataFileError: nowhere.pt: no such file; give the path of a checkpoint, or the folder of weights
    """
    path = Path(file)
    state = _read_state(path)
    config = _checked_config(state, str(path))
    sha256, git_blob = file_hashes(path)
    kept = _safe_name(name or _default_name(config, path))
    record = {
        "name": kept,
        "source": source or path.name,
        "sha256": sha256,
        "git_blob": git_blob,
        **_recognise(kept, git_blob),
        "digest": _digest(state),
        "model": config,
    }
    folder = weights_folder(weights_dir) / kept
    write_folder(folder, state, record)
    return {**record, "path": str(folder / _MODEL)}


def _safe_name(name: str) -> str:
    if not name or name.startswith(".") or any(sign in name for sign in "/\\:"):
        raise InputError(f"name = {name!r}: give letters, digits, - and _")
    return name


def _default_name(config: Mapping[str, Any], path: Path) -> str:
    published = (config["width"], config["depth"], config["conv1"]) == (384, 12, "5x5")
    official = f"seisclip-{config['frames']}"
    return official if published and official in KNOWN else path.stem


def _recognise(name: str, git_blob: str) -> dict[str, Any]:
    for known_name, known in KNOWN.items():
        if git_blob == known.git_blob:
            return {"known": True, "said": f"the authors' {known.file}, as in their repository's history"}
        if name == known_name:
            return {"known": False, "said": f"not the {known.file} of the authors' history (git blob {known.git_blob})"}
    return {"known": False, "said": "no file known from the authors' history"}


def file_hashes(path: Path) -> tuple[str, str]:
    r"""SHA-256 of a file, and the id that `git hash-object` gives it.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "hello"
    ...     _ = path.write_bytes(b"hello\n")
    ...     file_hashes(path)[1]
    'ce013625030ba8dba906f756967f9e9ca394464a'
    """
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            blob.update(block)
    return sha256.hexdigest(), blob.hexdigest()


def read_weights(name: str, weights: str | Path | None = None) -> Weights:
    """Read parameters by name or from a file.

    Parameters
    ----------
    name : str
        A name in the folder of weights, or the path of a checkpoint.
    weights : path, optional
        A checkpoint (`name` is then only its name), or a folder of weights.

    Raises
    ------
    InputError
        Nothing there, or a file that is no SeisCLIP checkpoint.

    Examples
    --------
    >>> read_weights("seisclip-120", "nowhere.pt")
    Traceback (most recent call last):
    ...
    seisprobe.errors.DataFileError: nowhere.pt: no such file; give the path of a checkpoint, or the folder of weights
    """
    if weights is None and Path(name).suffix in _SUFFIXES:
        name, weights = Path(name).stem, name
    path = None if weights is None else Path(weights)
    if path is None or path.is_dir():
        info = weights_info(name, path)
        state, source = _read_state(Path(info["path"])), info["path"]
        if _digest(state) != info["digest"]:
            raise DataFileError(f"{source}: changed since it was added; add the weights again")
    else:
        state, source = _read_state(path), str(path)
    frames = _checked_config(state, source)["frames"]
    if name in KNOWN and name != f"seisclip-{frames}":
        raise InputError(f"{source}: weights of {frames} frames, not {name}; name them seisclip-{frames}")
    return Weights(name, source, state, _digest(state))


def _checked_config(state: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Shapes of the network, after a strict load: what fits here fits later."""
    from seisprobe.seisclip.model import SeisClip, config_from_state, load_state

    torch = require("torch", "waveforms")
    config = config_from_state(state, source)
    with torch.device("meta"):  # names and shapes alone
        empty = SeisClip(config)
    load_state(empty, {key: value.to("meta") for key, value in state.items()}, source)
    bad = next((key for key, value in state.items() if not torch.isfinite(value).all()), None)
    if bad:
        raise DataFileError(f"{source}: {bad} holds NaN or infinite values; give another file")
    return asdict(config)


def _read_state(path: Path) -> dict[str, Any]:
    """Tensors by name, from .safetensors or a .pt that holds tensors alone."""
    torch = require("torch", "waveforms")
    from seisprobe.seisclip.model import strip_module

    if not path.is_file():
        raise DataFileError(f"{path}: no such file; give the path of a checkpoint, or the folder of weights")
    given = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for wrapper in _WRAPPERS:
        if isinstance(given, Mapping) and isinstance(given.get(wrapper), Mapping):
            given = given[wrapper]
    if not isinstance(given, Mapping) or not all(isinstance(value, torch.Tensor) for value in given.values()):
        raise DataFileError(f"{path}: no state dict (names to tensors) in it: not a SeisCLIP checkpoint")
    state: dict[str, Any] = strip_module(given)
    return state


def _read_safetensors(path: Path) -> Any:
    require("safetensors", "waveforms")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataFileError(f"{path}: truncated, or no safetensors file ({error}); get it again") from None


def _read_pickle(path: Path) -> Any:
    import pickle

    torch = require("torch", "waveforms")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = str(error)
        if "Unsupported operand" not in what and ("GLOBAL" in what or "Unsupported" in what or "class" in what):
            raise DataFileError(
                f"{path}: a pickle that holds more than tensors could run code and is not loaded; "
                "give a state dict saved with torch.save(model.state_dict())"
            ) from None
        raise DataFileError(f"{path}: truncated, or no torch checkpoint; download it again") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        reason = str(error).split("\n")[0][:120] or type(error).__name__
        raise DataFileError(f"{path}: truncated, or no torch checkpoint ({reason}); download it again") from None


def _digest(state: Mapping[str, Any]) -> str:
    """SHA-256 over names, shapes and float32 values in the order of names."""
    digest = hashlib.sha256()
    for key in sorted(state):
        values = state[key].detach().float().contiguous().numpy()
        digest.update(f"{key} {values.shape}\n".encode())
        digest.update(memoryview(values).cast("B") if values.ndim else values.tobytes())
    return digest.hexdigest()


def write_folder(folder: Path, state: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Write model.safetensors and config.json, each under a temporary name first; config.json last.

    Parameters
    ----------
    folder : Path
        Made if missing.
    state : mapping of str to Tensor
        Parameters.
    record : mapping
        What config.json holds.
    """
    require("safetensors", "waveforms")
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().float().contiguous().clone() for key, value in state.items()}
    with temporary(folder / _MODEL) as path:
        save_file(tensors, path)
    with temporary(folder / _CONFIG) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


@contextmanager
def temporary(target: Path) -> Iterator[Path]:
    """A path beside `target` that becomes it, flushed to disk, when the block ends without error."""
    folder = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        part = folder / target.name
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
