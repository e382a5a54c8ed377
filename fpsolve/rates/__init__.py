"""Floor 7: rare events in chemistry's words. Where paths go first, how long they take, and Eyring and Kramers' law."""

from .hitting import committor as committor
from .hitting import mean_first_passage_time as mean_first_passage_time
from .kramers import EyringKramers as EyringKramers
from .kramers import eyring_kramers as eyring_kramers
