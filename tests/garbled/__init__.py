"""Decisive lines of the recordings, damaged as pastes and scripts damage them: no answer may be certain and another one."""
