"""Counts the results in a log of `meson test` (one JSON object per line).

Prints a line for each test that was skipped or did not pass, then "PASSED FAILED".
"""
import json
import sys


def count(lines):
    passed, failed, notes = 0, 0, []
    for line in lines:
        test = json.loads(line)
        result = test["result"]
        if result in ("OK", "EXPECTEDFAIL"):
            passed += 1
            continue
        if result not in ("SKIP", "IGNORED"):
            failed += 1
        notes.append(f"{result}: {test['name']}")
    return passed, failed, notes


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as log:
        passed, failed, notes = count(log)
    for note in notes:
        print(note)
    print(passed, failed)
