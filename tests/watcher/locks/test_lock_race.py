import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import watcher
from rules.model import LockRecord
from watcher import Lock, LockedError
from watcher.locks.lockfile import encode

ROOT = Path(watcher.__file__).parents[1]
ROUNDS = int(os.environ.get("LOCKWARDEN_RACE_ROUNDS", "30"))
"""How many times all race; `make stress` asks for 1,000."""

RACERS = 64
PATIENCE = 60.0

# All start at once each round, and nobody leaves before all have tried. Every second round begins with a stale lock.
RACE = """if True:
    import os, sys
    from multiprocessing import get_context
    from pathlib import Path
    from watcher import Lock, LockedError
    worker, racers, rounds, stale = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode()
    fork = get_context("fork")
    barrier, results = fork.Barrier(racers), fork.SimpleQueue()

    def race():
        try:
            run()
        except BaseException:
            barrier.abort()
            raise
        finally:
            results.put(None)

    def run():
        lock = Lock(worker)
        for number in range(rounds):
            if barrier.wait(60) == 0 and number % 2:
                Path(lock.path).write_bytes(stale)
            barrier.wait(60)
            try:
                lock.acquire()
            except LockedError:
                won = False
            else:
                won = True
                results.put((number, os.getpid(), lock.read().pid))
            barrier.wait(60)
            if won:
                lock.release()

    processes = [fork.Process(target=race) for _ in range(racers)]
    for process in processes:
        process.start()
    left = racers
    while left:
        result = results.get()
        left -= result is None
        if result is not None:
            print(*result)
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))
    """


@pytest.mark.timeout(PATIENCE + ROUNDS)
def test_one_of_many_wins_each_race(tmp_path: Path, dead_pid: int) -> None:
    """Of 64 processes that want one worker at once, exactly one gets it, be it free or stale before."""
    (tmp_path / ".runtime").mkdir()
    stale = encode(pid=dead_pid, acquired_ns=time.time_ns(), utc_offset=0)
    command = [sys.executable, "-c", RACE, str(tmp_path), str(RACERS), str(ROUNDS), stale.decode()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    winners = [line.split() for line in done.stdout.splitlines()]
    assert sorted(int(number) for number, _, _ in winners) == list(range(ROUNDS))
    assert all(winner == read for _, winner, read in winners)
    assert len({winner for _, winner, _ in winners}) > 1 or ROUNDS == 1


# Another program with the newer Go writer's protocol: flock, look, write aside, rename. It takes a free lock only.
STRANGER = """
cd "$1/.runtime" || exit 2
host=$(uname -n)
while read -r round; do
    (
        flock 9
        if [ -e agent.lock ]; then
            echo "$round lost"
        else
            time=$(date -u +%Y-%m-%dT%H:%M:%SZ)
            printf '{"pid": %d, "acquired_at": "%s", "hostname": "%s"}' "$$" "$time" "$host" >agent.lock.tmp
            mv agent.lock.tmp agent.lock
            echo "$round won"
        fi
    ) 9>>agent.lock.flock
done
"""


@pytest.mark.parametrize("rounds", [40])
def test_another_program_takes_turns_with_us(tmp_path: Path, rounds: int) -> None:
    """A shell script with flock(1) and mv, and we: of each race one wins, and each reads the other's lock."""
    (tmp_path / ".runtime").mkdir()
    lock = Lock(tmp_path)
    wins = {"we": 0, "stranger": 0}
    with subprocess.Popen(
        ["sh", "-c", STRANGER, "stranger", tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as stranger:
        assert stranger.stdin is not None
        assert stranger.stdout is not None
        for number in range(rounds):
            stranger.stdin.write(f"{number}\n")
            stranger.stdin.flush()
            if number % 2:
                time.sleep(number / rounds / 200)  # now we are first, now the other
            try:
                holder = lock.acquire()
            except LockedError as refusal:
                holder = refusal.record or LockRecord()
            we = holder.pid == os.getpid()
            assert we or holder.pid == stranger.pid
            assert stranger.stdout.readline() == f"{number} {'lost' if we else 'won'}\n"
            wins["we" if we else "stranger"] += 1
            assert lock.force_release()
        stranger.stdin.close()
    assert sum(wins.values()) == rounds


def test_another_programs_flock_is_waited_for(tmp_path: Path) -> None:
    """While flock(1) holds the writers' file we wait, and then see what was written under it."""
    runtime = tmp_path / ".runtime"
    runtime.mkdir()
    write = 'cd "$1"; echo up; read -r _; printf "{\\"pid\\": %d}" "$2" >agent.lock.tmp; mv agent.lock.tmp agent.lock'
    with subprocess.Popen(
        ["flock", runtime / "agent.lock.flock", "sh", "-c", write, "sh", runtime, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "up\n"
        command = [sys.executable, "-m", "watcher", "lock", "acquire", str(tmp_path), "--session", "", "--pid", "1"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as visitor:
            with pytest.raises(subprocess.TimeoutExpired):
                visitor.wait(1.0)
            writer.stdin.close()
            _, said = visitor.communicate(timeout=PATIENCE)
    assert visitor.returncode == 1
    assert f"locked by PID {os.getpid()} (session: none)" in said


def test_the_other_program_reads_what_we_write(tmp_path: Path) -> None:
    """Any JSON reader finds the four fields of a lock, whatever the session is called."""
    session = 'gt-"ada"\\ <&> \u2028 \x7f'
    Lock(tmp_path, session_id=session).acquire()
    fields = json.loads((tmp_path / ".runtime" / "agent.lock").read_bytes())
    assert list(fields) == ["pid", "acquired_at", "session_id", "hostname"]
    assert (fields["pid"], fields["session_id"], fields["hostname"]) == (os.getpid(), session, socket.gethostname())
