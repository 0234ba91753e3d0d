"""What is measured on one recording: decoding, spectrum, rhythm, loudness, tonality. Pure functions on arrays; no models, no lake."""
