"""`manage.py reconcile` on a Specify with 50,000 attachments and planted faults of every kind.

From an export and from a MariaDB server; says whether exactly the planted faults were found, and whether
the folder's hash is the same before and after.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import mariadb, specify_database
from tests.support import PROJECT
from tests.test_live import running


def main() -> None:
    """Makes the museum, and compares it twice."""
    parser = argparse.ArgumentParser(prog="script/bench reconcile", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--records", type=int, default=50_000, help="sound records (default: %(default)s)")
    parser.add_argument("--each", type=int, default=50, help="faults of each kind (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reconcile-") as scratch:
        folder = Path(scratch)
        base = folder / "attachments"
        collections = json.dumps(specify_database.FOLDERS)
        with running(base, COLLECTION_DIRS=collections), mariadb.running(folder) as database:
            museum = specify_database.make(base, arguments.records, arguments.each)
            museum.load(database)
            export = museum.export(folder / "attachments.csv")
            print(f"{len(museum.rows)} records, {len(museum.faults)} planted faults")
            before = specify_database.fingerprint(base)
            environ = {"BASE_DIR": str(base), "COLLECTION_DIRS": collections, "PATH": os.environ["PATH"]}
            environ["SPECIFY_DATABASE_PASSWORD"] = mariadb.PASSWORD
            address = f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/specify"
            for source in (str(export), address):
                measure(source, museum, environ)
            print("the folder's hash is the same:", "yes" if specify_database.fingerprint(base) == before else "NO")


def measure(source: str, museum: specify_database.Specify, environ: dict[str, str]) -> None:
    """Compares once, and prints how that went."""
    began = time.perf_counter()
    command = [sys.executable, str(PROJECT / "manage.py"), "reconcile", source, "--json"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    found = specify_database.faults([json.loads(line) for line in run.stdout.splitlines()])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(
        f"{source.partition(':')[0] if '://' in source else 'export'}: {seconds:.1f} s, at most {peak} MiB,"
        f" {len(found & museum.faults)} of them found, {len(found - museum.faults)} others reported {run.stderr}"
    )


if __name__ == "__main__":
    main()
