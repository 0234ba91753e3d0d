"""Rendered music of a demo world: short tracks with known tempo, key, loudness and timbre, and faults that are known too.

``composition`` decides what is played, ``instruments`` how each sound is made, ``rendering`` plays a song, ``reference`` measures
loudness by the standard's own table, ``damage`` spoils signals, ``tags`` and ``encoding`` make files, ``plan`` decides which file
holds what, ``labels`` invents what listeners would have said, ``writing`` does these things in order.

Nothing here is shared with the code that measures audio: a truth that were computed by what it judges would prove nothing.
"""

from spotify_ai_assets.demo.audio.writing import write_audio

__all__ = ["write_audio"]
