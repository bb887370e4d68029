"""The command `appliance`: how it goes, what became of a line, ship now, and the archived lines as they come."""
