"""The engine for Apple silicon, on MLX."""
