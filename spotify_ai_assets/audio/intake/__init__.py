"""Intake of audio files: what has landed, what it is, where it is kept, and how it is measured without harm.

::

    landing.py     which files have landed, or were named
    formats.py     is it audio? by content
    store.py       originals by their SHA-256, and the cache of their analyses
    sandbox.py     a pool of children under limits: nursery.py starts them, worker.py is what runs in them, confinement.py what
                   they give up before, capacity.py how many the machine holds
    taking.py      a file goes through all of it: taken, or rejected with a reason
    tags.py        what its tags say, made harmless
    links.py       which track of the catalogue it is
    inspection.py  what would become of files, as a table

A file costs at most itself: whatever it does to a decoder happens in a child, and its end is a reason in a row.
"""
