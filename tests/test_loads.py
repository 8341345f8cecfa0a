"""`[[load]]` of a target: every arrival, latencies with their units, and what a wrong field is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_target import PLAIN

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.loads import Load, Slo, seconds
from pytest_vibeserve.target import load_target


def with_load(folder: Path, fields: str, metric: str = "output_throughput", modality: str = "text") -> Load:
    """The load of a target whose only `[[load]]` has these further fields."""
    text = (
        PLAIN.replace('modality = "text"', f'modality = "{modality}"')
        .replace('name = "c1"', f'name = "c1"\n{fields}')
        .replace('"output_throughput"', f'"{metric}"')
        .replace('unit = "tok/s"', 'unit = "req/s"' if metric == "goodput" else 'unit = "tok/s"')
    )
    (folder / "target.toml").write_text(text)
    return load_target(str(folder)).load_named("c1")


@pytest.mark.parametrize(
    ("text", "value"), [("200 ms", 0.2), ("1.5s", 1.5), (" 800 us ", 0.0008), ("2 min", 120.0), ("0 s", 0.0)]
)
def test_a_duration_is_kept_in_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("stated", [200, 0.2, "200", "ms", "-5 ms", "200 hours", "", None])
def test_a_duration_without_a_unit_says_what_to_write(stated: object) -> None:
    with pytest.raises(ValueError, match='such as "200 ms"'):
        seconds(stated)


@pytest.mark.parametrize(
    ("fields", "is_open"),
    [
        ('arrival = "closed"\nconcurrency = 4', False),
        ('arrival = "constant"\nrate = 5', True),
        ('arrival = "poisson"\nrate = 5\nmost_in_flight = 8', True),
        ('arrival = "gamma"\nrate = 5\nburstiness = 0.25', True),
        ('arrival = "trace"\ntrace = "requests.jsonl"\nspeedup = 2.0\nmost_in_flight = 4', True),
        ('arrival = "sessions"\nconcurrency = 4\nturns = [2, 3]\nthink = "500 ms"', False),
    ],
)
def test_every_arrival_can_be_stated(tmp_path: Path, fields: str, is_open: bool) -> None:
    (tmp_path / "requests.jsonl").write_text('{"timestamp": 0, "input_length": 8, "output_length": 4}\n')
    assert with_load(tmp_path, fields).is_open is is_open


def test_latencies_to_keep_are_stated_with_their_units(tmp_path: Path) -> None:
    load = with_load(tmp_path, 'slo = { ttft = "200 ms", e2e_latency = "5 s" }', "goodput")
    assert load.slo.bounds == (("ttft", 0.2), ("e2e_latency", 5.0))
    assert Slo().bounds == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("rate = -5", r"load.0.rate: Input should be greater than 0, found -5"),
        ("slo = { ttft = 200 }", r"load.0.slo.ttft: should be a number with its unit \(us, ms, s or min\)"),
        ('slo = { ttft = "200" }', "such as \"200 ms\", found '200'"),
        ('slo = { ttft = "0 ms" }', "should be longer than nothing"),
        ('slo = { tfft = "200 ms" }', "load.0.slo.tfft is no field; did you mean ttft"),
        ('think = "-1 s"', "load.0.think: should be a number with its unit"),
        ('arrival = "trace"', 'arrival = "trace" needs `trace`'),
        ('trace = "a.jsonl"', '`trace` is given but arrival is "closed"'),
        ("burstiness = 2", '`burstiness` is given but arrival is "closed"'),
        ('arrival = "gamma"\nburstiness = 0', "load.0.burstiness: Input should be greater than 0"),
        ('arrival = "sessions"\nturns = [3, 2]', r"load.0.turns: should be \[least, most\]"),
        (
            "rate = 300",
            'load.0: `rate` is given but arrival is "closed", which takes concurrency; leave it out or write',
        ),
        ("rate = 300", 'arrival = "constant" or "poisson" or "gamma"'),
        ('arrival = "poisson"\nconcurrency = 4', '`concurrency` is given but arrival is "poisson"'),
        ('arrival = "poisson"\nburstiness = 1', '`burstiness` is given but arrival is "poisson"'),
        ("most_in_flight = 0", '`most_in_flight` is given but arrival is "closed"'),
        ('arrival = "trace"\ntrace = "a.jsonl"\nrate = 2', '`rate` is given but arrival is "trace"'),
        ('arrival = "sessions"\nspeedup = 2', '`speedup` is given but arrival is "sessions"'),
        ("turns = [1, 2]", '`turns` is given but arrival is "closed"'),
        ('think = "1 s"', '`think` is given but arrival is "closed"'),
        ('think = "' + "9" * 400 + ' s"', "load.0.think: should be shorter than for ever"),
        ("quick_s = inf", "load.0.quick_s: Input should be a finite number"),
        ('arrival = "bursts"', "load.0.arrival: Input should be 'closed', 'constant'"),
    ],
)
def test_a_wrong_field_is_one_error_that_names_it(tmp_path: Path, fields: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        with_load(tmp_path, fields)
    assert str(caught.value).count(": load.0") == 1
    assert "; load" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "load c1: there is no trace at .*requests.jsonl"),
        ('{"timestamp": 1, "input_length": 8}', "line 1: output_length is missing"),
        ('{"timestamp": 1, "input_length": 9, "output_length": 9999}', "are 10008, but limits.context is 1024"),
        ('{"conversations": []}', "line 1: a conversation has no arrival"),
    ],
)
def test_a_trace_is_read_when_the_target_is(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "requests.jsonl").write_text(text)
    with pytest.raises(UsageError, match=message):
        with_load(tmp_path, 'arrival = "trace"\ntrace = "requests.jsonl"')


@pytest.mark.parametrize("fields", ['arrival = "sessions"', 'arrival = "trace"\ntrace = "requests.jsonl"'])
@pytest.mark.parametrize("modality", ["image", "speech"])
def test_requests_without_prompts_of_tokens_cannot_be_turns_or_a_trace(
    tmp_path: Path, fields: str, modality: str
) -> None:
    with pytest.raises(UsageError, match=f'load c1: .* modality {modality} have not: write arrival = "closed"'):
        with_load(tmp_path, fields, modality=modality)


def test_only_speech_can_be_spoken(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='load c1: arrival = "streams" speaks audio streams'):
        with_load(tmp_path, 'arrival = "streams"')


def test_goodput_needs_latencies_to_keep(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="goodput needs an slo at load c1"):
        with_load(tmp_path, "", "goodput")
