"""The one exception type that users see."""


class ACFunError(ValueError):
    """A mistake a user can mend.

    Args:
        what: what happened, one sentence.
        expected: what would have been right.
        fix: what to change now.
        for_now: nothing is wrong with what was asked: once something else has changed, such as the space on a disk, it works.
    """

    def __init__(self, what: str, expected: str = "", fix: str = "", for_now: bool = False):
        self.what, self.expected, self.fix, self.for_now = what, expected, fix, for_now
        parts = [what, expected and f"Expected: {expected}", fix and f"To fix it: {fix}"]
        super().__init__(" ".join(part if part.endswith((".", "!", "?")) else part + "." for part in parts if part))
