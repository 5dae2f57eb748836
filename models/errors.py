"""The error that a user sees as one line, with exit code 2."""


class InputError(Exception):
    """Something given from outside cannot be used.

    The message is one line (or one line and a list) that says what was given, what is accepted, what to do.
    The command line prints it without a traceback and exits with code 2; callers catch it by this name.
    """
