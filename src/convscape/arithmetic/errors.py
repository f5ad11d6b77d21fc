"""The one error that bad input raises."""


class InputError(ValueError):
    """Input that breaks a rule: says the rule, the values received and the fix.

    It is raised before anything is computed or written. The command line prints it as one line
    and exits with status 2.

    Args:
        rule: What must hold, as a sentence without a full stop.
        got: The values received.
        fix: What to do about it.

    Example:
        >>> print(InputError("stride must be at least 1", "stride=0", "use stride=1"))
        stride must be at least 1; got stride=0; use stride=1
    """

    def __init__(self, rule: str, got: str, fix: str) -> None:
        super().__init__(f"{rule}; got {got}; {fix}")
        self.rule = rule
        self.got = got
        self.fix = fix
