"""The reservoir gives places at the same times as the local one of Python's X-Ray SDK.

`reservoir.txt` holds random times of arrival, with the SDK's clock set to them, and its answers; the crate's own tests hold
our reservoir against it (`src/sampling/reservoir.rs`). Here it is made anew, so that it is and stays what the SDK says.

    python tests/interop/test_sdk_reservoir.py write       makes the file

A line is the size, and after it the milliseconds of each arrival, with `+` if it got a place.
"""

import os
import random
import sys
import unittest
from unittest import mock

from aws_xray_sdk.core.sampling.local import reservoir

PATH = os.path.join(os.path.dirname(__file__), "reservoir.txt")


def arrivals(dice):
    """Times in milliseconds over some seconds: steady, in bursts, or with long silences between."""
    time, pace = dice.randrange(5_000), dice.choice([1, 20, 300, 1_500])
    for _ in range(dice.randint(20, 60)):
        time += dice.choice([0, 1, dice.randint(0, 2 * pace), dice.randint(0, 2 * pace)])
        # The edges of seconds are where answers change.
        if dice.random() < 0.1:
            time += -time % 1_000 - dice.choice([0, 0, 1]) % (-time % 1_000 + 1)
        yield time


def lines():
    dice = random.Random(20261122)
    for _ in range(200):
        size = dice.choice([0, 1, 1, 2, 3, 5, 10, 50])
        times = list(arrivals(dice))
        with mock.patch.object(reservoir.time, "time") as clock:
            clock.return_value = times[0] / 1_000
            theirs = reservoir.Reservoir(size)
            words = [str(size)]
            for time in times:
                clock.return_value = time / 1_000
                words.append(f"{time}{'+' if theirs.take() else ''}")
        yield " ".join(words) + "\n"


class SaysTheSame(unittest.TestCase):
    def test_the_file_is_what_the_sdk_says(self):
        with open(PATH, encoding="utf-8") as file:
            self.assertEqual(file.readlines(), list(lines()))


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        with open(PATH, "w", encoding="utf-8") as file:
            file.writelines(lines())
    else:
        unittest.main()
