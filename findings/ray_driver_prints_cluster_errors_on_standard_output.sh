#!/usr/bin/env bash
# Ray 2.60.0: the driver prints the cluster's error messages on its standard output, also with log_to_driver=False.
#
# Source: https://pypi.org/project/ray/2.60.0/ (ray/_private/worker.py, listen_error_messages: "is_err": False).
# What happens: when a worker process ends by a signal, a thread of the driver prints "(raylet) A worker died or was killed while
# executing a task ..." to sys.stdout. log_to_driver=False and logging_level=ERROR do not stop it: it is no
# log of a worker and does not go through logging. Warnings of a program usually go to standard error.
# Why it matters: a driver whose standard output is read by a program (JSON lines, a table, a pipe) has a line in it that is none of its
# own, at a moment that nobody chose. It comes only when a worker dies, so no test without a death sees it.
# Seen: "standard output: 1 line of the driver, 1 of Ray: (raylet) A worker died or was killed ...; standard error: 0 of Ray".
# Fails if: nothing of Ray is on standard output.
# What helps: contextlib.redirect_stdout(sys.stderr) from before ray.init to after ray.shutdown, and printing to the stream kept before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check ray==2.60.0
cat > "$folder/driver.py" <<'PYTHON'
import logging
import os
import signal
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_COLOR_PREFIX"] = "0"

import ray

ray.init(
    "local",
    num_cpus=1,
    include_dashboard=False,
    object_store_memory=80 * 2**20,
    log_to_driver=False,
    logging_level=logging.ERROR,
)


@ray.remote(max_retries=0)
def dies():
    os.kill(os.getpid(), signal.SIGKILL)


try:
    ray.get(dies.remote())
except ray.exceptions.WorkerCrashedError:
    print("the driver's own line")
time.sleep(5)
PYTHON
cd "$folder"
venv/bin/python driver.py > out 2> err
ours=$(grep -c "the driver's own line" out || true)
theirs=$(grep -v "the driver's own line" out | grep -c . || true)
echo "standard output: $ours line of the driver, $theirs of Ray: $(grep -v "the driver's own line" out | head -1 | cut -c1-60) ...; standard error: $(grep -c raylet err || true) of Ray"
[ "$theirs" -gt 0 ] || { echo "Ray prints nothing on standard output now" >&2; exit 1; }
