"""The benchmark measures what it says."""

import json

from jaxgan.benchmark.evaluation_cost import evaluation_benchmark


def test_benchmark_reports_time_and_memory():
    found = evaluation_benchmark(count=1000, side=16, width=64)
    json.dumps(found)
    assert found["vgg16"]["images"] == 1000
    assert found["vgg16"]["images_per_second"] > 0
    assert 0 < found["frechet"]["seconds"] < 20
    assert found["peak_memory_bytes"] > 2**20
