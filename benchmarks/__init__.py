"""Other circuit libraries on the circuits of this one, for `tiramisu-edu bench --peers`; not part of the wheel."""
