"""The chat's controllers, one for each concern: transcript, turns, approvals, loading, status, and so on.

They connect the widgets, which do not know each other.
"""
