"""The load query's kernel beside the same recursion in C, on one core: python benchmarks/kernel.py

Both run by turns, and CPU time is compared, so that others on the machine disturb neither more than the other.
Exits 1 if the kernel takes more than 1.2 times the CPU of the quickest C program that does the same work.

The same work: every addition and remainder of the recursion. Inlining is fair, and gcc inlines. But plain -O2 does
more: it sees that fib is pure, merges equal calls, and so computes another, far smaller recursion; -fno-ipa-pure-const
forbids that.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ballast.kernel import fib

TARGET = 1.2
SOURCE = Path(__file__).with_name("fib.c")
FLAGS = {
    "C, as gcc inlines it": ["-O2", "-fno-ipa-pure-const"],
    "C, without inlining": ["-O2", "-fno-ipa-pure-const", "-fno-inline"],
    "C, equal calls merged": ["-O2"],
}
SAME_WORK = list(FLAGS)[:2]
KERNEL = "the kernel"


def kernel(n: int) -> tuple[int, float]:
    """The result and the CPU seconds that it took."""
    start = time.process_time()
    result = fib(n)
    return result, time.process_time() - start


def program(path: Path) -> Callable[[int], tuple[int, float]]:
    def run(n: int) -> tuple[int, float]:
        result, seconds = subprocess.run([path, str(n)], capture_output=True, text=True, check=True).stdout.split()
        return int(result), float(seconds)

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=37)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    gcc = shutil.which("gcc")
    if gcc is None:
        sys.exit("This needs gcc, for the C program to compare with: apt install gcc libc6-dev")
    # What is started here inherits the one core.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, Callable[[int], tuple[int, float]]] = {KERNEL: kernel}
        for number, (name, flags) in enumerate(FLAGS.items()):
            path = Path(folder) / f"fib{number}"
            subprocess.run([gcc, *flags, SOURCE, "-o", path], check=True)
            contenders[name] = program(path)
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        results = set()
        for _ in range(options.rounds):
            for name, run in contenders.items():
                result, took = run(options.n)
                results.add(result)
                seconds[name].append(took)
    if len(results) != 1:
        sys.exit(f"They do not agree on fib({options.n}): {sorted(results)}")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"fib({options.n}) mod 10037 = {results.pop()}, {options.rounds} rounds, CPU time")
    for name, median in medians.items():
        print(f"  {name:<24} median {median * 1000:7.2f} ms   best {min(seconds[name]) * 1000:7.2f} ms")
    # Nothing is remembered: one step of n costs what the golden ratio says.
    growth = statistics.median(kernel(options.n)[1] / kernel(options.n - 1)[1] for _ in range(options.rounds))
    print(f"  fib({options.n}) costs the kernel {growth:.2f} times fib({options.n - 1}): 1.62 if every call is made")
    ratio = medians[KERNEL] / min(medians[name] for name in SAME_WORK)
    print(f"The kernel takes {ratio:.2f} times the CPU of the quickest C program with the same work; {TARGET} may be.")
    return int(ratio > TARGET)


if __name__ == "__main__":
    sys.exit(main())
