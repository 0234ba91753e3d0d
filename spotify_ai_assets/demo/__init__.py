"""A demo world: invented listeners and invented music, with the truth of what is hidden in it.

Everything is drawn from a seed; nothing is shipped, downloaded or real. The same arguments give the same bytes.

``names`` invents words, ``music`` a catalogue, ``people`` listeners, ``listening`` their days; ``planted`` hides what the
platform should find and writes it down; ``files`` knows the formats that real services export, ``delivery`` who gets which
file; ``world`` does these things in order.

Importing these files belongs to ``listening`` and ``catalog``: nothing there knows that a world is invented.
"""

from spotify_ai_assets.demo.world import LAST_DAY, write_world

__all__ = ["LAST_DAY", "write_world"]
