"""The card says what was recorded, and no more."""

from tahoe_distill.hub.card import write_card
from tahoe_distill.models import Tx1Config


def test_card_carries_the_recorded_numbers():
    config = Tx1Config(vocab_size=100, hidden_size=8, num_hidden_layers=3, num_attention_heads=2)
    run = {"run_name": "my-student", "model": {"teacher": "tx1-nano", "objectives": {"cosine": 1.0}}}
    card = write_card(config, 12345, 800, run, {"eval/cosine": 0.91234})
    assert "# my-student" in card
    assert "`tx1-nano`" in card
    assert "12,345" in card
    assert "11,545" in card
    assert "| eval/cosine | 0.9123 |" in card


def test_card_without_metrics_says_so():
    card = write_card(Tx1Config(), 1, 0, {}, {})
    assert "None were measured" in card
