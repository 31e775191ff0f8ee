"""J and its intervals: what they say of planted copies and blends, and of numbers that are known."""

import numpy as np
import pytest

from benchmarks import aggregate
from benchmarks.aggregate import Rows

PAIRS = 12


def rows(identity: float, style: float, copied: float = 0.0, noise: float = 0.0, seed: int = 0) -> Rows:
    """Two images a pair with these means."""
    rng = np.random.default_rng(seed)
    pairs = np.repeat(np.arange(PAIRS), 2)
    values = {
        "identity": identity + noise * rng.normal(size=2 * PAIRS),
        "style": style + noise * rng.normal(size=2 * PAIRS),
    }
    faces, styles = (
        tuple(f"{role} {pair % 4 if role == 'face' else pair // 4}" for pair in pairs) for role in ("face", "style")
    )
    return Rows(with_earned(values, np.full(2 * PAIRS, copied)), pairs, faces, styles)


def with_earned(margins: dict[str, np.ndarray], copied: np.ndarray) -> dict[str, np.ndarray]:
    earned = {f"{name}{aggregate.EARNED}": values * (1 - copied) for name, values in margins.items()}
    return {**margins, **earned, "copied": copied}


def judged_by_hand(identity: list[float], style: list[float], copied: list[float]) -> np.ndarray:
    """J of methods that are no anchors."""
    i, s, c = (np.array(values, float) for values in (identity, style, copied))
    return aggregate.judge(i, s, c, i * (1 - c), s * (1 - c), np.zeros(len(i), bool))


def test_j_by_hand():
    one = judged_by_hand([0.4, 0.2], [0.1, 0.4], [0.0, 0.5])
    assert one[0] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert one[1] == pytest.approx(2 * 0.5 * 1 / 1.5 * 0.5)


def test_a_method_that_only_copies_sets_no_scale_though_it_is_no_anchor():
    """Latent AdaIN gave the photos back on the demo base: it made every identity small and J a measure of that alone."""
    without, withal = (
        judged_by_hand([0.4, 0.2], [0.1, 0.2], [0, 0]),
        judged_by_hand([0.4, 0.2, 2], [0.1, 0.2, 0.1], [0, 0, 1]),
    )
    assert withal[:2] == pytest.approx(without) and withal[2] == 0


def test_a_method_with_one_margin_only_gets_nothing():
    j = judged_by_hand([0.4, 0.5], [0.3, -0.1], [0, 0])
    assert j[1] == 0 and j[0] > 0.8


def test_anchors_never_set_the_scale_and_never_win():
    table = {
        "acfun": rows(0.2, 0.2),
        "text": rows(0.0, 0.1),
        "copy_face": rows(0.9, -0.05, copied=1.0),
        "copy_style": rows(-0.02, 0.9, copied=1.0),
        "blend": rows(0.5, 0.4, copied=1.0),
    }
    judged = aggregate.judgement(table, ["copy_face", "copy_style", "blend"], draws=50)
    assert judged.first() == "acfun" and judged.j[0] == pytest.approx(1.0)
    assert judged.j[2:].max() == 0


@pytest.mark.parametrize("caught", [0.6, 0.9])
def test_an_anchor_does_not_win_even_where_some_copies_slip_through(caught):
    table = {"acfun": rows(0.3, 0.3), "blend": rows(0.5, 0.4, copied=caught)}
    assert aggregate.judgement(table, ["blend"], draws=10).first() == "acfun"


def test_intervals_are_paired():
    """A shift that all pairs share is certain, however much the pairs differ."""
    better, worse = rows(0.4, 0.4, noise=0.05), rows(0.3, 0.3, noise=0.05)
    judged = aggregate.judgement({"acfun": better, "text": worse}, [])
    value, low, high = judged.advantage("acfun", "text")
    assert low > 0 and low < value < high
    assert value == pytest.approx(0.25, abs=0.02)
    apart = aggregate.judgement({"acfun": better, "text": rows(0.39, 0.39, noise=0.2, seed=1)}, [])
    assert apart.advantage("acfun", "text")[1] < 0


def test_intervals_shrink_with_pairs():
    rng = np.random.default_rng(3)
    widths = []
    for count in (6, 96):
        made = {
            name: Rows(
                with_earned(
                    {name: 0.3 + 0.1 * rng.normal(size=count) for name in ("identity", "style")}, np.zeros(count)
                ),
                np.arange(count),
                tuple(f"face {pair % 6}" for pair in range(count)),
                tuple(f"style {pair // 6}" for pair in range(count)),
            )
            for name in ("acfun", "text")
        }
        _, low, high = aggregate.judgement(made, []).advantage("acfun", "text")
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_other_faces_and_styles_make_the_interval_wider_where_these_decide():
    """Two of four faces on which a method is much better: over pairs that is settled, for other faces it is not."""
    better = rows(0.3, 0.3)
    lucky = np.array([face in ("face 0", "face 1") for face in better.faces])
    values = {"identity": 0.3 + 0.2 * lucky, "style": 0.3 + 0.2 * lucky}
    lifted = Rows(with_earned(values, np.zeros(len(lucky))), better.pairs, better.faces, better.styles)
    judged = aggregate.judgement({"acfun": lifted, "text": better}, [])
    value, low, _ = judged.advantage("acfun", "text")
    assert value > low > 0
    assert judged.advantage_for_others("acfun", "text")[0] == pytest.approx(0, abs=1e-9)


def test_weights_of_other_faces_and_styles_are_those_of_the_grid():
    weights = aggregate.of_others(list("aabb"), list("xyxy"), 500, np.random.default_rng(0))
    assert weights.sum(1) == pytest.approx(1.0)
    # A face that was not drawn has no pair, whatever the style.
    assert set(np.round(np.unique(weights), 6)) == {0.0, 0.25, 0.5, 1.0}


def numbers(identity: float, style: float, found: float = 1.0) -> dict:
    faces = {f"{name}_{key}": identity for name in ("sface", "dlib") for key in ("margin", "first", "own")}
    return {
        **faces,
        "style_margin": style,
        "style_first": float(style > 0),
        "copied": 0.0,
        "ghost": 0.1,
        "found": found,
    }


def image(method: str, face: str, style: str, seed: int, values: dict) -> dict:
    costs = {"train_passes": 10, "train_seconds": 4.0, "seconds": 1.0, "memory_mb": 100.0, "state_mb": None}
    return {"method": method, "face": face, "style": style, "seed": seed, "numbers": values, **costs}


def test_only_pairs_that_all_methods_have_are_compared():
    images = [image("acfun", "f", style, 0, numbers(0.3, 0.2)) for style in "abc"]
    images += [image("text", "f", style, 0, numbers(0.1, 0.1)) for style in "bcd"]
    found = aggregate.rows_of(images, ["acfun", "text"])
    assert all(len(rows.pairs) == 2 for rows in found.values())
    assert found["acfun"].mean("total_seconds") == 5.0
    with pytest.raises(SystemExit, match="No pair"):
        aggregate.rows_of(images, ["acfun", "lora"])


def test_a_picture_without_a_face_counts_as_nothing_and_is_not_dropped():
    images = [image("acfun", "f", "a", seed, numbers(0.4 * seed, 0.2, found=seed)) for seed in (0, 1)]
    found = aggregate.rows_of(images, ["acfun"])["acfun"]
    assert found.mean("identity") == pytest.approx(0.2) and found.mean("found") == 0.5


def test_the_line_of_json():
    table = {aggregate.ACFUN: rows(0.4, 0.4), "text": rows(0.1, 0.2), "blend": rows(0.5, 0.5, copied=1.0)}
    for one in table.values():
        one.values.update(
            {name: np.ones(2 * PAIRS) for name in ("face_first_earned", "style_first_earned", "found", "total_seconds")}
        )
    line = aggregate.summary(table, aggregate.judgement(table, ["blend"], draws=100), ["blend"])
    assert set(line["methods"]["text"]) == {"j", "copy_rate", "face_rank1", "style_rank1", "faces_found", "seconds"}
    assert set(line["advantage_low95"]) == {"text"} and line["advantage_low95"]["text"] > 0


def test_the_worst_group_is_named():
    one = rows(0.4, 0.4)
    one.values["identity"] = np.tile([0.1, 0.5], PAIRS)
    groups = [{"sex": "female"}, {"sex": "male"}] * PAIRS
    worst = aggregate.worst_groups(one, groups)
    assert worst["sex"] == ("female", pytest.approx(0.1), pytest.approx(0.3))
