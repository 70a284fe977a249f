"""Patterns match what `wildcard_match` of Python's X-Ray SDK says they match.

Each rule looks at a header of its own, so that one request asks one pattern about one text; `collimator test` answers two
hundred of them at a time.

Three differences are known. The SDK takes a `*` in the text for a literal equal of a `*` in the pattern, so that `*a` does
not match `*ba`: shown below. An empty pattern matches an empty text there, and is refused here, where nobody means it. Space
around a header's value is not part of it, so the corpus has none.
"""

import json
import os
import random
import subprocess
import tempfile
import unittest

from aws_xray_sdk.core.utils.search_pattern import wildcard_match

from world import BINARY

N_CASES = 12_000
AT_ONCE = 200
# Few letters, so that patterns and texts meet; among them some that fold to others or to two, in ways that trip people.
LETTERS = ["a", "A", "b", "B", "/", ".", "-", "é", "É", "k", "K", "\u212a", "İ", "i", "ı", "ß", "ẞ", "ſ", "s", "S", "Σ", "σ",
           "ς", "я", "Я", "日", "😀", "e\u0301"]


def answers(cases):
    """Whether each pattern matches its text, by what `collimator test` says."""
    found = []
    for start in range(0, len(cases), AT_ONCE):
        part = list(enumerate(cases[start : start + AT_ONCE]))
        rules = [
            {"name": f"r{n}", "priority": n + 1, "rate": 1, "attributes": {f"x-{n}": pattern}}
            for n, (pattern, _) in part
        ]
        tests = [
            {"name": str(n), "request": {"path": "/", "headers": {f"x-{n}": text}}, "expect": {"rule": f"r{n}"}}
            for n, (_, text) in part
        ]
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (
                ("rules.json", {"rules_version": 1, "rules": rules}),
                ("a.test.yaml", {"tests": tests}),
            ):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    json.dump(content, file, ensure_ascii=False)
            command = [BINARY, "test", folder, "--format", "json"]
            result = subprocess.run(command, capture_output=True, text=True)
        assert result.stdout, result.stderr
        (file,) = json.loads(result.stdout)["files"]
        assert len(file["tests"]) == len(part)
        for test in file["tests"]:
            # The only other answer there is: no rule matched.
            assert test["passed"] or "got Default" in test["failures"][0], test
            found.append(test["passed"])
    return found


class MatchesTheSame(unittest.TestCase):
    def corpus(self):
        dice = random.Random(20261122)

        def text(most):
            return "".join(dice.choice(LETTERS) for _ in range(dice.randint(0, most)))

        def pattern_of(characters):
            """A pattern made from a text, which it may match."""
            made = []
            for character in characters:
                kind = dice.randrange(10)
                if kind == 0:
                    made.append("*")
                elif kind == 1:
                    made.append("?")
                elif kind == 2:
                    made.append(character.swapcase())
                elif kind == 3:
                    made += [character, "*"]
                elif kind == 4:
                    pass
                else:
                    made.append(character)
            return dice.choice(["", "", "*", "?", "**"]) + "".join(made) + dice.choice(["", "", "*", "?", "**"])

        cases = [(pattern, text) for pattern in ["*", "?", "**", "*?", "?*", "*?*", "??", "a*", "*a", "a*a*a"]
                 for text in ["", "a", "A", "aa", "aaa", "ab", "é", "?"]]
        while len(cases) < N_CASES:
            body = text(10)
            pattern = pattern_of(body) if dice.random() < 0.8 else "".join(
                dice.choice(LETTERS + ["*"] * 8 + ["?"] * 4) for _ in range(dice.randint(1, 8))
            )
            if pattern:
                cases.append((pattern, body))
        return cases

    def test_on_a_random_corpus(self):
        cases = self.corpus()
        expected = [wildcard_match(pattern, text) for pattern, text in cases]
        self.assertGreaterEqual(len(cases), 10_000)
        # A corpus of one answer would prove nothing.
        self.assertGreater(sum(expected), N_CASES // 5)
        self.assertLess(sum(expected), N_CASES * 4 // 5)
        wrong = [
            (case, theirs, ours)
            for case, theirs, ours in zip(cases, expected, answers(cases), strict=True)
            if theirs != ours
        ]
        self.assertEqual(wrong[:10], [], f"{len(wrong)} of {len(cases)}")

    def test_a_star_in_the_text_is_a_character_like_any_other_here(self):
        cases = [("*a", "*ba"), ("*", "*"), ("a*", "a*b"), ("*b", "a*b"), ("*a*", "**ba")]
        self.assertEqual([wildcard_match(*case) for case in cases], [False, True, False, True, False])
        self.assertEqual(answers(cases), [True] * 5)

    def test_a_pattern_of_nothing_is_refused(self):
        self.assertTrue(wildcard_match("", ""))
        rules = {"rules_version": 1, "rules": [{"name": "a", "priority": 1, "rate": 1, "attributes": {"x": ""}}]}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(rules, file)
            file.flush()
            result = subprocess.run([BINARY, "check", file.name], capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("`x` is empty", result.stdout)


if __name__ == "__main__":
    unittest.main()
