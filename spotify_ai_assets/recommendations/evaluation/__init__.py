"""How good shelves are: metrics of each listener, slices with intervals, and the gate between two recipes.

``metrics`` measures, ``slices`` cuts and tabulates, ``intervals`` says how surely, ``judgement`` decides. Everything here works on
numbered items and listeners; who they are is known outside.
"""
