"""Tests of the harness itself: python3 -m unittest benchmarks.tests"""

import unittest

from benchmarks import figures, loads

WRK = """Running 3s test @ http://127.0.0.1:10242/1k
  1 threads and 64 connections
  119934 requests in 3.01s, 141.83MB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
Requests/sec:  39845.51
"""
H2LOAD = """finished in 143.94ms, 13894.97 req/s, 3.05MB/s
requests: 2000 total, 2000 started, 2000 done, 1997 succeeded, 2 failed, 1 errored, 0 timeout
status codes: 1997 2xx, 0 3xx, 3 4xx, 0 5xx
"""


class Figures(unittest.TestCase):
    def test_nine_values_lose_one_at_each_end(self) -> None:
        interval = figures.median_interval([9, 1, 8, 2, 7, 3, 6, 4, 5])
        self.assertEqual((interval.low, interval.middle, interval.high), (2, 5, 8))

    def test_few_values_keep_all(self) -> None:
        interval = figures.median_interval([3, 1, 2])
        self.assertEqual((interval.low, interval.middle, interval.high), (1, 2, 3))

    def test_percentile_is_one_of_the_values(self) -> None:
        self.assertEqual(figures.percentile(range(100), 0.99), 99)
        self.assertEqual(figures.percentile([5], 0.5), 5)

    def test_table_is_aligned(self) -> None:
        lines = figures.table(["a", "b"], [["long name", "1"], ["x", "200"]]).splitlines()
        self.assertEqual({len(line) for line in lines}, {len(lines[0])})


class Outputs(unittest.TestCase):
    def test_wrk_counts_errors_and_refusals_as_failed(self) -> None:
        load = loads.read_wrk(WRK)
        self.assertEqual((load.requests, load.failed), (119934, 7))
        self.assertAlmostEqual(load.seconds, 3.01)

    def test_h2load_counts_only_successes_as_requests(self) -> None:
        load = loads.read_h2load(H2LOAD)
        self.assertEqual((load.requests, load.failed), (1997, 3))
        self.assertAlmostEqual(load.seconds, 0.14394)


if __name__ == "__main__":
    unittest.main()
