"""One controller a concern: transcript, turns, approvals, loading, status, frames. Widgets do not know each other."""
