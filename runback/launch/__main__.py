"""The command line of run_script.bash and run_mlflow_ui.bash.

Started as `python3 -I -S runback/launch VERB …` by any Python that is there, so this
file must parse on an old one.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if sys.version_info < (3, 9):
    import subprocess

    for name in ("python3.12", "python3.11", "python3.10", "python3.9"):
        try:
            with open(os.devnull, "w") as nowhere:
                # pyenv's stand-ins exist for every version, and start for one.
                starts = subprocess.call([name, "-c", ""], stderr=nowhere) == 0
        except OSError:
            continue
        if starts:
            os.execvp(name, [name, "-I", "-S", os.path.dirname(__file__)] + sys.argv[1:])
    if sys.argv[1:2] == ["run"] and os.system("docker version >/dev/null 2>&1") == 0:
        script = os.path.join(ROOT, "docker", "without_python.bash")
        os.execv(script, [script] + sys.argv[2:])
    sys.stderr.write(
        "error: %s is Python %d.%d; this needs 3.9 or later (and 3.11 or 3.12 to train"
        " without a container)\nhint: apt-get install python3.11 python3.11-venv\n"
        % ((sys.executable,) + sys.version_info[:2])
    )
    sys.exit(3)

sys.path[:] = [ROOT] + [path for path in sys.path if path != os.path.dirname(__file__)]

if __name__ == "__main__":
    from runback.launch.cli import main
    from runback.terminal import ended

    sys.exit(ended(main))
