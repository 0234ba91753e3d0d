"""One renderer per report: figures in, a whole HTML document per language out.

A page needs no script and no network: a strict content security policy forbids both. Every name is escaped by jinja2 and
isolated from the direction of the text around it. No number is computed here beyond changes, and sums of what is not shown.

``frame.py`` is what all pages share; ``templates/`` beside this package holds the markup.
"""
