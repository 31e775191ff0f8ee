"""A training ended early is a whole adapter: the one that many steps alone would have made."""

from __future__ import annotations

import torch

from acfun_core.config import AdapterConfig, TrainConfig
from acfun_core.storage.adapter_file import to_tensors
from acfun_core.training.loop import train_adapter


def train(base, latents, style_tokens, steps, on_step=None):
    config = TrainConfig(steps=steps, learning_rate=1e-3)
    return train_adapter(base, latents, style_tokens, AdapterConfig("a face in S* style"), config, on_step)


def test_it_ends_at_the_step_that_asked_and_is_settled(base, latents, style_tokens):
    seen = []

    def stop_at_three(report):
        seen.append(report.step)
        return report.step == 3

    stopped = train(base, latents, style_tokens, 10, stop_at_three)
    assert seen == [1, 2, 3]
    assert len(stopped.record.style_loss) == len(stopped.record.face_loss) == 3
    assert len(stopped.record.after) == 2
    assert not stopped.training and not any(parameter.requires_grad for parameter in stopped.parameters())
    assert not any(site.module._forward_hooks for site in base.sites.values())
    whole = train(base, latents, style_tokens, 3)
    one, two = to_tensors(stopped), to_tensors(whole)
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_an_answer_of_none_or_false_goes_on(base, latents, style_tokens):
    answers = iter([None, False, None])
    assert len(train(base, latents, style_tokens, 3, lambda report: next(answers)).record.style_loss) == 3
