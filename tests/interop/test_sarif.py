"""What `check --format sarif` prints is SARIF 2.1.0 by the official schema, whatever is wrong with the rules."""

import glob
import json
import os
import subprocess
import unittest

import jsonschema

from world import BINARY

TESTS = os.path.join(os.path.dirname(__file__), "..")


def check(path, form):
    # Everything that can be told is to be told.
    options = ["--service-name", "shop", "--service-type", "AWS::ECS::Container", "--traffic", "12/h", "--replicas", "8"]
    command = [BINARY, "check", path, "--format", form, *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=TESTS)
    assert result.returncode in (0, 1), result
    return json.loads(result.stdout)


class IsSarif(unittest.TestCase):
    def test_for_every_rule_file_there_is(self):
        with open(os.environ["SARIF_SCHEMA"], encoding="utf-8") as file:
            schema = json.load(file)
        self.assertIn("SARIF", schema["title"])
        validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
        with self.assertRaises(jsonschema.ValidationError):
            validator.validate({"version": "2.1.0", "runs": [{"results": []}]})
        paths = sorted(
            path
            for folder in ("cmd/codes.in/*", "cmd/check.in/*", "fixtures/rules/valid/*", "fixtures/rules/invalid/*")
            for path in glob.glob(folder, root_dir=TESTS)
            if not path.endswith(".expected")
        ) + ["cmd/nowhere.yaml"]
        codes = set()
        for path in paths:
            with self.subTest(path):
                report = check(path, "sarif")
                validator.validate(report)
                (run,) = report["runs"]
                problems = check(path, "json")["problems"]
                self.assertEqual([result["ruleId"] for result in run["results"]], [it["code"] for it in problems])
                rules = run["tool"]["driver"]["rules"]
                for result, problem in zip(run["results"], problems, strict=True):
                    self.assertEqual(rules[result["ruleIndex"]]["id"], result["ruleId"])
                    region = result["locations"][0]["physicalLocation"].get("region", {})
                    self.assertEqual(
                        (region.get("startLine"), region.get("startColumn")), (problem["line"], problem["column"])
                    )
                codes.update(it["code"] for it in problems)
        # Every code that `check` has, but for those of the settings.
        missing = {rule["id"] for rule in rules} - codes
        self.assertEqual(missing, set())


if __name__ == "__main__":
    unittest.main()
