#!/usr/bin/env python3
"""The simulation must notice every rule that is wrong on purpose (mutations.py).

Each mutation is compiled from a copy of the file that it changes, linked with
the rest of muster-simulate, and lives through seeds until an invariant breaks.
One that dies of a signal is caught only if the mutation says so.

usage: gate.py BUILD_FOLDER [NAME…]      e.g. gate.py build/dev no-grace
"""
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import shlex
import subprocess
import sys
import time

from mutations import MUTATIONS

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = "tests/simulation/muster-simulate"
SEEDS, DAYS, PATIENCE = 60, 20, 300  # Lives per mutation; machine-days each; seconds.
LIKELY_SEEDS = 20  # Lives with the faults that a mutation names, before the others.
INVARIANTS = ("P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 P11 P12 P13 P14 R1 R2 D1 D2 X1 "
              "C1 C2 C3 C4 C5 C6 C7 C8 C9 C10 C11 O1 O2 O3 O4 O5").split()
MEMORY_MAX = 1 << 30  # Wrong rules may never come to rest.


def compile_command(build, source):
    """The words that compile `source` into simulation_core."""
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if entry["file"] == str(ROOT / source) and "simulation_core" in entry["command"]:
            return shlex.split(entry["command"])
    raise LookupError(f"{source} is not compiled for the simulation")


def link_command(build):
    commands = subprocess.run(["ninja", "-C", build, "-t", "commands", "-s", PROGRAM],
                              check=True, capture_output=True, text=True).stdout
    line = [l for l in commands.splitlines() if f"-o {PROGRAM}" in l][-1]
    # CMake wraps it: ": && COMMAND && :".
    return shlex.split(line.removeprefix(": &&").removesuffix("&& :"))


def mutate(mutation, folder):
    text = (ROOT / mutation.file).read_text()
    count = text.count(mutation.old)
    if count != mutation.times:
        raise LookupError(f"does not apply: {mutation.file} has that piece {count} times")
    source = folder / pathlib.Path(mutation.file).name
    source.write_text(text.replace(mutation.old, mutation.new))
    return source


def build_mutant(mutation, build, link):
    folder = build / "mutants" / mutation.name
    folder.mkdir(parents=True, exist_ok=True)
    source = mutate(mutation, folder)
    command = compile_command(build, mutation.file)
    was = command[command.index("-o") + 1]
    now = str(folder / "mutated.o")
    command = [now if w == was else now + ".d" if w == was + ".d" else w for w in command]
    command[command.index("-c") + 1] = str(source)
    # Wrong code may leave something unused.
    command.append("-Wno-error")
    subprocess.run(command, cwd=build, check=True, capture_output=True, text=True)
    program = folder / "muster-simulate"
    words = [now if w == was else str(program) if w == PROGRAM else w for w in link]
    subprocess.run(words, cwd=build, check=True, capture_output=True, text=True)
    return program


def live(program, seeds, mutation, faults):
    """What it says of so many lives, until one breaks something."""
    words = [program, *["--commands"] * mutation.commands, "--seeds", str(seeds), "--per-seed", str(DAYS), "--replay-every", "2", "--until-violation"]
    return subprocess.run(
        words + (["--faults", faults] if faults else []),
        capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX)))


def judge(mutation, build, link):
    """(caught, ids of the invariants that broke, what was seen)"""
    begin = time.monotonic()
    try:
        program = build_mutant(mutation, build, link)
        lives = live(program, LIKELY_SEEDS, mutation, mutation.faults) if mutation.faults else None
        if lives is None or lives.returncode == 0:
            lives = live(program, SEEDS, mutation, "")
    except LookupError as error:
        return False, [], str(error)
    except subprocess.CalledProcessError as error:
        return False, [], f"does not compile: {error.stderr[:400]}"
    except subprocess.TimeoutExpired:
        return False, [], f"survived {PATIENCE} s"
    return verdict(mutation, lives, time.monotonic() - begin)


def verdict(mutation, lives, took):
    """The same, of lives that have ended."""
    ids = sorted(set(re.findall(r"^VIOLATED (\w+)", lives.stdout, re.M)))
    seed = re.findall(r"^seed (\d+):", lives.stdout, re.M)
    if ids:
        return True, ids, f"{' '.join(ids)} at seed {seed[-1] if seed else '?'}, {took:.0f} s"
    if lives.returncode < 0:
        declared = -lives.returncode == mutation.dies_of
        return declared, [], f"died of signal {-lives.returncode}{', as declared' * declared}, {took:.0f} s"
    if lives.returncode > 0:
        return False, [], f"ended with {lives.returncode}, {took:.0f} s"
    return False, [], f"survived {SEEDS} lives of {DAYS} machine-days"


def main():
    if "MUSTER_LONG_TESTS" not in os.environ and not sys.argv[2:]:
        print("skipped: only with tools/test --full (MUSTER_LONG_TESTS)")
        return 77
    build = pathlib.Path(sys.argv[1]).resolve()
    chosen = [m for m in MUTATIONS if not sys.argv[2:] or m.name in sys.argv[2:]]
    link = link_command(build)
    survivors = 0
    broken_by = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutation, (caught, ids, seen) in zip(
                chosen, pool.map(lambda m: judge(m, build, link), chosen)):
            survivors += not caught
            for invariant in ids:
                broken_by.setdefault(invariant, []).append(mutation.name)
            print(f"{'caught  ' if caught else 'SURVIVED'} {mutation.name:36} {seen}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutations caught")
    for invariant in INVARIANTS:
        print(f"{invariant:4} {' '.join(broken_by.get(invariant, ['no mutation has broken it']))}")
    idle = [i for i in INVARIANTS if i not in broken_by]
    if len(chosen) < len(MUTATIONS):
        idle = []  # Only some were asked for.
    return 1 if survivors or idle or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
