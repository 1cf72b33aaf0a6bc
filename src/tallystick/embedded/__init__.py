"""The embedded default: PostgreSQL 18 and Valkey 9 from wheels, as our children, in one data directory.

For ``tallystick up``, ``demo`` and the tests. What holds:

* Nothing listens on the network: Unix sockets in 0700 folders.
* fsync is on. A restart on the same directory finds every commit; Valkey is a doorbell and starts empty.
* Kill -9 of our process stops the servers too (Linux; elsewhere the next start takes them over).
* One start at a time on a directory; the second gets a ConfigurationError.
* Recovery has no time limit. No pid is trusted, no folder that is not ours is chmodded.

Where the files lie, for root too, is told in ``cluster``; how processes end, in ``processes`` and ``launch``.
"""

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedValkey"]
