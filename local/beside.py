"""``python -m local.beside MODULE …``: run a command of the batch against the loop that runs on this machine.

It finds the settings, Java, the jars and the emulator's credentials where ``make demo`` has put them; what the
environment says already stays, so the same command reaches any other deployment.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from contracts.errors import LiveshelfError, SettingsError
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH
from local import toolchain
from local.paths import data_dir
from local.stack import CREDENTIALS

__all__ = ["environment", "main"]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a command of the batch needs to find, added to ``given``.

    Raises:
        SettingsError: ``given`` names no settings, and nothing runs here.
    """
    found = dict(given)
    if not found.get(ENVIRONMENT_VARIABLE):
        properties = data_dir(given) / "application_properties.json"
        if not properties.is_file():
            message = (
                f"no loop runs here: {properties} is absent; start one with make demo, or name the settings of another "
                f"in {ENVIRONMENT_VARIABLE} (on AWS they are at {MANAGED_PATH})"
            )
            raise SettingsError(message)
        found[ENVIRONMENT_VARIABLE] = str(properties)
        found |= CREDENTIALS
    found.setdefault("JAVA_HOME", str(toolchain.java_home()))
    found.setdefault("LIVESHELF_SPARK_JARS", ":".join(map(str, toolchain.jars().spark)))
    return found


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    if not argv:
        print("beside: which command? python -m local.beside batch.parity …", file=sys.stderr)
        return 2
    try:
        env = environment(os.environ)
    except LiveshelfError as exc:
        print(f"{argv[0]}: {exc}", file=sys.stderr)
        return 2
    return subprocess.run([sys.executable, "-m", *argv], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
