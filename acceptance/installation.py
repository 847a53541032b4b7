"""Installs the server on a fresh Debian or Ubuntu, by pasting the blocks of README.md and docs/install.md.

    debootstrap --variant=minbase --include=ca-certificates,git trixie /tmp/trixie
    script/acceptance installation /tmp/trixie

For Ubuntu: `debootstrap --variant=minbase --components=main,universe --include=ca-certificates,git noble …`.

It requires root, and the ports 80 and 8080 of this machine, because the installation shares its network. The folder is
copied, so it can be used again. --copy copies files and folders of this machine into the copy, such as the settings of
a package mirror: `--copy /etc/pip.conf`.

Each fenced block of the two pages must be listed here, with what it does or why it is not run; blocks of commands are
passed to one bash, as if they were pasted. The systemd section runs in the copy with a systemd of its own as process 1.
If that does not start here (it requires cgroup2), the unit is verified and its command is run instead.

Exit status 0: everything worked, and every block is known.
"""

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
UNIT = "deploy/web-asset-server.service"

#: What is passed on of the environment: how to reach package servers.
_PASSED_ON = re.compile(r"PIP_(?!FIND_LINKS)\w+|SSL_CERT_\w+|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|(?i:\w+_proxy)")

#: Blocks that are not run, by page, section and language.
NOT_RUN = {
    ("README.md", "First upload", "text"): "compared with the output of the block before",
    ("README.md", "Docker", "sh"): "requires a Docker engine",
    ("docs/install.md", "Docker", "yaml"): "requires a Docker engine",
}

#: Blocks that `Trial` runs.
RUN = {
    ("README.md", "Start", "sh"),
    ("README.md", "First upload", "sh"),
    ("docs/install.md", "Without internet", "sh"),
    ("docs/install.md", "systemd", "sh"),
    ("docs/install.md", "A port below 1024", "ini"),
    ("docs/install.md", "A port below 1024", "sh"),
    ("docs/install.md", "Install as a package", "sh"),
}


#: Ends the servers that were started by hand, without the program pkill, which a fresh system lacks.
_END_SERVERS = """
for process in /proc/[0-9]*; do
  [[ $process == /proc/$$ ]] || ! grep -qsz 'server.py\\|bin/asset-server' $process/cmdline || kill ${process#/proc/}
done
"""


class Failed(Exception):
    """A step did not do what the pages say."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    section: str
    language: str
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.page, self.section, self.language


def blocks(page: str) -> list[Block]:
    """Returns the blocks of a page, in order."""
    found, section = [], ""
    pattern = r"^## (?P<section>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```"
    for match in re.finditer(pattern, (PROJECT / page).read_text(encoding="utf-8"), re.M | re.S):
        if match["section"]:
            section = match["section"]
        else:
            found.append(Block(page, section, match["language"], match["text"]))
    return found


class Machine:
    """A copy of an unpacked Debian, with processes of its own.

    Parameters:
        root: the copy.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.is_booted = False
        self._first: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> None:
        """Starts process 1; `end` ends all others with it."""
        # systemd requires that the root is a mount point, so chroot alone is not enough.
        prepare = (
            "set -e; mount --rbind {0} {0}; cd {0}; mount --rbind /dev dev; mount -t sysfs sysfs sys;"
            " mount -t tmpfs tmpfs run; mount -t cgroup2 cgroup2 sys/fs/cgroup; mkdir -p .host; pivot_root . .host;"
            " exec chroot . sh -c 'umount --lazy /.host; exec env container=acceptance {1}'"
        ).format(shlex.quote(str(self.root)), shlex.join(command))
        unshare = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--cgroup"]
        own_proc = f"--mount-proc={self.root}/proc"
        self._first = subprocess.Popen([*unshare, own_proc, "bash", "-c", prepare], stdin=subprocess.DEVNULL)
        time.sleep(2)

    def end(self) -> None:
        """Ends all processes."""
        if self._first is not None:
            self._first.kill()  # --kill-child ends process 1, and the kernel all others
            self._first.wait()
            self._first = None

    def boot(self) -> bool:
        """Starts systemd as process 1; False if it does not come up here."""
        self.end()
        self.start("/lib/systemd/systemd", "--system", "--show-status=false", "--log-target=null")
        for _ in range(30):
            state = self.run("systemctl is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded"):
                self.is_booted = True
                copy_into(self.root, "/etc/resolv.conf")  # Ubuntu's systemd-resolved has replaced it
                return True
            time.sleep(1)
        self.end()
        self.start("sleep", "infinity")
        return False

    def run(self, script: str, folder: str = "/root", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Passes a script to bash, in a folder. Raises Failed if it fails, unless *check* is false."""
        done = subprocess.run(
            self._command(f"cd {folder} && set -e\n{script}"), capture_output=True, text=True, check=False, timeout=900
        )
        if check and done.returncode:
            raise Failed(f"exit status {done.returncode} of\n{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done

    @contextlib.contextmanager
    def running(self, script: str, folder: str, port: int = 8080) -> Iterator[None]:
        """Passes a script to bash that runs a server in the foreground, and waits until it responds."""
        log = self.root / "root/server.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                self._command(f"cd {folder} && set -e\n{script}"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                for _ in range(600):
                    if responds(port):
                        break
                    if process.poll() is not None:
                        raise Failed(f"the server ended:\n{script}\n{log.read_text(encoding='utf-8')[-3000:]}")
                    time.sleep(1)
                yield
            finally:
                self.run(_END_SERVERS, check=False)
                process.wait(30)

    def _command(self, script: str) -> list[str]:
        if self._first is None:
            raise AssertionError("the machine is not started")
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text(encoding="ascii").split()
        if not children:
            raise Failed("process 1 has ended")
        kept = [f"{name}={value}" for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        own = [path, "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *kept]
        enter = ["nsenter", "--target", children[0], "--mount", "--uts", "--ipc", "--pid", "--root", "--wd=/"]
        return [*enter, "env", "-i", *own, "bash", "-c", script]


def responds(port: int) -> bool:
    """Returns whether our server responds at a port of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            return b"Web Asset Server" in response.read()
    except OSError:
        return False


def copy_into(root: Path, path: str) -> None:
    """Copies a file or folder of this machine to the same path below a root."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-aL", "--remove-destination", "--no-target-directory", path, str(target)], check=False)


class Trial:
    """The steps, in the order of the pages."""

    def __init__(self, machine: Machine, found: list[Block]) -> None:
        self._machine = machine
        self._blocks = {block.key: block.text for block in found}

    def block(self, page: str, section: str, language: str = "sh") -> str:
        return self._blocks[page, section, language]

    def readme(self) -> None:
        """README: start, first upload."""
        start = f"repository=/srv/repository.git\n{self.block('README.md', 'Start')}"
        expected = self.block("README.md", "First upload", "text")
        with self._machine.running(start, "/root"):
            self._machine.run("apt-get install -y curl openssl")
            printed = self._machine.run(self.block("README.md", "First upload"), "/root/web-asset-server").stdout
        if printed != expected:
            raise Failed(f"the first upload printed\n{printed}instead of\n{expected}")

    def bundle(self) -> None:
        """docs/install.md, "Without internet": the bundle, and its INSTALL.txt without a network."""
        self._machine.run(self.block("docs/install.md", "Without internet"), "/root/web-asset-server")
        self._machine.run("mkdir offline && tar -xzf web-asset-server/dist/*.tar.gz -C offline")
        folder = "/root/offline/web-asset-server"
        text = self._machine.run("cat INSTALL.txt", folder).stdout
        commands = "\n".join(re.findall(r"^    (.+)$", text, re.M))
        script = shlex.quote(f"set -e; {commands}".replace("script/server", "timeout 20 script/server || true"))
        printed = self._machine.run(f"unshare --net bash -c {script} 2>&1", folder).stdout
        if "listening on" not in printed:
            raise Failed(f"the server from the bundle did not start:\n{printed[-3000:]}")

    def systemd(self) -> None:
        """docs/install.md, "systemd": with systemd as process 1, or its parts."""
        self._machine.run("git clone /srv/repository.git /opt/web-asset-server")
        self._machine.run("apt-get install -y systemd dbus procps")
        text, folder = self.block("docs/install.md", "systemd"), "/opt/web-asset-server"
        if self._machine.boot():
            printed = self._machine.run(f"{text}\nsleep 8; journalctl --unit web-asset-server", folder).stdout
            if "No key is configured" not in printed:
                raise Failed(f"the journal does not show the key:\n{printed}")
            self._machine.run("systemctl is-active web-asset-server")
            self._check_unit_responds(8080)
        else:
            print("systemd does not start here: the unit is verified, and its command is run", flush=True)
            self._machine.run(re.sub(r"^(systemctl|journalctl) .*$", "", text, flags=re.M), folder)
            self._machine.run("systemd-analyze verify /etc/systemd/system/web-asset-server.service")
            unit = (PROJECT / UNIT).read_text(encoding="utf-8")
            values = dict(re.findall(r"^(User|WorkingDirectory|Environment|ExecStart)=(.+)$", unit, re.M))
            command = f"cd {values['WorkingDirectory']} && exec env {values['Environment']} {values['ExecStart']}"
            with self._machine.running(f"su {values['User']} -s /bin/sh -c {shlex.quote(command)}", "/"):
                self._check_commands()

    def _check_unit_responds(self, port: int) -> None:
        for _ in range(20):
            if responds(port):
                self._check_commands()
                return
            time.sleep(1)
        raise Failed(self._machine.run("journalctl --unit web-asset-server --lines 30", check=False).stdout)

    def _check_commands(self) -> None:
        """The commands work on the store of the server."""
        printed = self._machine.run(".venv/bin/python manage.py doctor", "/opt/web-asset-server", check=False)
        if "/var/lib/web-asset-server" not in printed.stdout + printed.stderr:
            raise Failed(f"manage.py works on another store:\n{printed.stdout}{printed.stderr}")

    def low_port(self) -> None:
        """docs/install.md, "A port below 1024": with systemd if it runs, and with authbind."""
        if self._machine.is_booted:
            drop_in = self._machine.root / "etc/systemd/system/web-asset-server.service.d/override.conf"
            drop_in.parent.mkdir(parents=True)
            drop_in.write_text(self.block("docs/install.md", "A port below 1024", "ini"), encoding="utf-8")
            settings = "/etc/asset-server/settings.py"
            self._machine.run(f"cp {settings} /root/settings.py; echo 'PORT = 80' >>{settings}")
            self._machine.run("systemctl daemon-reload; systemctl restart web-asset-server")
            self._check_unit_responds(80)
            self._machine.run(f"systemctl stop web-asset-server; cat /root/settings.py >{settings}")
        # As in the unit, because the folder of the program is not writable for the user.
        self._machine.run("chown -R specify /opt/web-asset-server")
        with self._machine.running(self.block("docs/install.md", "A port below 1024"), "/root", 80):
            pass

    def package(self) -> None:
        """docs/install.md, "Install as a package"."""
        with self._machine.running(self.block("docs/install.md", "Install as a package"), "/root/web-asset-server"):
            pass


@contextlib.contextmanager
def copied(root: Path, copies: list[str]) -> Iterator[Path]:
    """Yields a copy of the root, with files of this machine and the committed program as a repository."""
    folder = Path(tempfile.mkdtemp(prefix="installation-"))
    try:
        subprocess.run(["cp", "-a", f"{root}/.", str(folder)], check=True)
        for path in ["/etc/resolv.conf", "/etc/hosts", *copies]:
            copy_into(folder, path)
        policy = folder / "usr/sbin/policy-rc.d"  # packages start no services
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
        subprocess.run(["git", "clone", "-q", "--bare", str(PROJECT), str(folder / "srv/repository.git")], check=True)
        subprocess.run(["chown", "-R", "root:root", str(folder / "srv/repository.git")], check=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Runs all steps; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder of an unpacked Debian or Ubuntu")
    parser.add_argument("--copy", action="append", default=[], help="a file or folder of this machine to copy into it")
    options = parser.parse_args()
    found = blocks("README.md") + blocks("docs/install.md")
    unknown = {block.key for block in found} ^ (RUN | set(NOT_RUN))
    if unknown:
        sys.exit(f"Blocks that this test does not know, or that no longer exist: {sorted(unknown)}")
    if os.geteuid() or responds(8080) or responds(80):
        sys.exit("It requires root, and the ports 80 and 8080.")
    for key, reason in NOT_RUN.items():
        print(f"not run: {' / '.join(key)}: {reason}")
    failures = 0
    with copied(options.root, options.copy) as root:
        machine = Machine(root)
        machine.start("sleep", "infinity")
        trial = Trial(machine, found)
        try:
            for step in (trial.readme, trial.bundle, trial.systemd, trial.low_port, trial.package):
                began = time.monotonic()
                try:
                    step()
                    print(f"ok ({time.monotonic() - began:.0f} s): {step.__doc__}", flush=True)
                except (Failed, subprocess.TimeoutExpired) as error:
                    failures += 1
                    print(f"FAILED: {step.__doc__}\n{error}", flush=True)
        finally:
            machine.end()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
