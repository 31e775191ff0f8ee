"""The one exception type that users see."""


class ACFunError(ValueError):
    """A mistake a user can mend.

    Args:
        what: what happened, one sentence.
        expected: what would have been right.
        fix: what to change now.
    """

    def __init__(self, what: str, expected: str = "", fix: str = ""):
        self.what, self.expected, self.fix = what, expected, fix
        parts = [what, expected and f"Expected: {expected}", fix and f"To fix it: {fix}"]
        super().__init__(" ".join(part if part.endswith((".", "!", "?")) else part + "." for part in parts if part))
