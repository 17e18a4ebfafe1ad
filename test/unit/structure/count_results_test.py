"""What test/run.sh reports depends on the counting."""
import json
import unittest

import count_results


def log(**results):
    return [json.dumps({"name": name, "result": result}) for name, result in results.items()]


class CountResults(unittest.TestCase):
    def test_each_result_is_counted_once(self):
        passed, failed, notes = count_results.count(log(a="OK", b="FAIL", c="TIMEOUT", d="ERROR", e="EXPECTEDFAIL",
                                                        f="UNEXPECTEDPASS", g="INTERRUPT"))
        self.assertEqual((passed, failed), (2, 5))
        self.assertEqual(len(notes), 5)

    def test_a_skipped_test_is_neither_but_is_named(self):
        self.assertEqual(count_results.count(log(a="OK", b="SKIP")), (1, 0, ["SKIP: b"]))

    def test_an_empty_log_counts_nothing(self):
        self.assertEqual(count_results.count([]), (0, 0, []))


if __name__ == "__main__":
    unittest.main()
