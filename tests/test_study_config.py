"""What a study refuses before it does anything, and the runs it plans."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convscape.arithmetic.errors import InputError
from convscape.study.config import Config, parse_rates


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"seeds": 2.5}, "seeds must be an integer"),
        ({"steps": -1}, "steps must be at least 1"),
        ({"steps": True}, "steps must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"probe_every": 0}, "probe_every must be at least 1"),
        ({"learning_rates": ()}, "learning_rates must be positive"),
        ({"learning_rates": (0.1, -1.0)}, "learning_rates must be positive"),
        ({"learning_rates": (float("nan"),)}, "learning_rates must be positive"),
        ({"learning_rates": (0.1, 0.1)}, "learning_rates must differ"),
        ({"probe_factors": (1.0,)}, "two probed step lengths"),
        ({"blocks": ()}, "needs a block"),
        ({"test_share": 1.0}, "test_share must lie between"),
        ({"data": ""}, "data must be a name"),
    ],
)
def test_a_wrong_value_is_refused_with_its_rule(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        Config(**wrong)


@pytest.mark.parametrize("text", ["", "fast", "0.1,,0.2", "0.1;0.2", "0", "inf"])
def test_learning_rates_must_be_numbers(text: str) -> None:
    with pytest.raises(InputError, match="learning"):
        parse_rates(text)


def test_every_plain_run_has_its_normalized_twin() -> None:
    runs = Config(seeds=2, learning_rates=(0.1, 0.5)).runs()
    twins = {(run.learning_rate, run.seed, run.arm) for run in runs}
    assert len(twins) == len(runs) == len({run.key for run in runs}) == 8
    assert all((rate, seed, "batchnorm") in twins for rate, seed, _ in twins)


def test_a_configuration_survives_json() -> None:
    config = Config(learning_rates=(0.3,), blocks=((8, 1), (4, 2)))
    assert Config.from_dict(json.loads(json.dumps(config.as_dict()))) == config


@pytest.mark.parametrize(
    "options",
    [
        ["--steps", "0"],
        ["--learning-rates", "fast"],
        ["--data", "no-such-data"],
        ["--workers", "0"],
    ],
)
def test_the_command_line_refuses_in_one_line_and_leaves_nothing(
    options: list[str], tmp_path: Path
) -> None:
    # The heavy libraries are hidden: a refusal must not need them.
    hide = (
        "import sys; from convscape.study import engine; engine.NEEDS = (); "
        "sys.modules.update(dict.fromkeys(('torch', 'keras', 'numba')))"
    )
    program = f"{hide}; sys.argv[0] = 'convscape'; from convscape.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "study", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("convscape: error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_importing_the_study_needs_the_standard_library_only() -> None:
    program = (
        "import sys, convscape.study; "
        "print(sorted({'numpy', 'torch', 'keras', 'numba', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
