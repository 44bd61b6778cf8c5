"""What reading JSON and MessagePack from outside may raise."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Not of the form, no UTF-8, nested too deeply."""
