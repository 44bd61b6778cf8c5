"""``python -m ferryman.control.vault``: one thing done with the vault.

Reads an ``Order`` (msgpack) from standard input, and writes a ``Done``. The control plane has it
done here, so that no secret and no master key comes into its own memory.
"""

import base64
import sys

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from ferryman.config.options import Options
from ferryman.control.vault import here, orders
from ferryman.control.vault.desk import Vault
from ferryman.control.vault.envelope import BadSecretError, VaultError
from ferryman.control.vault.masters import add
from ferryman.control.vault.orders import Done, Order, Value
from ferryman.store.audit import WHO
from ferryman.store.db import DatabaseError


def main() -> None:
    """Options: the environment."""
    here.leave_no_core()
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    WHO.set(order.who)
    try:
        done = _done(order, Options.from_env())
    except VaultError as error:
        done = Done(error=str(error), code=error.code, status=error.status)
    except DatabaseError as error:
        done = Done(error=str(error), code="database_failed", status=503)
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
        done = Done(error=f"the database fails: {cause}", code="database_failed", status=503)
    sys.stdout.buffer.write(msgspec.msgpack.encode(done))


def _done(order: Order, options: Options) -> Done:
    if order.what == orders.ROTATE and order.master:
        add(here.key_file(options.paths))
    with here.opened(options) as vault:
        if order.what == orders.PUT:
            vault.put(order.name, _value(vault, order))
            return Done()
        if order.what == orders.REMOVE:
            vault.remove(order.name)
            return Done()
        if order.what == orders.INTAKE:
            return Done(key=vault.intake())
        if order.what == orders.VERIFY:
            count, wrong = vault.verify()
            return Done(count=count, wrong=wrong)
        if order.what == orders.ROTATE:
            return Done(count=vault.rotate())
        assert order.what == orders.ACCEPT
        return Done(count=vault.accept())


def _value(vault: Vault, order: Order) -> str:
    """The secret in the body of the request. Raises :class:`VaultError`."""
    try:
        body = msgspec.json.decode(order.body, type=Value)
        return vault.received(base64.b64decode(body.sealed, validate=True), order.name)
    except (msgspec.MsgspecError, ValueError):  # whose words may quote what was sent
        raise BadSecretError(
            'send {"sealed": "…"}: base64 of the secret, sealed to the key that '
            "POST /api/v1/vault/intake has (docs/vault.md)"
        ) from None


if __name__ == "__main__":
    main()
