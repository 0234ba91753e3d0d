"""Models of four makes behind one ``predict``: an adapter each for torch, a Hugging Face folder, ONNX and an own class.

``contract`` says what a model takes and how every adapter treats it, ``opening`` finds the adapter that a version names. Nothing
here reads pickle, loads code from a model's folder or asks a network.
"""
