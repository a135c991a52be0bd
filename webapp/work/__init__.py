"""Work and where it is done: the lanes with their bounds, and what code may know of the process it runs in (the rest: webapp/serving/)."""
