"""Settings and jobs by name."""

import pytest

from mata_cpp import Mata
from mata_cpp.evaluate.items import Item
from mata_cpp.evaluate.jobs import Shard, jobs, orders, other_audio
from mata_cpp.evaluate.settings import contrast_for, distinct, parse_grid, parse_setting


@pytest.mark.parametrize(
    ("text", "name", "mata", "contrast"),
    [
        ("off", "off", None, None),
        ("alpha=0.2", "alpha=0.2", Mata(0.2), None),
        ("mode=abs  alpha=0.10", "alpha=0.1 mode=abs", Mata(0.1, mode="abs"), None),
        ("layers=10:20", "alpha=0.1 layers=10:20", Mata(layers="10:20"), None),
        ("layers=3+7", "alpha=0.1 layers=3+7", Mata(layers=(3, 7)), None),
        ("focus=1:2.5", "alpha=0.1 focus=1:2.5", Mata(focus=(1, 2.5)), None),
        ("contrast=silence:0.5", "off contrast=silence:0.5", None, "silence:0.5"),
        ("alpha=0.2 contrast=noise", "alpha=0.2 contrast=noise", Mata(0.2), "noise"),
    ],
)
def test_a_setting(text, name, mata, contrast):
    found = parse_setting(text)
    assert (found.name, found.mata, found.contrast) == (name, mata, contrast)
    again = parse_setting(name)
    assert (again.name, again.mata, again.contrast) == (name, mata, contrast)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("on", "not 'on'"),
        ("alpha=", "not 'alpha='"),
        ("alpha=x", "alpha must be a number"),
        ("alpha=1 alpha=2", "given twice"),
        ("off alpha=1", "takes no alpha"),
        ("mode=loud", "mode must be one of"),
        ("contrast=louder", "contrast must be one of"),
        ("contrast=silence:x", "must be a number"),
        ("beta=1", "not 'beta=1'"),
    ],
)
def test_a_bad_setting_is_one_line(text, problem):
    with pytest.raises(ValueError, match=problem) as raised:
        parse_setting(text)
    assert "\n" not in str(raised.value)


def test_a_grid():
    names = [one.name for one in parse_grid(["alpha=0.1,0.2", "mode=scale,abs", "layers=0:10,10:20"])]
    assert len(names) == len(set(names)) == 8
    assert names[:3] == ["alpha=0.1 layers=0:10", "alpha=0.1 layers=10:20", "alpha=0.1 layers=0:10 mode=abs"]
    for bad in (["alpha"], ["alpha="], ["alpha=1", "alpha=2"], ["beta=1"]):
        with pytest.raises(ValueError):
            parse_grid(bad)


def test_settings_that_are_the_same_are_one():
    found = distinct([parse_setting(text) for text in ("off", "alpha=0.1", "alpha=0.10", "off")])
    assert [one.name for one in found] == ["off", "alpha=0.1"]


def test_misleading_words():
    setting = parse_setting("contrast=text:2")
    found = contrast_for(setting, {"context": "The dog is loud."})
    assert found is not None and (found.text, found.strength) == ("The dog is loud.", 2)
    assert contrast_for(setting, {"context": ""}) is None and contrast_for(setting, {}) is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_positions(n):
    """The right answer takes each place once, and the others keep their order around it."""
    for right in range(n):
        turned = orders(n, right, 0)
        assert [order.index(right) for order in turned] == list(range(n))
        assert all(sorted(order) == list(range(n)) for order in turned)
        assert orders(n, right, 2) == turned[:2]
    assert orders(n, 0, 1) == [tuple(range(n))]
    assert orders(n, None, 0) == [tuple(range(n))]


def items(count):
    return [Item(str(n), (str(n).encode(),), "What?", ("a", "b"), "b") for n in range(count)]


def test_shards_are_the_whole():
    whole = [job.place for job in jobs(items(10), forms=("listed",), sounds=("clip", "other"))]
    parts = [list(jobs(items(10), forms=("listed",), sounds=("clip", "other"), shard=Shard(k, 3))) for k in (1, 2, 3)]
    found = [job for part in parts for job in part]
    assert sorted(job.place for job in found) == sorted(whole) and len(whole) == 20
    full = {job.place: job.audio for job in jobs(items(10), forms=("listed",), sounds=("other",))}
    assert all(job.audio == full[job.place] for job in found if job.sound == "other")


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/2", "1/0"])
def test_a_bad_shard(text):
    with pytest.raises(ValueError, match="a shard is"):
        Shard.parse(text)


def test_another_clip_is_another():
    made = items(5)
    assert all(other_audio(made, n) != made[n].audio for n in range(5))
    same = [Item(str(n), (b"x",), "?", (), "a") for n in range(3)]
    assert other_audio(same, 0) == ()


def test_the_right_place_of_a_turned_job():
    (first, second) = jobs(items(1), forms=("listed",), positions=0)
    assert (first.choices, first.right) == (("b", "a"), 0) and (second.choices, second.right) == (("a", "b"), 1)
