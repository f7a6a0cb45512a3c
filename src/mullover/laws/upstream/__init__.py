"""A fake OpenAI-compatible server of five kinds, over a toy, that can fail in every way a real one does."""

from mullover.laws.upstream.background import in_background as in_background
from mullover.laws.upstream.fault import Fault as Fault
from mullover.laws.upstream.fault import FaultKind as FaultKind
from mullover.laws.upstream.fault import Faults as Faults
from mullover.laws.upstream.kinds import TRAITS as TRAITS
from mullover.laws.upstream.kinds import Kind as Kind
from mullover.laws.upstream.server import Upstream as Upstream
from mullover.laws.upstream.template import TEMPLATE as TEMPLATE
from mullover.laws.upstream.wire import Seen as Seen
