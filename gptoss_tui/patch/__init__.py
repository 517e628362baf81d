"""The patch language: parse, match, plan, apply as one transaction, diff. Pure: no agent, no model in it."""
