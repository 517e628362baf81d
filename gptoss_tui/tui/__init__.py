"""The Textual front. The only place that imports textual; holds no agent logic."""
