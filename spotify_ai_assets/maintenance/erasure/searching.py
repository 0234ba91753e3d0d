"""The search of a stream of bytes for needles: windows that overlap, and what must be around a find.

A value that may be part of a longer word is told from it in text. In other bytes words touch: what stands beside a value in a
page of a database may belong to its neighbour. There a find counts unless a longer word explains it, one that was seen as a
word somewhere in the same scan.
"""

import base64
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_ai_assets.maintenance.erasure.forms import INFORMATION, Form, Needles

if TYPE_CHECKING:
    import numpy.typing as npt

Place = tuple[str, str, str]
"""Store, relative path, and what was decoded inside of it."""

_AROUND = 64
"""Bytes before and after a find that are looked at."""
_CAPACITY = 1 << 16
_WORD = re.compile(rb"[0-9A-Za-z_\x80-\xff]")
_LETTERS = re.compile(rb"[0-9A-Za-z_\x80-\xff]*")
_ALPHABET = re.compile(rb"[0-9A-Za-z+/]{4}")
_GROUPS = re.compile(rb"(?:[0-9A-Za-z+/]{4})*(?:[0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_CONTEXTS = 1000
"""Distinct surroundings of doubtful finds that are kept for each place; what exceeds them counts."""


@dataclass(slots=True)
class Finds:
    """What a scan found.

    Attributes:
        certain: Occurrences by place and form.
        doubtful: Occurrences that a longer word may explain: by place and form, those of each surrounding.
        longer: Longer words that hold a value.
    """

    certain: Counter[tuple[Place, Form]] = field(default_factory=Counter)
    doubtful: dict[tuple[Place, Form], Counter[tuple[bytes, int]]] = field(default_factory=dict)
    longer: set[bytes] = field(default_factory=set)

    def settle(self) -> Counter[tuple[Place, Form]]:
        """All occurrences, without those in bytes that a longer word explains."""
        found = Counter(self.certain)
        for key, contexts in self.doubtful.items():
            count = sum(number for (around, at), number in contexts.items() if not self._is_explained(around, at, key[1].pattern))
            if count:
                found[key] += count
        return found

    def _is_explained(self, around: bytes, at: int, pattern: bytes) -> bool:
        for word in self.longer:
            inside = word.find(pattern)
            while inside >= 0:
                if at >= inside and around[at - inside : at - inside + len(word)] == word:
                    return True
                inside = word.find(pattern, inside + 1)
        return False


class Finder:
    """Needles, compiled for the search.

    Args:
        needles: What is sought.
    """

    def __init__(self, needles: Needles) -> None:
        self.finds = Finds()
        everywhere = [form for form in needles.forms if form.edge not in ("text", "whole")]
        ordered = sorted(everywhere, key=lambda form: (_anchor(form.pattern), form.pattern))
        self.forms = ordered
        self.in_text = [
            (form, _in_text(form.pattern, is_whole=form.edge == "whole")) for form in needles.forms if form.edge in ("text", "whole")
        ]
        self.longest = max(len(form.pattern) for form in needles.forms)
        heads = np.array([_anchor(form.pattern) for form in ordered], dtype=np.uint64)
        self.anchors, first = np.unique(heads, return_index=True)
        self.groups = np.append(first, len(ordered)).astype(np.int64)
        self.offsets = np.cumsum([0, *(len(form.pattern) for form in ordered)]).astype(np.int64)
        self.blob = np.frombuffer(b"".join(form.pattern for form in ordered), dtype=np.uint8)
        self.bitmap = _bitmap(self.anchors)
        capacity = max(_CAPACITY, len(ordered) + 1)
        self.positions = np.empty(capacity, dtype=np.int64)
        self.patterns = np.empty(capacity, dtype=np.int64)

    def search(self, place: Place, chunks: Iterable[bytes], *, is_text: bool) -> int:
        """Search a stream.

        Args:
            place: Where it comes from.
            chunks: Its bytes in pieces of any size.
            is_text: Whether words end where letters and digits do.

        Returns:
            How many bytes it had.
        """
        size, tail, begin = 0, b"", 0
        for chunk in chunks:
            size += len(chunk)
            data = tail + chunk
            end = len(data) - self.longest - _AROUND
            if end <= begin:
                tail = data
                continue
            self._look(place, data, begin, end, is_text=is_text)
            kept = max(end - _AROUND, 0)
            tail, begin = data[kept:], end - kept
        if tail:
            self._look(place, tail, begin, len(tail), is_text=is_text)
        return size

    def _look(self, place: Place, data: bytes, begin: int, end: int, *, is_text: bool) -> None:
        if self.forms:
            self._look_everywhere(place, data, begin, end, is_text=is_text)
        if is_text:
            for form, expression in self.in_text:
                count = sum(begin <= match.start() < end for match in expression.finditer(data, max(begin - _AROUND, 0)))
                if count:
                    self.finds.certain[place, form] += count

    def _look_everywhere(self, place: Place, data: bytes, begin: int, end: int, *, is_text: bool) -> None:
        from spotify_ai_assets.maintenance.erasure.kernels import find_patterns

        array: npt.NDArray[Any] = np.frombuffer(data, dtype=np.uint8)
        index = (self.bitmap, self.anchors, self.groups, self.blob, self.offsets)
        while begin < end:
            count, begin = find_patterns(array, begin, end, *index, self.positions, self.patterns)
            for position, pattern in zip(self.positions[:count].tolist(), self.patterns[:count].tolist(), strict=True):
                self._judge(place, self.forms[pattern], data, position, is_text=is_text)

    def _judge(self, place: Place, form: Form, data: bytes, start: int, *, is_text: bool) -> None:
        if _is_whole(form, data, start):
            self.finds.certain[place, form] += 1
        elif form.edge == "word" and is_text:
            self.finds.longer.add(_word_around(data, start, start + len(form.pattern)))
        elif form.edge == "word":
            first = max(start - _AROUND, 0)
            context = (data[first : start + len(form.pattern) + _AROUND], start - first)
            contexts = self.finds.doubtful.setdefault((place, form), Counter())
            if context in contexts or len(contexts) < _CONTEXTS:
                contexts[context] += 1
            else:
                self.finds.certain[place, form] += 1


def _anchor(pattern: bytes) -> int:
    return int.from_bytes(pattern[:INFORMATION], "little")


def _bitmap(anchors: "npt.NDArray[np.uint64]") -> "npt.NDArray[np.uint8]":
    bitmap = np.zeros(2**15, dtype=np.uint8)
    slots = (anchors * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - 18)
    np.bitwise_or.at(bitmap, slots >> np.uint64(3), np.left_shift(1, slots & np.uint64(7)).astype(np.uint8))
    return bitmap


def _in_text(pattern: bytes, *, is_whole: bool = False) -> re.Pattern[bytes]:
    """A word of its own; a number must be one that is no figure: in quotes, a cell, a part of a path, or the value of an id.

    A word that is a value of its own stands like such a number, and names no field.
    """
    text = re.escape(pattern) + (rb"(?![\"']\s*:)" if is_whole else b"")
    if not is_whole and not pattern.isdigit():
        return re.compile(rb"(?<![0-9A-Za-z_\x80-\xff])" + text + rb"(?![0-9A-Za-z_\x80-\xff])")
    before = rb'(?:\A|(?<=["\'=/\n\x00>])|(?<=id":)|(?<=id": )|(?<=\n,)|(?<=[^0-9\]}"],)|(?<=[\t;]))'
    return re.compile(before + text + rb'(?=["\'/\r\n\x00<,}\t;&]|\Z)')


def _is_whole(form: Form, data: bytes, start: int) -> bool:
    """Whether a find is no part of a longer word, by the writing of its form."""
    end = start + len(form.pattern)
    if form.edge == "any":
        return True
    if form.edge == "wide":
        return not (
            _is_wide_word(data[start - form.unit : start] if start >= form.unit else b"") or _is_wide_word(data[end : end + form.unit])
        )
    if form.edge == "hex":
        return not (_is_hex_word(data[start - 2 : start] if start >= 2 else b"") or _is_hex_word(data[end : end + 2]))
    if form.edge == "base64":
        return _is_whole_in_base64(form, data, start)
    return not (_WORD.match(data[start - 1 : start] if start else b"") or _WORD.match(data[end : end + 1]))


def _is_wide_word(unit: bytes) -> bool:
    letters = unit.strip(b"\0")
    return len(unit) > 1 and len(letters) == 1 and bool(_WORD.match(letters))


def _is_hex_word(pair: bytes) -> bool:
    try:
        return bool(_WORD.match(bytes.fromhex(pair.decode("ascii"))))
    except ValueError:
        return False


def _is_whole_in_base64(form: Form, data: bytes, start: int) -> bool:
    """Whether the decoded neighbours belong to the word; a group of four that is not there, or no base64, ends it."""
    first = start - form.before
    if first < 0:
        return True
    text = data[max(first - 4, 0) : first + 4 * (len(form.pattern) // 4 + 3)].translate(_TO_STANDARD)
    lead = 3 if first >= 4 and _ALPHABET.match(text) else 0
    groups = _GROUPS.match(text, 0 if lead else min(first, 4))
    decoded = base64.b64decode(groups[0]) if groups else b""
    shift = form.before * 6 // 8
    begin = lead + shift
    # Its last character may be decided by a neighbour in part: then the value is one byte longer than whole characters tell.
    end = lead - (-6 * (form.before + len(form.pattern)) // 8)
    before = decoded[begin - 1 : begin] if begin else b""
    return not (_WORD.match(before) or _WORD.match(decoded[end : end + 1]))


def _word_around(data: bytes, start: int, end: int) -> bytes:
    before = _LETTERS.match(data[max(start - _AROUND, 0) : start][::-1])
    after = _LETTERS.match(data[end : end + _AROUND])
    return (before[0][::-1] if before else b"") + data[start:end] + (after[0] if after else b"")
