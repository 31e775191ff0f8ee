"""Batches tried out: a large plan, two machines against one, and kills at random moments."""
