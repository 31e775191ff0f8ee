"""The method: AFun and CFun, what an adapter holds, and several adapters at once."""
