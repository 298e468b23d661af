#!/usr/bin/env python3
"""Set up seisprobe in a virtual environment of its own (.venv) and run it: demo, test, or setup alone.

Safe to run again: what is installed already is not installed twice. Needs Python 3.11 or newer and a package index.
"""

from __future__ import print_function

import hashlib
import os
import subprocess
import sys

NEEDED = (3, 11)
HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
STAMP = os.path.join(VENV, "seisprobe-installed")
EXTRAS = {"demo": "[waveforms]", "test": "[test]", "setup": "[test]"}


def fail(message, status=1):
    sys.stderr.write("bootstrap.py: %s\n" % message)
    sys.exit(status)


def wanted():
    """Return what the environment must match: the interpreter, this folder, what it declares and locks."""
    digest = hashlib.sha256((sys.version + HERE).encode("utf-8"))
    for name in ("pyproject.toml", "requirements.lock"):
        with open(os.path.join(HERE, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def installed():
    try:
        with open(STAMP) as file:
            return file.read().strip()
    except (IOError, OSError):
        return ""


def set_up(extras):
    import shutil
    import venv

    found = installed()
    if found in (wanted() + extras, wanted() + "[test]"):
        return
    print("setting up .venv (once; a few minutes)", file=sys.stderr)
    try:
        if not found.startswith(wanted()):
            venv.EnvBuilder(with_pip=True, clear=os.path.isdir(VENV)).create(VENV)
    except (subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        fail("cannot make a virtual environment (%s); on Debian or Ubuntu install python3-venv, then run this again" % error)
    pip = [os.path.join(BIN, "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lock = os.path.join(HERE, "requirements.lock")
    if subprocess.call(pip + ["--constraint", lock, "--editable", HERE + extras]):
        fail("pip could not install what requirements.lock names; check the connection to the package index, then run this again")
    with open(STAMP, "w") as file:
        file.write(wanted() + extras)


def main():
    if sys.version_info < NEEDED:
        fail(
            "seisprobe needs Python %d.%d or newer, and this is %s; run it with a newer one, for example: python3.11 bootstrap.py"
            % (NEEDED + (sys.version.split()[0],)),
            2,
        )
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in EXTRAS:
        fail("say what to do: %s" % ", ".join("python3 bootstrap.py " + verb for verb in sorted(EXTRAS)), 2)
    set_up(EXTRAS[arguments[0]])
    python = os.path.join(BIN, "python")
    commands = {
        "demo": [python, "-m", "seisprobe", "demo"],
        "test": [python, "-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "4", "-p", "no:benchmark"],
    }
    if arguments[0] in commands:
        where = HERE if arguments[0] == "test" else os.getcwd()
        environment = dict(os.environ)
        if arguments[0] == "test":
            environment.setdefault("OPENBLAS_NUM_THREADS", "1")  # the tests run in several processes already
        sys.exit(subprocess.call(commands[arguments[0]] + arguments[1:], cwd=where, env=environment))


if __name__ == "__main__":
    main()
