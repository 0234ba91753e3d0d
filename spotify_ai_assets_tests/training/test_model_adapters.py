import io
import shutil
import socket
import zipfile

import numpy as np
import pytest
import tiny_models
import torch
from safetensors.numpy import save
from tiny_models import ALLOWED

from spotify_ai_assets.training.adapters.allowed import find_class
from spotify_ai_assets.training.adapters.contract import BATCH, InputContract, Output
from spotify_ai_assets.training.adapters.huggingface import HuggingFaceModel
from spotify_ai_assets.training.adapters.onnx_model import OnnxModel
from spotify_ai_assets.training.adapters.opening import open_model
from spotify_ai_assets.training.adapters.own_class import OwnModel
from spotify_ai_assets.training.adapters.torch_model import TorchModel, pack_weights
from spotify_ai_assets.training.errors import InputContractError, UnsafeModelError
from spotify_ai_assets.training.safety import refuse_unsafe


@pytest.fixture(scope="module", params=["torch", "own", "onnx", "huggingface"])
def parts(request, tmp_path_factory):
    if request.param == "huggingface":
        return tiny_models.huggingface_parts(tmp_path_factory.mktemp("ast"))
    return getattr(tiny_models, f"{request.param}_parts")()


@pytest.fixture(scope="module")
def folder(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    for path, content in parts[1].items():
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def model(parts, folder):
    return open_model(folder, parts[0], parts[2], parts[3], ALLOWED)


def cases(model, count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *model.contract.shape[1:])).astype(np.float32)


def test_every_make_answers_with_one_row_a_case(model):
    answers = model.predict(cases(model, 5))
    assert answers.shape == (5, 3) and answers.dtype == np.float32
    assert np.allclose(answers.sum(1), 1, atol=1e-5) and (answers > 0).all()
    assert len(np.unique(answers.round(6), axis=0)) == 5


def test_every_make_answers_for_each_case_by_itself(model):
    given = cases(model, BATCH + 3)
    together = model.predict(given)
    assert np.allclose(together[[0, 7, BATCH, BATCH + 2]], [model.predict(given[[n]])[0] for n in (0, 7, BATCH, BATCH + 2)], atol=1e-5)
    assert model.predict(given[:0]).shape == (0, 3)


def test_every_make_answers_the_same_again(model, parts, folder):
    given = cases(model, 9, seed=1)
    first = model.predict(given)
    assert first.tobytes() == model.predict(given).tobytes()
    assert first.tobytes() == open_model(folder, parts[0], parts[2], parts[3], ALLOWED).predict(given).tobytes()


def test_every_make_refuses_what_it_was_not_made_for_by_name(model):
    name, given = model.contract.name, cases(model, 2)
    shape = " x ".join(map(str, given[:, :-1].shape))
    with pytest.raises(InputContractError, match=f"^{name}: shape {shape}, needed any x "):
        model.predict(given[:, :-1])
    with pytest.raises(InputContractError, match=f"^{name}: shape .*, needed"):
        model.predict(given[0])
    with pytest.raises(InputContractError, match=f"^{name}: type float64, needed float32"):
        model.predict(given.astype(float))
    with pytest.raises(InputContractError, match=f"^{name}: a value is not a number"):
        model.predict(np.where(given > 1, np.nan, given))
    with pytest.raises(InputContractError, match=f"^{name}: an array is needed"):
        model.predict(given.tolist())


@pytest.mark.parametrize("hidden", ["weights.bin", "model.pt", "weights.safetensors", "notes.txt", "weights.npz", "objects.npz"])
def test_every_make_refuses_a_folder_with_pickle_in_it(parts, folder, tmp_path, hidden):
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    if hidden == "objects.npz":
        np.savez(place / hidden, a=np.array([{"a": 1}], dtype=object))
    else:
        torch.save({"a": torch.zeros(2)}, place / hidden)
    with pytest.raises(UnsafeModelError, match=hidden):
        open_model(place, parts[0], parts[2], parts[3], ALLOWED)


def test_a_keras_export_answers_as_keras_did(tmp_path):
    kind, files, make, contract = tiny_models.onnx_parts()
    (tmp_path / "model.onnx").write_bytes(files["model.onnx"])
    noted = tiny_models.example()
    given = np.random.default_rng(noted["seed"]).normal(size=(2, 64, 216)).astype(np.float32)
    assert np.allclose(open_model(tmp_path, kind, make, contract).predict(given), noted["probabilities"], atol=1e-5)


@pytest.mark.parametrize(
    ("contract", "make", "said"),
    [
        (InputContract("sound", (None, 64, 216)), {}, "sound: the graph takes mel"),
        (InputContract("mel", (None, 64)), {}, "another shape"),
        (InputContract("mel", (None, 63, 216)), {}, "another shape"),
        (InputContract("mel", (None, 64, 216)), {"output": "logits"}, "logits: the graph gives probabilities"),
    ],
)
def test_a_contract_that_is_not_the_graphs_is_refused(contract, make, said):
    with pytest.raises(InputContractError, match=said):
        OnnxModel.open(tiny_models.DATA, {"graph": "keras_tiny.onnx", **make}, contract)


def test_a_graph_that_is_none_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07nonsense")
    with pytest.raises(UnsafeModelError, match=r"model\.onnx: it is not a graph"):
        OnnxModel.open(tmp_path, {}, InputContract("mel", (None, 64, 216)))


def test_weights_of_another_architecture_are_refused(tmp_path):
    _, _, make, contract = tiny_models.torch_parts()
    (tmp_path / "model.safetensors").write_bytes(pack_weights(torch.nn.Linear(2, 2)))
    with pytest.raises(UnsafeModelError, match="not those of this architecture"):
        TorchModel.open(tmp_path, make, contract, ALLOWED)


@pytest.mark.parametrize(
    "path",
    [
        "subprocess:Popen",
        "tiny_models_else:Net",
        "spotify_ai_assets.settings:Path",
        "spotify_ai_assets.settings:absent",
        "spotify_ai_assets.settings:ROOT",
        "nothing",
    ],
)
def test_only_classes_of_allowed_packages_are_found(path):
    with pytest.raises(UnsafeModelError, match=path):
        find_class(path, ALLOWED)
    assert find_class("tiny_models:Net", ALLOWED) is tiny_models.Net


def test_a_class_that_is_no_network_or_cannot_answer_is_refused(tmp_path):
    with pytest.raises(UnsafeModelError, match="not a network"):
        open_model(tmp_path, "torch", {"architecture": "tiny_models:Centres"}, InputContract("mel", (None, 6)), ALLOWED)
    with pytest.raises(UnsafeModelError, match="no from_parts"):
        open_model(tmp_path, "own", {"class": "tiny_models:Net"}, InputContract("mel", (None, 6)), ALLOWED)
    with pytest.raises(UnsafeModelError, match="a model is one of"):
        open_model(tmp_path, "sklearn", {}, InputContract("mel", (None, 6)), ALLOWED)


@pytest.mark.parametrize("config", ['{"auto_map": {"AutoModel": "evil.Model"}}', "not json", None])
def test_a_hugging_face_folder_that_brings_code_is_refused(tmp_path, config):
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(UnsafeModelError, match=r"config\.json"):
        HuggingFaceModel.open(tmp_path, {}, InputContract("input_values", (None, 2)))


@pytest.fixture
def folder_of_own(tmp_path):
    _, _, make, contract = tiny_models.own_parts()
    return tmp_path, make, contract, np.random.default_rng(1).normal(size=(3, 6))


def test_arrays_in_safetensors_build_the_same_as_those_in_npz(folder_of_own):
    folder, make, contract, centres = folder_of_own
    (folder / "arrays.safetensors").write_bytes(save({"centres": centres}))
    from_tensors = open_model(folder, "own", make, contract, ALLOWED)
    asked = cases(from_tensors, 4)
    answers = from_tensors.predict(asked)
    (folder / "arrays.safetensors").unlink()
    (folder / "arrays.npz").write_bytes(tiny_models.npz(centres=centres))
    assert np.array_equal(open_model(folder, "own", make, contract, ALLOWED).predict(asked), answers)
    assert len(np.unique(answers.round(6), axis=0)) == 4


def test_an_own_class_without_arrays_gets_none(tmp_path):
    make = {"class": "tiny_models:Constant", "config": {"answer": 3}}
    model = open_model(tmp_path, "own", make, InputContract("mel", (None, 2)), ALLOWED)
    assert model.predict(np.zeros((2, 2), np.float32)).tolist() == [[3.0], [3.0]]


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04N.", b"\xff" * 40])
def test_arrays_that_are_no_safetensors_are_refused(folder_of_own, content):
    folder, make, contract, _ = folder_of_own
    (folder / "arrays.safetensors").write_bytes(content)
    with pytest.raises(UnsafeModelError, match=r"arrays\.safetensors"):
        OwnModel.open(folder, make, contract, ALLOWED)


def test_arrays_that_hold_objects_are_refused(folder_of_own):
    folder, make, contract, _ = folder_of_own
    (folder / "arrays.npz").write_bytes(tiny_models.npz(centres=np.array([{}, []], dtype=object)))
    with pytest.raises(UnsafeModelError, match=r"arrays\.npz"):
        OwnModel.open(folder, make, contract, ALLOWED)


def test_a_hugging_face_folder_without_safetensors_or_with_another_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "audio-spectrogram-transformer"}')
    contract = InputContract("input_values", (None, 2))
    with pytest.raises(UnsafeModelError, match="AutoModel: the folder does not hold"):
        HuggingFaceModel.open(tmp_path, {}, contract)
    with pytest.raises(UnsafeModelError, match="only transformers' own"):
        HuggingFaceModel.open(tmp_path, {"auto_class": "pipeline"}, contract)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsafeModelError, match="another model"):
        HuggingFaceModel.open(tmp_path, {}, contract)


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.pkl", b"x"),
        ("a.bin", b"x"),
        ("a", b"x"),
        ("a.json", b"\x80\x04\x95"),
        ("a.txt", b"cos\nsystem\n"),
        ("a.csv", archive(x=b"1")),
        ("a.npz", archive(x=b"1")),
        ("a.npz", b"nothing"),
        ("a.safetensors", b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00"),
        ("a.safetensors", b""),
    ],
)
def test_files_that_could_hold_code_are_refused_by_name(path, content):
    with pytest.raises(UnsafeModelError, match=f"^{path}: "):
        refuse_unsafe({path: content})


def test_safetensors_whose_header_happens_to_look_like_pickle_are_fine():
    name = next(  # a header of 0x280 bytes: the file begins like a pickle of protocol 2
        "x" * n for n in range(400, 700) if pack_weights_named("x" * n)[:2] == b"\x80\x02"
    )
    weights = pack_weights_named(name)
    with pytest.raises(UnsafeModelError, match="pickle"):  # the same bytes under a name that promises no header
        refuse_unsafe({"a.txt": weights})
    refuse_unsafe({"a.safetensors": weights, "b.npz": tiny_models.npz(a=np.zeros(3), b=np.array(["text"]))})


def pack_weights_named(name: str) -> bytes:
    from safetensors.numpy import save

    return save({name: np.zeros(1, np.float32)})


def test_outputs_are_finished_as_stated():
    raw = np.array([[1000.0, -1000.0]])
    assert Output("sigmoid").finish(raw).tolist() == [[1.0, 0.0]]
    assert Output("none", 2.0).finish(raw).tolist() == [[500.0, -500.0]]
    with pytest.raises(ValueError, match="softmax or sigmoid"):
        Output.of({"activation": "relu"})
    with pytest.raises(ValueError, match="number of cases"):
        InputContract("x", (3, 2))


def test_opening_needs_no_network(parts, folder, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    opened = open_model(folder, parts[0], parts[2], parts[3], ALLOWED)
    assert opened.predict(cases(opened, 2)).shape == (2, 3)
