"""``python -m spotify_ai_assets.locale update|compile``: for whoever adds or translates a text."""

import argparse

from spotify_ai_assets.locale.catalogues import compile_catalogues, extract_messages, update_catalogues


def main() -> int:
    """Run one of the two commands; the exit status is 1 while a translation is missing."""
    parser = argparse.ArgumentParser(prog="python -m spotify_ai_assets.locale", description=__doc__)
    parser.add_argument("command", choices=("update", "compile"))
    if parser.parse_args().command == "compile":
        for path in compile_catalogues():
            print(path.name, "of", path.parent.parent.name, "written")
        return 0
    problems = update_catalogues(extract_messages())
    for language, lines in problems.items():
        print(f"{language}: {len(lines)} to translate")
        for line in lines:
            print(f"  {line}")
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
