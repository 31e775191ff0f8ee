"""AFun (eq. 1-2)."""

import torch

from acfun_core.config import AdapterConfig
from acfun_core.method.afun import AFun, CrossAttention

CONFIG = AdapterConfig("a painting of a woman in S* style")


def fused(afun, e_tf, e_is, position=4):
    return afun.eval()(e_tf, e_is, position)


def test_starts_as_the_initial_word():
    row = torch.randn(32)
    assert torch.equal(fused(AFun(row, 48, CONFIG), torch.randn(1, 7, 32), torch.randn(1, 9, 48)), row)


def test_is_the_attention_of_the_paper():
    torch.manual_seed(0)
    attention = CrossAttention(32, 48, heads=2, head_width=8, dropout=0.0)
    text, image = torch.randn(1, 3, 32), torch.randn(1, 5, 48)
    q, k, v = (
        attention.to_q(attention.norm_text(text)),
        attention.to_k(attention.norm_image(image)),
        attention.to_v(attention.norm_image(image)),
    )
    heads = []
    for head in range(2):
        part = slice(8 * head, 8 * head + 8)
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5, dim=-1)
        heads.append(weights @ v[..., part])
    torch.testing.assert_close(attention(text, image), attention.to_out(torch.cat(heads, dim=-1)))


def test_the_description_and_the_image_both_reach_e_a():
    torch.manual_seed(0)
    afun = AFun(torch.randn(32), 48, CONFIG)
    torch.nn.init.normal_(afun.to_row.weight, std=0.1)
    e_tf, e_is = torch.randn(1, 7, 32), torch.randn(1, 9, 48)
    first = fused(afun, e_tf, e_is)
    assert not torch.allclose(first, fused(afun, torch.randn(1, 7, 32), e_is))
    assert not torch.allclose(first, fused(afun, e_tf, torch.randn(1, 9, 48)))


def test_one_pooled_token_would_ignore_the_text():
    """The known trap: softmax over one key is 1. Patch tokens are the default for this reason."""
    torch.manual_seed(0)
    attention = CrossAttention(32, 48, heads=2, head_width=8, dropout=0.0)
    pooled = torch.randn(1, 1, 48)
    torch.testing.assert_close(attention(torch.randn(1, 1, 32), pooled), attention(torch.randn(1, 1, 32), pooled))


def test_gradients_reach_the_row_and_the_queries():
    torch.manual_seed(0)
    afun = AFun(torch.randn(32), 48, CONFIG)
    torch.nn.init.normal_(afun.to_row.weight, std=0.1)
    fused(afun, torch.randn(1, 7, 32), torch.randn(1, 9, 48)).square().sum().backward()
    assert afun.row.grad.abs().max() > 0
    assert afun.layers[0].to_q.weight.grad.abs().max() > 0
