"""microburst, passing on the Host that was signed: it names the upstream, and no signature would be right."""

import sys

from microburst.cli import main
from microburst.forward import Upstream

_own = Upstream._outbound_headers


def _as_it_was_signed(self, request):
    return {**_own(self, request), "host": request.headers["Host"]}


Upstream._outbound_headers = _as_it_was_signed
sys.exit(main())
