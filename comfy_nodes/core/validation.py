"""What pydantic found wrong with a record, in the few words of an error that people read."""

from __future__ import annotations

from pydantic import ValidationError


def first_fault(error: ValidationError, *above: str) -> str:
    """Where the first fault lies and what it is: `editpairs.key: Field required`. The value itself is not repeated.

    Args:
        above: where the record lies that was validated.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, (*above, *first['loc'])))}: {first['msg']}"
