"""What calls cost is counted once for all servers of a machine, and a run never spends more than it may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from comfy_nodes.core.services import budget
from comfy_nodes.core.services.profiles import Profile
from comfy_nodes.vlm.asking import Answer, Failure
from tests.vlm.client.questions import WriteProfile, ask, kinds, picture, question
from tests.vlm.endpoint import Endpoint, Say

REPOSITORY = Path(__file__).resolve().parents[3]
PRICES = {"usd_per_million_prompt_tokens": 2.0, "usd_per_million_completion_tokens": 10.0}
EACH = 1000 * 2e-6 + 100 * 10e-6
"""What the endpoint's usual reply costs at these prices: 0.003 USD."""

SERVER = """
import sys
sys.path.insert(0, {root!r})
from tests.vlm.client.questions import ask, kinds, question
sys.stdin.readline()
print(kinds(ask(*(question(f"{name}{{n}}", more="x" * 2200) for n in range(20)), run="r", budget_usd=0.06)).count("answer"))
"""


def test_each_run_has_an_account(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url, **PRICES)
    (answer,) = ask(question("a"), run="one")
    assert isinstance(answer, Answer) and answer.usage.usd == pytest.approx(EACH)
    ask(question("a"), question("b"), question("c"), run="two")
    assert budget.spent("one") == budget.Spent(1, 1000, 100, pytest.approx(EACH), 0)
    two = budget.spent("two")
    assert (two.calls, two.usd, two.unsettled_usd) == (2, pytest.approx(2 * EACH), pytest.approx(0))
    assert budget.spent("none") == budget.Spent()


def test_a_run_stops_before_its_budget_and_sends_nothing_more(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url, **PRICES)
    batch = [question(f"q{number}", more="x" * 2200, max_tokens=100) for number in range(30)]
    results = ask(*batch, run="r", budget_usd=0.03)
    answered = kinds(results).count("answer")
    assert 5 <= answered <= 10
    assert len(endpoint.requests) == answered
    assert budget.spent("r").usd <= 0.03
    failure = next(result for result in results if isinstance(result, Failure))
    assert failure.kind == "VlmBudget" and "'r'" in failure.message and "0.0300" in failure.message
    # Kept replies are free, and another run is not concerned.
    again = ask(*batch, run="r", budget_usd=0.03)
    assert kinds(again).count("answer") >= answered
    assert kinds(ask(question("other"), run="s", budget_usd=0.03)) == ["answer"]


def test_two_servers_share_a_budget(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url, **PRICES)
    codes = [SERVER.format(root=str(REPOSITORY), name=name) for name in ("a", "b")]
    servers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for code in codes
    ]
    answered = sum(int(server.communicate("go\n", timeout=60)[0]) for server in servers)
    assert answered == len(endpoint.requests)
    spent = budget.spent("r")
    assert spent.usd == pytest.approx(answered * EACH)
    assert 0.02 < spent.usd + spent.unsettled_usd <= 0.06


def test_a_service_that_counts_no_tokens_is_booked_at_its_most(write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(usage=False)) as endpoint:
        write_profile("default", endpoint.url, **PRICES)
        ask(question("a", max_tokens=1000), run="r")
    spent = budget.spent("r")
    assert (spent.calls, spent.usd) == (1, 0)
    assert spent.unsettled_usd > 0.01


def test_without_prices_no_budget_can_be_kept(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url)
    write_profile("own", endpoint.url, usd_per_million_prompt_tokens=0.0, usd_per_million_completion_tokens=0.0)
    (failure,) = ask(question(), run="r", budget_usd=1.0)
    assert isinstance(failure, Failure) and failure.kind == "VlmBudget" and "no prices" in failure.message
    assert endpoint.requests == []
    assert kinds(ask(question(), profile="own", run="r", budget_usd=1.0)) == ["answer"]


def test_a_damaged_ledger_stops_those_with_a_budget_only(
    endpoint: Endpoint, write_profile: WriteProfile, account: Path
) -> None:
    (account / "cache").mkdir()
    (account / "cache" / budget.FILE).write_bytes(b"this is no database" * 400)
    write_profile("default", endpoint.url, **PRICES)
    (failure,) = ask(question(), run="r", budget_usd=1.0)
    assert isinstance(failure, Failure) and failure.kind == "VlmBudget" and budget.FILE in failure.message
    assert endpoint.requests == []
    assert kinds(ask(question())) == ["answer"]


def test_an_estimate_is_an_upper_bound(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    profile = Profile(name="a", base_url=endpoint.url, model="m", **PRICES)
    guess = budget.estimate(profile, samples=100, questions_per_sample=2, image_pixels=4_000_000)
    # 200 questions and a tenth again: each 6000 bytes, a picture scaled to a megapixel, and 1024 tokens back.
    assert guess.calls == 220
    assert guess.prompt_tokens == 220 * (3000 + 1_048_576 * 1600 // 1_000_000 + 200)
    assert guess.completion_tokens == 220 * 1024
    assert guess.usd == pytest.approx(guess.prompt_tokens * 2e-6 + guess.completion_tokens * 10e-6)
    unpriced = Profile(name="a", base_url=endpoint.url, model="m")
    assert budget.estimate(unpriced, 1, 1, 1).usd is None


def test_what_is_reserved_covers_a_qwen_patch_count(endpoint: Endpoint) -> None:
    """Qwen2.5-VL takes a token for 28 x 28 pixels, 1,337 for what a megapixel photo is scaled to."""
    profile = Profile(name="a", base_url=endpoint.url, model="m")
    pixels = picture(1024, 1024).shape[0] * 1024
    assert budget.most_prompt_tokens(profile, 400, [pixels]) >= pixels / 28**2 + 100
