"""The network equals the authors' and an independent float64 model; strict loading names what is wrong."""

import json
import zlib

import numpy as np
import pytest

from seisprobe.errors import InputError
from support.seisclip import NumpyModel, cosines, golden, golden_model, golden_state
from support.shared import shared_file

torch = pytest.importorskip("torch")

from seisprobe.seisclip.fast import FusedEncoder, PooledEncoder  # noqa: E402
from seisprobe.seisclip.model import (  # noqa: E402
    ModelConfig,
    SeisClip,
    config_from_state,
    contrastive_loss,
    interpolate_positions,
    load_state,
    strip_module,
)

# array, absolute tolerance of the reference's README
ARRAYS = [
    ("encode_audio", 1e-5),
    ("total_feature", 1e-5),
    ("encode_text", 5e-6),
    ("norm_audio", 2e-6),
    ("norm_text_feature", 2e-6),
    ("logits", 5e-5),
    ("loss", 5e-5),
    ("dbg_conv1", 1e-5),
    ("dbg_tokens", 1e-5),
    ("dbg_block0", 1e-5),
    ("dbg_block11", 5e-5),
]


def network_outputs(frames):
    model, vectors = golden_model(frames), golden(frames)
    spectra, text = torch.from_numpy(vectors["spectrogram"]), torch.from_numpy(vectors["text"])
    with torch.no_grad():
        logits, audio, features = model(spectra, text)
        tokens = model.spec.tokens(spectra[:1])
        return {
            "encode_audio": model.encode_audio(spectra),
            "total_feature": model.spec.total_feature(spectra[:1]),
            "encode_text": model.encode_text(text),
            "norm_audio": audio,
            "norm_text_feature": features,
            "logits": logits,
            "loss": contrastive_loss(logits),
            "dbg_conv1": model.spec.conv1(spectra[:1]),
            "dbg_tokens": tokens,
            "dbg_block0": model.spec.v.blocks[0](tokens),
            "dbg_block11": model.spec.v.blocks(tokens),
        }


@pytest.mark.parametrize("frames", [120, 600])
def test_equals_the_authors_code(frames):
    found, vectors = network_outputs(frames), golden(frames)
    for name, atol in ARRAYS:
        np.testing.assert_allclose(found[name].numpy(), vectors[name], atol=atol, rtol=0, err_msg=name)


@pytest.mark.parametrize("frames", [120, 600])
def test_the_pretrain_variant_of_conv1_equals_the_authors_code(frames):
    vectors = golden(frames)
    with torch.no_grad():
        found = golden_model(frames, conv1="3x5").encode_audio(torch.from_numpy(vectors["spectrogram"]))
    np.testing.assert_allclose(found.numpy(), vectors["pretrain_variant_encode_audio"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [120, 600])
def test_the_174_names_and_shapes_are_the_checkpoints(frames):
    listed = json.loads(shared_file(f"reference/seisclip/state_dict_keys_{frames}.json").read_text())
    state = golden_state(frames=frames)
    assert [entry["name"] for entry in listed] == list(state)
    assert [tuple(entry["shape"]) for entry in listed] == [tuple(value.shape) for value in state.values()]
    assert [entry["crc32"] for entry in listed] == [zlib.crc32(value.numpy().tobytes()) for value in state.values()]


def test_numbers_of_parameters():
    with torch.device("meta"):
        model = SeisClip()
    total = sum(value.numel() for value in model.parameters())
    unused = (model.spec.v.head, model.spec.v.head_dist, model.spec.mlp_head)
    assert total == 23_114_795
    assert sum(value.numel() for part in unused for value in part.parameters()) == 973_663
    assert sum(value.numel() for value in model.info.parameters()) == 729_600
    assert len(model.state_dict()) == 174


def test_gradients_equal_the_authors():
    expected = json.loads(shared_file("reference/seisclip/grad_l2_120.json").read_text())
    vectors = golden(120)
    model = load_state(SeisClip(), golden_state())
    logits, _, _ = model(torch.from_numpy(vectors["spectrogram"]), torch.from_numpy(vectors["text"]))
    loss = contrastive_loss(logits)
    loss.backward()
    assert loss.item() == pytest.approx(expected["loss"], abs=5e-5)
    for name, parameter in model.named_parameters():
        wanted = expected["grad_l2"][name]
        if name == "logit_scale_at":
            continue  # see the next test
        if wanted is None:
            assert parameter.grad is None, name
        else:
            assert parameter.grad.norm().item() == pytest.approx(wanted, rel=1e-3), name


@pytest.mark.parametrize("learn_scale", [False, True])
def test_the_logit_scale_moves_only_if_asked(learn_scale):
    torch.manual_seed(0)
    model = SeisClip(ModelConfig(width=64, depth=1), learn_scale=learn_scale)
    with torch.no_grad():
        model.logit_scale_at.fill_(np.log(100.0) + 1e-4)  # just over the clamp, as float32 exp gives on a CPU
    logits, _, _ = model(torch.rand(4, 3, 120, 50), torch.rand(4, 8))
    contrastive_loss(logits).backward()
    assert model.scale().item() == pytest.approx(100.0, rel=1e-6)
    assert (model.logit_scale_at.grad.item() != 0) == learn_scale


@pytest.mark.parametrize(
    "config",
    [
        {"width": 128, "depth": 2},
        {"width": 192, "depth": 2, "conv1": "3x5"},
        {"width": 64, "depth": 3, "frames": 600},
        {"width": 64, "depth": 2, "frames": 240},
    ],
    ids=str,
)
def test_equals_an_independent_float64_model(config):
    state = golden_state(**config)
    model = load_state(SeisClip(ModelConfig(**config)), state).eval()
    reference = NumpyModel(state)
    random = np.random.default_rng(1)
    spectra = random.gamma(1.5, 0.3, (2, 3, config.get("frames", 120), 50)).astype(np.float32)
    features = random.uniform(0, 1, (3, 8)).astype(np.float32)
    expected = np.stack([reference.audio(window) for window in spectra])
    with torch.no_grad():
        given = torch.from_numpy(spectra)
        for encoder in (model.encode_audio, PooledEncoder(model), FusedEncoder(model, torch.float32, 2)):
            np.testing.assert_allclose(encoder(given).numpy(), expected, atol=1e-5, rtol=0)
        half = FusedEncoder(model, torch.bfloat16, 2)(given)
        assert cosines(half.numpy(), expected).min() > 0.9995
        found = model.encode_text(torch.from_numpy(features)).numpy()
        np.testing.assert_allclose(
            model.spec.total_feature(given[:1]).numpy()[0], reference.total(spectra[0]), atol=1e-5
        )
    np.testing.assert_allclose(found, reference.text(features), atol=1e-5, rtol=0)


def test_frames_and_bins_that_patches_do_not_see_are_ignored():
    model = golden_model(width=64, depth=1)
    spectra = torch.rand(1, 3, 129, 59)
    assert torch.equal(model.encode_audio(spectra), model.encode_audio(spectra[:, :, :120, :50]))
    for shape in ((1, 3, 119, 50), (1, 3, 130, 50), (1, 3, 120, 49), (1, 3, 120, 60)):
        with pytest.raises(InputError, match="this model takes 120 × 50"):
            model.encode_audio(torch.rand(shape))


@pytest.mark.parametrize(
    "config", [{"frames": 600}, {"width": 192}, {"conv1": "3x5"}, {"depth": 3, "frames": 240}], ids=str
)
def test_shapes_are_read_from_the_checkpoint(config):
    with torch.device("meta"):
        state = SeisClip(ModelConfig(**config)).state_dict()
    assert config_from_state(state) == ModelConfig(**config)
    assert config_from_state(strip_module({f"module.{key}": value for key, value in state.items()})).width


def test_a_wrong_state_names_the_first_missing_unexpected_and_misshaped_key():
    model = SeisClip(ModelConfig(width=64, depth=1))
    state = dict(model.state_dict())
    del state["spec.v.norm.bias"], state["spec.v.head.weight"]
    state["info.extra"] = torch.zeros(1)
    state["info.proj"] = torch.zeros(512, 32)
    with pytest.raises(InputError) as error:
        load_state(model, state, "file.pt")
    message = str(error.value)
    assert "file.pt: does not fit" in message
    assert "2 missing, first spec.v.norm.bias" in message
    assert "1 unexpected, first info.extra" in message
    assert "1 mis-shaped, first info.proj (512, 32), not (512, 64)" in message


@pytest.mark.parametrize(
    ("key", "shape"),
    [("spec.v.pos_embed", (1, 47, 64)), ("spec.conv1.weight", (1, 3, 7, 7)), ("spec.v.pos_embed", (1, 46, 100))],
)
def test_shapes_of_another_network_are_refused(key, shape):
    state = {**SeisClip(ModelConfig(width=64, depth=1)).state_dict(), key: torch.zeros(shape)}
    with pytest.raises(InputError, match="is no SeisCLIP network"):
        config_from_state(state)


def test_positions_are_stretched_in_time_alone():
    state = dict(golden_model(width=64, depth=1).state_dict())
    grid = torch.zeros(4, 11, 64) + torch.arange(4.0)[:, None, None] * 100 + torch.linspace(0, 10, 11)[:, None]
    state["spec.v.pos_embed"] = torch.cat((state["spec.v.pos_embed"][:, :2], grid.reshape(1, 44, 64)), 1)
    longer = interpolate_positions(state, 240)["spec.v.pos_embed"]
    assert torch.equal(longer[:, :2], state["spec.v.pos_embed"][:, :2])
    rows = longer[0, 2:].reshape(4, 23, 64)
    assert torch.allclose(rows - 100 * torch.arange(4.0)[:, None, None], rows[:1].expand(4, -1, -1), atol=1e-4)
    centres = np.clip((np.arange(23) + 0.5) * 11 / 23 - 0.5, 0, 10)  # of the 23 new patches, in old ones
    np.testing.assert_allclose(rows[0, :, 0].numpy(), centres, atol=1e-4)
    same = interpolate_positions(state, 120)["spec.v.pos_embed"]
    assert torch.allclose(same, state["spec.v.pos_embed"])
    with pytest.raises(InputError, match="frames = 125"):
        interpolate_positions(state, 125)
